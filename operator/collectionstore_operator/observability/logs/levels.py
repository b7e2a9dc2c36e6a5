"""The log level, which can be changed while the process runs.

The level is that of our own lines. Libraries never speak below `info`, and those that talk to the API server not below
`warning`: their debug lines hold what they send and receive, Secrets among it.
"""

from __future__ import annotations

import logging
from typing import Final

import structlog

from collectionstore_operator.observability.logs.vocabulary import LEVELS, Level

OURS: Final = "collectionstore"
"""The standard library's logger that all our lines go through."""
TALKATIVE: Final = ("kopf", "kubernetes", "kubernetes.aio")
"""Kopf says of every event that it was handled; what goes wrong comes as a warning."""

log = structlog.get_logger()


class LogLevels:
    """The level in force and the one that was configured."""

    def __init__(self, configured: Level = "info") -> None:
        self.configured: Final = configured
        self._current: Level = configured

    def begin(self) -> None:
        """Log as configured."""
        for name in TALKATIVE:
            logging.getLogger(name).setLevel(logging.WARNING)
        self._apply(self.configured)

    @property
    def current(self) -> Level:
        """What is logged now: this level and everything above."""
        return self._current

    def change(self, level: Level, *, reason: str) -> None:
        """Log from `level` on."""
        was, self._current = self._current, level
        # While either of the two lets it through: the change is what explains the lines around it.
        self._apply(min(level, was, key=LEVELS.index))
        log.info("level.changed", now=level, was=was, reason=reason)
        self._apply(level)

    @staticmethod
    def _apply(level: Level) -> None:
        number = logging.getLevelNamesMapping()[level.upper()]
        logging.getLogger(OURS).setLevel(number)
        logging.getLogger().setLevel(max(number, logging.INFO))
