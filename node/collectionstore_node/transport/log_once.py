"""Deduplicates log lines: a peer that keeps failing in the same way is one line, not one per attempt. Pure."""

from __future__ import annotations

from typing import Final

_KEPT_MAX: Final = 1024


class LogOnce:
    """Remembers what was logged about each subject, until that is forgotten."""

    def __init__(self) -> None:
        self._logged: set[tuple[str, str]] = set()

    def first(self, subject: str, what: str) -> bool:
        """Return whether to log `what` about `subject`: true once."""
        if (subject, what) in self._logged:
            return False
        if len(self._logged) >= _KEPT_MAX:
            # A repeated line is better than memory that grows with what a peer sends.
            self._logged.clear()
        self._logged.add((subject, what))
        return True

    def forget(self, subject: str) -> None:
        """Log everything about `subject` again."""
        self._logged = {one for one in self._logged if one[0] != subject}
