"""What was logged already: a peer that keeps failing in the same way is one line, not one per attempt. Pure."""

from __future__ import annotations

from typing import Final

_KEPT_MAX: Final = 1024


class Reported:
    """Remembers what was said about whom, until things have changed for that one."""

    def __init__(self) -> None:
        self._said: set[tuple[str, str]] = set()

    def first(self, subject: str, what: str) -> bool:
        """Return whether this is new, and remember it."""
        if (subject, what) in self._said:
            return False
        if len(self._said) >= _KEPT_MAX:
            # Better a repeated line than memory that grows with whatever a peer thinks up.
            self._said.clear()
        self._said.add((subject, what))
        return True

    def forget(self, subject: str) -> None:
        """Report everything about `subject` anew."""
        self._said = {one for one in self._said if one[0] != subject}
