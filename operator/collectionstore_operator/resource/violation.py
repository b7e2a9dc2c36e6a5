"""Why a value is invalid, in words."""

from __future__ import annotations

from typing import NamedTuple


class Violation(NamedTuple):
    """Why a value is invalid and which values are allowed; both texts may contain `%d` placeholders."""

    message: str
    allowed: str

    def __str__(self) -> str:
        return f"{self.message}; allowed: {self.allowed}"

    def of(self, first: int, second: int) -> Violation:
        """Return the violation with its two placeholders filled in: one in each text, or both in the first."""
        if self.message.count("%d") == 2:
            return Violation(self.message % (first, second), self.allowed)
        return Violation(self.message % first, self.allowed % second)
