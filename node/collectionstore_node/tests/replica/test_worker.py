"""One thread, one piece of work after the other, and its end is told on the loop."""

from __future__ import annotations

import asyncio
import threading

from collectionstore_node.replica.persistence.worker import WorkerThread

PATIENCE_S = 10.0


class Ends:
    """Collects what a worker tells."""

    def __init__(self) -> None:
        self.errors: list[BaseException | None] = []
        self.threads: set[int] = set()
        self._count = asyncio.Semaphore(0)

    def done(self, error: BaseException | None) -> None:
        """Take the end of a piece of work."""
        self.errors.append(error)
        self.threads.add(threading.get_ident())
        self._count.release()

    async def wait(self, count: int) -> None:
        """Wait for so many ends."""
        for _ in range(count):
            await asyncio.wait_for(self._count.acquire(), PATIENCE_S)


async def test_work_is_done_in_order_in_one_other_thread_and_told_on_the_loop() -> None:
    worker, ends = WorkerThread("test-worker"), Ends()
    seen: list[tuple[int, str]] = []
    for number in range(5):
        worker.start(lambda number=number: seen.append((number, threading.current_thread().name)), ends.done)  # type: ignore[misc]
    await ends.wait(5)
    worker.close()
    assert seen == [(number, "test-worker") for number in range(5)]
    assert ends.errors == [None] * 5
    assert ends.threads == {threading.get_ident()}


async def test_error_is_told_and_the_next_piece_of_work_is_done() -> None:
    worker, ends = WorkerThread("test-worker"), Ends()
    error = OSError("the disk is gone")

    def fail() -> None:
        raise error

    worker.start(fail, ends.done)
    worker.start(lambda: None, ends.done)
    await ends.wait(2)
    worker.close()
    assert ends.errors == [error, None]


async def test_closing_finishes_what_was_started() -> None:
    worker, ends = WorkerThread("test-worker"), Ends()
    gate, finished = threading.Event(), threading.Event()

    def work() -> None:
        assert gate.wait(PATIENCE_S)
        finished.set()

    worker.start(work, ends.done)
    asyncio.get_running_loop().run_in_executor(None, gate.set)
    worker.close()
    assert finished.is_set()
    await ends.wait(1)


async def test_worker_without_work_has_no_thread() -> None:
    threads = threading.active_count()
    worker = WorkerThread("test-worker")
    assert threading.active_count() == threads
    worker.close()
