"""Logging: structlog events as JSON lines, or readable ones on a terminal.

Events are `noun.past_verb` with values as keys; `vocabulary.py` declares all of them and docs/logs.md lists them.
Documents, keys, values and secrets are never logged. What libraries say through the standard library's logging and
warnings, and what nobody catches, comes out in the same format.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping, Sequence
from typing import Any, Literal, TextIO

import structlog

from collectionstore_node.logs import exceptions, uncaught
from collectionstore_node.logs.levels import OURS, LogLevels
from collectionstore_node.logs.slow import SlowLog, Thresholds
from collectionstore_node.logs.vocabulary import Level

Format = Literal["auto", "json", "console"]


def configure(
    *,
    format_: Format,
    level: Level,
    output: TextIO | None = None,
    further: Sequence[structlog.typing.Processor] = (),
    **bound: str,
) -> LogLevels:
    """Set up logging for the process, to `output` or stderr, and return its level, to be changed later.

    `bound` values are on every line; `further` processors add what they know, such as the trace of the running task.
    """
    stream = output or sys.stderr
    console = format_ == "console" or (format_ == "auto" and stream.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        *further,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.make_filtering_bound_logger("debug"),
        logger_factory=lambda *_: logging.getLogger(OURS),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_library, *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_renderers(console=console, colours=stream.isatty()),
            ],
        )
    )
    logging.getLogger().handlers[:] = [handler]
    # What goes wrong with a batch of spans is counted, and told once by the exporter of ours.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    logging.captureWarnings(capture=True)
    uncaught.install()
    structlog.contextvars.bind_contextvars(**bound)
    levels = LogLevels(level)
    levels.begin()
    return levels


def _renderers(*, console: bool, colours: bool) -> list[structlog.typing.Processor]:
    if not console:
        return [exceptions.render, structlog.processors.JSONRenderer()]
    return [structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=exceptions.write)]


def _library(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Make what a library says one of our events."""
    return {**event, "event": "library.logged", "logger": event["_record"].name, "text": event["event"]}


__all__ = ["Format", "Level", "LogLevels", "SlowLog", "Thresholds", "configure"]
