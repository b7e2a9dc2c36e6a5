"""The credit of a stream: how many operations and bytes may be under way, and who waits for some of it, in order."""

from __future__ import annotations

import asyncio
from collections import deque


class Credit:
    """Belongs to one event loop. A single operation is always allowed, whatever its size."""

    def __init__(self, operations: int, size: int) -> None:
        self._operations = operations
        self._bytes = size
        self._taken = 0
        self._taken_bytes = 0
        self._waiting: deque[tuple[asyncio.Future[None], int]] = deque()

    @property
    def taken(self) -> int:
        """How many operations have some."""
        return self._taken

    @property
    def waiting(self) -> int:
        """How many operations wait for it."""
        return len(self._waiting)

    def take(self, size: int) -> bool:
        """Take the credit of one operation of `size` bytes, unless there is none left or others wait for it."""
        if self._waiting or not self._fits(size):
            return False
        self._taken += 1
        self._taken_bytes += size
        return True

    async def wait(self, size: int) -> None:
        """Wait for what `take` has not got. One that is cancelled takes nothing."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((turn, size))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.give(size)
            else:
                self._waiting.remove((turn, size))
                self._hand_on()
            raise

    def give(self, size: int) -> None:
        """Give the credit of one operation back."""
        self._taken -= 1
        self._taken_bytes -= size
        if self._waiting:
            self._hand_on()

    def fail(self, error: Exception) -> None:
        """End the waiting of all, as the stream is lost."""
        while self._waiting:
            turn, _ = self._waiting.popleft()
            if not turn.done():
                turn.set_exception(error)

    def _fits(self, size: int) -> bool:
        return self._taken == 0 or (self._taken < self._operations and self._taken_bytes + size <= self._bytes)

    def _hand_on(self) -> None:
        while self._waiting:
            turn, size = self._waiting[0]
            if not turn.done() and not self._fits(size):
                return
            self._waiting.popleft()
            if not turn.done():
                self._taken += 1
                self._taken_bytes += size
                turn.set_result(None)
