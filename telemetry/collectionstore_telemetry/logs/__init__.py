"""Structured logging: structlog events as JSON lines on stderr, or readable lines on a terminal.

Events are named `noun.past_verb` and carry values as fields; `vocabulary` declares their form, and each program has a
table of its own. Documents, keys, values and secrets are never logged. Lines of libraries, warnings and uncaught
exceptions are written in the same format.
"""

from __future__ import annotations

from collectionstore_telemetry.logs.configuration import Format, attach_to_loop, configure
from collectionstore_telemetry.logs.levels import CHANGE_SECONDS_MAX, LevelReport, LogLevels
from collectionstore_telemetry.logs.vocabulary import Level, LogEvent

__all__ = [
    "CHANGE_SECONDS_MAX",
    "Format",
    "Level",
    "LevelReport",
    "LogEvent",
    "LogLevels",
    "attach_to_loop",
    "configure",
]
