"""The result of comparing one member's state with the others'."""

from __future__ import annotations

from typing import Literal

import msgspec


class StateCheck(msgspec.Struct, frozen=True):
    """How a member's state compared with the others' (see `digests`)."""

    result: Literal["Agrees", "Differs", "Disputed", "Inconclusive"]
    """Differs: from a majority. Disputed: no majority says who is right. Inconclusive: not comparable for a minute."""
    index: int | None = None
    """Log index at which that was seen."""

    @property
    def differs(self) -> bool:
        """Whether something is certainly wrong."""
        return self.result in ("Differs", "Disputed")
