"""The log events of the program in a world: part of the seed's log; an error event fails the seed."""

from __future__ import annotations

import asyncio
import logging
import sys
import traceback
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import structlog

from collectionstore_node.errors import StorageFailed
from collectionstore_node.tests.simulation.events import Trace
from collectionstore_node.tests.simulation.process import Process, running

_LIBRARIES = ("aiohttp", "asyncio")
_IMPOSSIBLE = ("message.rejected",)
"""Warnings that no fault explains while no member lies."""


class Logged(AssertionError):
    """Something logged an error: of the program itself, for faults are not errors in this sense."""


class _Handler(logging.Handler):
    """Takes what libraries log."""

    def __init__(self, take: Callable[[str, str, BaseException | None], None]) -> None:
        super().__init__(logging.WARNING)
        self._take = take

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record."""
        error = record.exc_info[1] if record.exc_info else None
        self._take(record.levelname.lower(), record.getMessage(), error)


def _counts(process: Process | None, error: BaseException | None) -> bool:
    """Whether an error is worth a failure.

    One of the disk ends the process, and its host judges whether it may. aiohttp 3.14 trips over its own future when a
    handler ends in the turn in which `RequestHandler.shutdown` gives up waiting for it; the connection ends anyway.
    """
    if isinstance(error, StorageFailed) or _trips_over_itself(error):
        return False
    return process is None or process.alive


def _trips_over_itself(error: BaseException | None) -> bool:
    raised_in = [frame.filename for frame in traceback.extract_tb(error.__traceback__)] if error is not None else []
    return isinstance(error, asyncio.InvalidStateError) and raised_in[-1].endswith("aiohttp/web_protocol.py")


@contextmanager
def kept(trace: Trace, failed: Callable[[BaseException, BaseException | None], None]) -> Iterator[None]:
    """Lead all logs to `trace`, and errors of living processes to `failed` too, until the end of the block."""

    def take(level: str, text: str, error: BaseException | None) -> None:
        process = running()
        trace.say(process.name if process is not None else "world", f"{level}: {text}")
        if level in ("error", "critical", "exception") and _counts(process, error):
            failed(Logged(f"{process.name if process else 'world'} logged: {text}: {error!r}"), error)

    def take_event(_logger: object, level: str, event: MutableMapping[str, Any]) -> str:
        error = event.pop("exc_info", None)
        if error is True:
            error = sys.exc_info()[1]
        said = event.pop("event", "")
        if said in _IMPOSSIBLE:
            level = "error"
        if said == "entry.not_applied" and event.get("reason") == StorageFailed.__name__:
            # As an error of the disk (`_counts`), told with the entry that it ends.
            level = "warning"
        if trace.verbose or level not in ("debug", "info"):
            facts = " ".join(f"{key}={value}" for key, value in event.items())
            take(level, f"{said} {facts}", error if isinstance(error, BaseException) else None)
        raise structlog.DropEvent

    before = structlog.get_config()
    level = logging.INFO if trace.verbose else logging.WARNING
    structlog.configure(processors=[take_event], wrapper_class=structlog.make_filtering_bound_logger(level))
    handler = _Handler(take)
    loggers = [logging.getLogger(name) for name in _LIBRARIES]
    propagated = [logger.propagate for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.propagate = False
    try:
        yield
    finally:
        for logger, propagate in zip(loggers, propagated, strict=True):
            logger.removeHandler(handler)
            logger.propagate = propagate
        structlog.configure(**before)
