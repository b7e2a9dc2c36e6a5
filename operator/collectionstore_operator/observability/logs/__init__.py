"""Logging of the operator: structlog events as JSON lines on stderr, or readable ones on a terminal.

Events are `noun.past_verb` with values as keys; `vocabulary.py` declares all of them and docs/logs.md lists them.
Secrets, keys and documents are never logged. What libraries say through the standard library's logging and warnings,
kopf's lines among it, and what nobody catches, comes out in the same format.
"""

from __future__ import annotations

import logging
import signal
import sys
from asyncio import AbstractEventLoop
from collections.abc import MutableMapping, Sequence
from functools import partial
from typing import Any, Literal, TextIO

import structlog

from collectionstore_operator.observability.logs import exceptions, uncaught
from collectionstore_operator.observability.logs.levels import OURS, LogLevels
from collectionstore_operator.observability.logs.vocabulary import Level

Style = Literal["auto", "json", "console"]


def configure(
    *,
    output: TextIO | None = None,
    style: Style = "json",
    level: Level = "info",
    further: Sequence[structlog.typing.Processor] = (),
) -> LogLevels:
    """Set up logging for the process, to `output` or stderr, and return its level, to be changed later.

    `auto` is console on a terminal and json elsewhere. `further` processors add what they know, such as the trace of
    the running task.
    """
    stream = output or sys.stderr
    console = style == "console" or (style == "auto" and stream.isatty())
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
    levels = LogLevels(level)
    levels.begin()
    return levels


def listen(loop: AbstractEventLoop, levels: LogLevels) -> None:
    """Log what reaches the event loop uncaught; log everything after SIGUSR1, and as configured after SIGUSR2."""
    loop.set_exception_handler(uncaught.in_loop)
    loop.add_signal_handler(signal.SIGUSR1, partial(levels.change, "debug", reason="SIGUSR1"))
    loop.add_signal_handler(signal.SIGUSR2, partial(levels.change, levels.configured, reason="SIGUSR2"))


def bind(**values: str) -> None:
    """Put `values` on every following line of this task and its children: namespace, name and the like."""
    structlog.contextvars.bind_contextvars(**values)


def _renderers(*, console: bool, colours: bool) -> list[structlog.typing.Processor]:
    if not console:
        return [exceptions.render, structlog.processors.JSONRenderer()]
    return [structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=exceptions.write)]


def _library(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Make what a library says one of our events."""
    return {**event, "event": "library.logged", "logger": event["_record"].name, "text": event["event"]}


__all__ = ["Level", "LogLevels", "Style", "bind", "configure", "listen"]
