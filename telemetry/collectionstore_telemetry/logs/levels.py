"""The log level, which can be changed while the process runs.

The level applies to our own lines. Libraries never log below `info`: their debug lines may contain what they send.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Final

import structlog

from collectionstore_telemetry.logs.vocabulary import LEVELS, Level

LOGGER: Final = "collectionstore"
"""The standard library's logger that all our lines pass through."""

CHANGE_SECONDS_MAX: Final = 86_400
"""Bound of `seconds` where a debug page accepts them."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class LevelReport:
    """The level in force, the configured one, and in how many seconds that is restored; None without a timer."""

    level: Level
    configured: Level
    reverts_in_s: float | None


class LogLevels:
    """The level in force and the configured one. A change for some seconds belongs to the running event loop."""

    def __init__(self, configured: Level = "info") -> None:
        self.configured: Final = configured
        self._current: Level = configured
        self._revert: asyncio.TimerHandle | None = None

    def apply_configured(self) -> None:
        """Apply the configured level, without a line about it."""
        self._apply(self.configured)

    @property
    def current(self) -> Level:
        """The level in force: this level and everything above is logged."""
        return self._current

    @property
    def reverts_in_s(self) -> float | None:
        """Seconds until the configured level is restored; None without a timer."""
        if self._revert is None:
            return None
        return max(0.0, self._revert.when() - asyncio.get_running_loop().time())

    def report(self) -> LevelReport:
        """Return the state for a debug page; `reverts_in_s` to a tenth of a second."""
        reverts_in_s = self.reverts_in_s
        return LevelReport(self.current, self.configured, None if reverts_in_s is None else round(reverts_in_s, 1))

    def change(self, level: Level, *, reason: str, seconds: float | None = None) -> None:
        """Set the level; with `seconds` the configured one is restored after that time."""
        self._cancel_revert()
        if seconds is not None:
            self._revert = asyncio.get_running_loop().call_later(seconds, self._restore_configured)
        was, self._current = self._current, level
        # Logged at the more verbose of the two levels: the line explains why lines appear or stop.
        self._apply(min(level, was, key=LEVELS.index))
        log.info("level.changed", now=level, was=was, reason=reason, seconds=seconds)
        self._apply(level)

    def _cancel_revert(self) -> None:
        if self._revert is not None:
            self._revert.cancel()
            self._revert = None

    def _restore_configured(self) -> None:
        self._revert = None
        self.change(self.configured, reason="the requested time is over")

    @staticmethod
    def _apply(level: Level) -> None:
        number = logging.getLevelNamesMapping()[level.upper()]
        logging.getLogger(LOGGER).setLevel(number)
        logging.getLogger().setLevel(max(number, logging.INFO))
