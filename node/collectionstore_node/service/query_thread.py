"""The thread of queries: long work whose steps cannot all be short, beside the event loop.

What one document costs a query depends on the document: a regular expression over a mebibyte of text, or a comparison
with each of half a million numbers, takes far longer than a turn of the event loop may. In a thread it holds up
nothing: Python gives the interpreter to another thread after 5 ms, and RE2 does not hold it at all. There is one
thread, so that queries take one processor at most; they take steps in rotation.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from collectionstore_node.errors import Overloaded

T = TypeVar("T")

PLACES: Final = 2
"""Queries that take steps; each may hold a decoded document of tens of megabytes, and what it sorts."""
WAITING_MAX: Final = 128
"""Queries that wait for a place, and hold nothing."""


class QueryThread:
    """Runs generators, step by step, in one thread. Belongs to one event loop."""

    __slots__ = ("_executor", "_free", "_waiting")

    def __init__(self) -> None:
        self._executor: ThreadPoolExecutor | None = None
        self._free = PLACES
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def run(self, begin: Callable[[], Generator[None, None, T]], *, timeout_s: float) -> T:
        """Return what the generator returns that `begin` makes, in the event loop, once there is a place.

        Raises what it raises, and `Overloaded` when there is no place within `timeout_s`, or too many wait for one.
        """
        await self._enter(timeout_s)
        try:
            return await self._drive(begin())
        finally:
            self._leave()

    def close(self) -> None:
        """End the thread, behind the step that it is at. Blocks for as long as that takes."""
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)

    async def _drive(self, steps: Generator[None, None, T]) -> T:
        if self._executor is None:
            self._executor = ThreadPoolExecutor(1, thread_name_prefix="queries")
        loop = asyncio.get_running_loop()
        while True:
            step = loop.run_in_executor(self._executor, _step, steps)
            try:
                found = await asyncio.shield(step)
            except asyncio.CancelledError:
                # The place is taken until the thread has left the generator.
                await asyncio.wait((step,))
                raise
            if found is not None:
                value: T = found[0]
                return value

    async def _enter(self, timeout_s: float) -> None:
        if self._free and not self._waiting:
            self._free -= 1
            return
        if sum(not place.done() for place in self._waiting) >= WAITING_MAX:
            raise Overloaded(f"{WAITING_MAX} queries are waiting already")
        loop = asyncio.get_running_loop()
        place: asyncio.Future[None] = loop.create_future()
        self._waiting.append(place)
        # Not `asyncio.timeout`: requests of the hot path run outside of tasks.
        timer = loop.call_later(timeout_s, _expire, place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self._leave()  # it was given at the same moment
            raise
        finally:
            timer.cancel()

    def _leave(self) -> None:
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                return
        self._free += 1


def _expire(place: asyncio.Future[None]) -> None:
    if not place.done():
        place.set_exception(Overloaded("other queries took the time that this one had"))


def _step(steps: Generator[None, None, Any]) -> tuple[Any] | None:
    try:
        next(steps)
    except StopIteration as end:
        return (end.value,)
    return None
