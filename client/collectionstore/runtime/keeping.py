"""What is kept alive beside the user's work: leases and locks are renewed, and it is told when they are lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from collectionstore.errors import CollectionStoreError, ProblemError
from collectionstore.wire.answers import Answer


class Keeper:
    """Renews something at a third of its time. Belongs to one event loop; `lost` may be read from any thread."""

    def __init__(
        self,
        renew: Callable[[float], Awaitable[Answer]],
        ttl_s: float,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`renew(timeout_s)` sends one renewal, which was granted for `ttl_s` just now."""
        self._renew = renew
        self._ttl_s = ttl_s
        self._sleep = sleep
        self._clock = asyncio.get_running_loop().time
        self._until = self._clock() + ttl_s
        self.lost = False
        """Whether it may be over: the store said so, or no renewal came through within its time."""
        self.reason = ""
        self._gone = asyncio.Event()
        self._task = asyncio.create_task(self._run(), name="collectionstore keeper")

    async def wait_lost(self) -> None:
        """Return once it is lost."""
        await self._gone.wait()

    async def stop(self) -> None:
        """Renew it no more."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await self._sleep(self._ttl_s / 3)
            began = self._clock()
            try:
                await self._renew(max(0.05, min(self._ttl_s / 3, self._until - began)))
                # From when it was SENT on: the store counts from a later moment.
                self._until = began + self._ttl_s
            except ProblemError as error:
                if not error.retryable and error.status < 500:
                    self._lose(error.code)
                    return
            except CollectionStoreError as error:
                self.reason = type(error).__name__
            if self._clock() >= self._until:
                self._lose(self.reason or "it was not renewed in time")
                return

    def _lose(self, reason: str) -> None:
        self.reason = reason
        self.lost = True
        self._gone.set()
