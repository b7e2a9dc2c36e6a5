"""Waits for conditions that only a tick or a Ready can change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from collectionstore_node.errors import OutcomeUnknown


class Conditions:
    """Pending conditions. The driver calls `check` after every tick and every Ready."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: list[tuple[Callable[[], bool], float, asyncio.Future[None]]] = []
        """Conditions with their deadlines."""
        self._closed = False

    async def until(self, condition: Callable[[], bool], deadline: float) -> None:
        """Return when `condition` holds after some tick or Ready. `deadline` is loop time.

        Raises `OutcomeUnknown` at the deadline, and when the driver ends.
        """
        if condition():
            return
        if self._closed:
            raise OutcomeUnknown("the node is stopping")
        future: asyncio.Future[None] = self._loop.create_future()
        entry = (condition, deadline, future)
        self._waiting.append(entry)
        try:
            # It need not hold any more when this goes on: another entry may have been proposed since.
            await future
        finally:
            self._waiting.remove(entry)

    def check(self) -> None:
        """Resolve conditions that hold and those past their deadline."""
        for condition, deadline, future in self._waiting:
            if future.done():
                continue
            if condition():
                future.set_result(None)
            elif self._loop.time() >= deadline:
                future.set_exception(OutcomeUnknown("not finished within the deadline"))

    def close(self) -> None:
        """Fail all pending conditions: without a driver none of them changes any more."""
        self._closed = True
        for _, _, future in self._waiting:
            if not future.done():
                future.set_exception(OutcomeUnknown("the node is stopping"))
