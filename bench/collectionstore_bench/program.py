"""What the programs of this package have in common: what they say meanwhile, and how they end."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

import uvloop

from collectionstore_testkit.clusters.errors import ClusterFailed

FAILED: Final = 1
INTERRUPTED: Final = 130

T = TypeVar("T")


def say(text: str) -> None:
    """Tell what is going on and when, apart from the results."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def on_uvloop(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` on the event loop that nodes and load generators use; return what it returns."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def exit_code(work: Callable[[], int], *failures: type[Exception]) -> int:
    """Run `work`; return its exit code, FAILED after an error of the world, INTERRUPTED when it was interrupted.

    Errors of the world are those of clusters, the kernel and the stores, and `failures`; they are said in a line. Any
    other exception is an error of the program, and raised.
    """
    try:
        return work()
    except (KeyboardInterrupt, asyncio.CancelledError):
        say("interrupted; what was started is stopped")
        return INTERRUPTED
    except Exception as error:
        if not isinstance(error, (ClusterFailed, OSError, RuntimeError, *failures)):
            raise
        say(f"error: {error}")
        return FAILED
