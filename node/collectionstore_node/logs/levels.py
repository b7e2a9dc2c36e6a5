"""The log level, which can be changed while the process runs.

The level is that of our own lines. Libraries never speak below `info`: their debug lines may hold what they send.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

import structlog

from collectionstore_node.logs.vocabulary import LEVELS, Level

OURS: Final = "collectionstore"
"""The standard library's logger that all our lines go through."""

log = structlog.get_logger()


class LogLevels:
    """The level in force and the one that was configured. Belongs to the event loop where seconds are given."""

    def __init__(self, configured: Level = "info") -> None:
        self.configured: Final = configured
        self._current: Level = configured
        self._revert: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Log as configured."""
        self._apply(self.configured)

    @property
    def current(self) -> Level:
        """What is logged now: this level and everything above."""
        return self._current

    @property
    def reverts_in_s(self) -> float | None:
        """Seconds until the configured level is back; None when nothing was said."""
        if self._revert is None:
            return None
        return max(0.0, self._revert.when() - asyncio.get_running_loop().time())

    def change(self, level: Level, *, reason: str, seconds: float | None = None) -> None:
        """Log from `level` on; with `seconds` only for so long, and as configured afterwards."""
        self.forget()
        if seconds is not None:
            self._revert = asyncio.get_running_loop().call_later(seconds, self._over)
        was, self._current = self._current, level
        # While either of the two lets it through: the change is what explains the lines around it.
        self._apply(min(level, was, key=LEVELS.index))
        log.info("level.changed", now=level, was=was, reason=reason, seconds=seconds)
        self._apply(level)

    def forget(self) -> None:
        """Drop the timer of an earlier change."""
        if self._revert is not None:
            self._revert.cancel()
            self._revert = None

    def _over(self) -> None:
        self._revert = None
        self.change(self.configured, reason="the time for which another one was wanted is over")

    @staticmethod
    def _apply(level: Level) -> None:
        number = logging.getLevelNamesMapping()[level.upper()]
        logging.getLogger(OURS).setLevel(number)
        logging.getLogger().setLevel(max(number, logging.INFO))
