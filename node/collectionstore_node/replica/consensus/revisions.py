"""Who waits for a revision to be applied here, and who is told of every one."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from itertools import count
from typing import TypeAlias

from collectionstore_node.errors import NotNow

Observer: TypeAlias = Callable[[int, int], None]
"""Takes the applied revision and its replicated time in milliseconds; raises nothing, and takes no time."""


class Revisions:
    """The revisions that one member applies. Belongs to the event loop; the driver calls `applied`."""

    def __init__(self, revision: int) -> None:
        """`revision` is the applied one."""
        self._revision = revision
        self._observers: dict[int, Observer] = {}
        self._numbers = count()
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._closed = False

    def observe(self, observer: Observer) -> Callable[[], None]:
        """Tell `observer` whenever entries were applied and stored; what this returns ends that."""
        number = next(self._numbers)
        self._observers[number] = observer

        def end() -> None:
            self._observers.pop(number, None)

        return end

    async def reached(self, revision: int, *, timeout_s: float) -> bool:
        """Return True once `revision` is applied, False when the time is over. Raises `NotNow` when the node stops."""
        if self._revision >= revision:
            return True
        if self._closed:
            raise NotNow("the node is stopping")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        heapq.heappush(self._waiting, (revision, next(self._numbers), future))
        # Not `asyncio.timeout`: requests run outside of tasks.
        timer = loop.call_later(timeout_s, _give_up, future)
        try:
            await future
        finally:
            timer.cancel()
            self._tidy()
        return self._revision >= revision

    def applied(self, revision: int, time_ms: int) -> None:
        """Note what is applied now; AFTER it is stored, so that it can be read."""
        self._revision = revision
        waiting = self._waiting
        while waiting and waiting[0][0] <= revision:
            future = heapq.heappop(waiting)[2]
            if not future.done():
                future.set_result(None)
        if self._observers:
            # A copy: an observer may end itself, or begin another one.
            for observer in tuple(self._observers.values()):
                observer(revision, time_ms)

    def close(self) -> None:
        """Fail all that wait: nothing more is applied here."""
        self._closed = True
        for _, _, future in self._waiting:
            if not future.done():
                future.set_exception(NotNow("the node is stopping"))
        self._waiting.clear()

    def _tidy(self) -> None:
        """Forget those whose time is over: their revisions may never come."""
        done = sum(future.done() for _, _, future in self._waiting)
        # Now and then: looking at all of them each time would cost the square of their number.
        if 2 * done > len(self._waiting):
            self._waiting = [one for one in self._waiting if not one[2].done()]
            heapq.heapify(self._waiting)


def _give_up(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
