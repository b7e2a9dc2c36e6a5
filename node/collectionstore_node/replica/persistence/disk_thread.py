"""A thread for calls that wait for the disk, one after the other.

An executor would do. But between two waits of a sync it makes a future and a lock of threads, a future of the event
loop, and two more callbacks; for a client that writes one document after the other this was a tenth of what a write
costs a member.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Protocol, TypeAlias

Done: TypeAlias = Callable[[BaseException | None], None]
"""Called on the event loop, with what the call raised."""


class Worker(Protocol):
    """Does calls in their order, beside the event loop."""

    def run(self, call: Callable[[], None], done: Done) -> None:
        """Do `call`, and then `done` on the event loop."""

    def close(self) -> None:
        """Return when the calls begun and queued have ended; none may follow."""


WorkerFactory: TypeAlias = Callable[[str], Worker]
"""Makes a worker of this name, for the running event loop."""


class DiskThread:
    """A `Worker` that is a thread; it starts with the first call."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._loop = asyncio.get_running_loop()
        self._calls: SimpleQueue[tuple[Callable[[], None], Done] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def run(self, call: Callable[[], None], done: Done) -> None:
        """Do `call` in the thread, and then `done` on the event loop."""
        if self._thread is None:
            # No daemon would hold up the end of a process whose disk hangs; `close` waits, and a crash is survived.
            self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()
        self._calls.put((call, done))

    def close(self) -> None:
        """Return when the calls begun and queued have ended; none may follow."""
        if self._thread is not None:
            self._calls.put(None)
            self._thread.join()

    def _work(self) -> None:
        while (job := self._calls.get()) is not None:
            call, done = job
            error: BaseException | None = None
            try:
                call()
            except BaseException as raised:  # whatever a thread raises is for the loop to judge
                error = raised
            try:
                self._loop.call_soon_threadsafe(done, error)
            except RuntimeError:
                # The loop is closed: there is none left to tell, and no writer that waits.
                return
