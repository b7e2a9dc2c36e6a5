"""One thread for blocking work whose end the event loop is told of.

Every sync of the log is such a piece of work, hundreds of them in a second. `loop.run_in_executor` makes two futures
for each, and takes two turns of the loop to tell of the end; here it is one queue to the thread and one call back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import NamedTuple, Protocol, TypeAlias

Done: TypeAlias = Callable[[BaseException | None], None]


class Worker(Protocol):
    """Performs one piece of work after the other. Belongs to an event loop; a simulation has one without a thread."""

    def start(self, work: Callable[[], None], done: Done) -> None:
        """Have `work` done, after what was started before it; then `done` is called on the loop, with its error.

        Not after `close`.
        """

    def close(self) -> None:
        """Finish what was started, and end. Blocks; `done` is called later, if the loop runs on."""


class _Job(NamedTuple):
    work: Callable[[], None]
    done: Done


class WorkerThread:
    """A worker with a thread, which starts with the first piece of work."""

    def __init__(self, name: str) -> None:
        """Name the thread; the loop is the running one."""
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        # A daemon: what ends the process without `close` must not wait for a thread that is never ended.
        self._thread = Thread(target=self._run, name=name, daemon=True)

    def start(self, work: Callable[[], None], done: Done) -> None:
        """See `Worker`. Raises `RuntimeError` when there can be no thread."""
        if self._thread.ident is None:
            self._thread.start()
        self._jobs.put(_Job(work, done))

    def close(self) -> None:
        """See `Worker`."""
        self._jobs.put(None)
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            error: BaseException | None = None
            try:
                job.work()
            except BaseException as failure:
                error = failure  # the loop decides what it means
            try:
                self._loop.call_soon_threadsafe(job.done, error)
            except RuntimeError:
                return  # the loop is closed: there is none left to tell
            # Or the thread would hold on to it until the next one comes.
            del job, error
