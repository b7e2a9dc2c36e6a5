"""How a change of the core reaches the driver, and how the first fatal error ends it.

Everything below the driver holds a `Wakeup` and none of it holds the driver: events flow up through here.
"""

from __future__ import annotations

import asyncio


class Wakeup:
    """Wakes the one driver that waits. Belongs to the event loop."""

    def __init__(self) -> None:
        self._awake = False
        """Whether the driver was woken since it began to wait last."""
        self._waiter: asyncio.Future[None] | None = None
        self._failure: BaseException | None = None

    @property
    def failure(self) -> BaseException | None:
        """The first fatal error; the driver raises it instead of executing another `Ready`."""
        return self._failure

    @property
    def due(self) -> bool:
        """Whether `wait` would return immediately."""
        return self._awake

    def wake(self) -> None:
        """Make the driver process the core's next `Ready`. Costs little when it is awake: each command calls it."""
        if self._awake:
            return
        self._awake = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def fail(self, error: BaseException) -> None:
        """End the driver with `error`; the first one counts, later ones are its consequences."""
        if self._failure is None:
            self._failure = error
        self.wake()

    async def wait(self) -> None:
        """Return at the next call of `wake` or `fail`, or immediately if there was one since the last return."""
        if not self._awake:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        self._awake = False
