"""Uncaught exceptions as log lines: of the main thread, of other threads, of finalizers and of the event loop.

Of the event loop's own message only the constant part is logged: the rest shows arguments of callbacks and results of
tasks, which may be documents or Secrets.
"""

from __future__ import annotations

import asyncio
import re
import sys
import threading
from types import TracebackType
from typing import Any, Final

import structlog

log = structlog.get_logger()

_CONSTANT: Final = re.compile(r"[A-Za-z' ,-]+")
"""The part of the event loop's message in front of the first value."""


def install() -> None:
    """Log uncaught exceptions of the main thread, other threads and finalizers."""
    sys.excepthook = _uncaught
    threading.excepthook = _in_thread
    sys.unraisablehook = _unraisable


def in_loop(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what an event loop reports; its exception handler."""
    task = context.get("task") or context.get("future")
    found = _CONSTANT.match(str(context.get("message", "")))
    log.error(
        "callback.failed",
        text=found[0].strip() if found else "",
        task=task.get_name() if isinstance(task, asyncio.Task) else None,
        exc_info=context.get("exception"),
    )


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    # Ctrl-C is no failure: Python's own hook makes it the exit status that shells expect.
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    log.error("exception.uncaught", place="main", exc_info=error)


def _in_thread(found: threading.ExceptHookArgs) -> None:
    log.error("exception.uncaught", place=found.thread.name if found.thread else "thread", exc_info=found.exc_value)


def _unraisable(found: sys.UnraisableHookArgs) -> None:
    log.error("exception.uncaught", place="finaliser", exc_info=found.exc_value)
