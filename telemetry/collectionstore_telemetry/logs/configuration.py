"""Sets up structlog and the standard library's logging for a process, so that both write the same lines."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import MutableMapping, Sequence
from functools import partial
from typing import Any, Literal, TextIO

import structlog

from collectionstore_telemetry.logs import uncaught
from collectionstore_telemetry.logs.exceptions import ExceptionFormatter
from collectionstore_telemetry.logs.levels import LOGGER, LogLevels
from collectionstore_telemetry.logs.vocabulary import Level
from collectionstore_telemetry.tracing.active import add_trace_ids

Format = Literal["auto", "json", "console"]
"""`auto` is console on a terminal and json elsewhere."""


def configure(
    *,
    format_: Format,
    level: Level,
    output: TextIO | None = None,
    quiet_loggers: Sequence[str] = (),
    quoting_packages: Sequence[str] = (),
    **bound: str,
) -> LogLevels:
    """Set up logging for the process, to `output` or stderr, and return its level, which can be changed later.

    `bound` values are on every line. Loggers named in `quiet_loggers`, and their children, write nothing below
    `warning`. Exceptions of `quoting_packages` are logged without their text.
    """
    stream = output or sys.stderr
    console = format_ == "console" or (format_ == "auto" and stream.isatty())
    exceptions = ExceptionFormatter(quoting_packages)
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        add_trace_ids,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        # The level can change at run time, so structlog passes everything on and the standard library's logger filters.
        wrapper_class=structlog.make_filtering_bound_logger("debug"),
        logger_factory=lambda *_: logging.getLogger(LOGGER),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_as_library_event, *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_renderers(exceptions, console=console, colours=stream.isatty()),
            ],
        )
    )
    # Replaced, not added: a second call, as in tests, must not write every line twice.
    logging.getLogger().handlers[:] = [handler]
    # The SDK logs every batch that fails, with the receiver's URL; our exporter logs the first failure and counts all.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    for name in quiet_loggers:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)
    uncaught.install()
    structlog.contextvars.bind_contextvars(**bound)
    levels = LogLevels(level)
    levels.apply_configured()
    return levels


def attach_to_loop(loop: asyncio.AbstractEventLoop, levels: LogLevels) -> None:
    """Log exceptions that reach `loop` uncaught; SIGUSR1 sets the level to debug, SIGUSR2 to the configured one."""
    # Through the loop: a handler of `signal.signal` runs between any two bytecodes, also amid writing a line.
    loop.set_exception_handler(uncaught.in_loop)
    loop.add_signal_handler(signal.SIGUSR1, partial(levels.change, "debug", reason="SIGUSR1"))
    loop.add_signal_handler(signal.SIGUSR2, partial(levels.change, levels.configured, reason="SIGUSR2"))


def _renderers(exceptions: ExceptionFormatter, *, console: bool, colours: bool) -> list[structlog.typing.Processor]:
    if not console:
        return [exceptions.render, structlog.processors.JSONRenderer()]
    return [structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=exceptions.write)]


def _as_library_event(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Turn a record of the standard library's logging into an event; a processor of structlog."""
    return {**event, "event": "library.logged", "logger": event["_record"].name, "text": event["event"]}
