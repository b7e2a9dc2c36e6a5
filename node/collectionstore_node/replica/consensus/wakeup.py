"""How a change of the core reaches the driver, and how the first fatal error ends it.

Everything below the driver holds a `Wakeup` and none of it holds the driver: events flow up through here.
"""

from __future__ import annotations

import asyncio


class Wakeup:
    """Wakes the one driver that waits. Belongs to the event loop."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._failure: BaseException | None = None

    @property
    def failure(self) -> BaseException | None:
        """The first fatal error; the driver raises it instead of executing another `Ready`."""
        return self._failure

    def wake(self) -> None:
        """Make the driver process the core's next `Ready`."""
        self._event.set()

    def fail(self, error: BaseException) -> None:
        """End the driver with `error`; the first one counts, later ones are its consequences."""
        if self._failure is None:
            self._failure = error
        self._event.set()

    async def wait(self) -> None:
        """Return at the next call of `wake` or `fail`, or immediately if there was one since the last return."""
        await self._event.wait()
        self._event.clear()
