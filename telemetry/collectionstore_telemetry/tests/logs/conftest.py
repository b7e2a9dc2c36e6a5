"""Logging as a process sets it up, with its lines in memory, and everything as it was afterwards."""

from __future__ import annotations

import io
import json
import logging
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import structlog

from collectionstore_telemetry import logs
from collectionstore_telemetry.logs import LogLevels

Lines = Callable[[], list[dict[str, Any]]]
Configure = Callable[..., LogLevels]


@pytest.fixture
def stream() -> io.StringIO:
    """Where the process writes; no terminal."""
    return io.StringIO()


@pytest.fixture
def configure(stream: io.StringIO) -> Iterator[Configure]:
    """Set up logging to `stream`, without keeping loggers: other tests use the same ones."""
    kept, root = structlog.get_config(), logging.getLogger()
    handlers, level, ours = root.handlers[:], root.level, logging.getLogger("collectionstore")
    hooks = sys.excepthook, threading.excepthook, sys.unraisablehook

    def begin(format_: logs.Format, *, quiet_loggers: Sequence[str] = (), **bound: str) -> LogLevels:
        levels = logs.configure(format_=format_, level="info", output=stream, quiet_loggers=quiet_loggers, **bound)
        structlog.configure(cache_logger_on_first_use=False)
        return levels

    yield begin
    structlog.contextvars.clear_contextvars()
    structlog.configure(**kept)
    root.handlers[:] = handlers
    root.setLevel(level)
    ours.setLevel(logging.NOTSET)
    logging.captureWarnings(capture=False)
    sys.excepthook, threading.excepthook, sys.unraisablehook = hooks


@pytest.fixture
def levels(configure: Configure) -> LogLevels:
    return configure("auto", member="shop-0")


@pytest.fixture
def lines(stream: io.StringIO, levels: LogLevels) -> Lines:
    """Return what was logged, parsed: every line is a JSON object."""
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
