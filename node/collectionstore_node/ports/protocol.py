"""`PortProtocol`: an HTTP connection that its port can count and close."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from aiohttp import web


class PortProtocol(web.RequestHandler):
    """aiohttp's connection, with what `admission.Occupant` asks for."""

    __slots__ = ("_ended",)

    def __init__(self, manager: web.Server, *, loop: asyncio.AbstractEventLoop, **options: Any) -> None:
        super().__init__(manager, loop=loop, **options)
        self._ended: Callable[[], None] | None = None

    def on_end(self, ended: Callable[[], None]) -> None:
        """Take the function that is called when the connection has ended."""
        self._ended = ended

    def idle_since(self) -> float | None:
        """Return since when the connection waits for a request, in loop time; None while it is busy."""
        waiter = self._waiter
        if waiter is None or waiter.done() or self._messages:
            return None
        # aiohttp sets this whenever a connection begins to wait; it saves reading the clock a second time.
        return self._next_keepalive_close_time - self._keepalive_timeout

    def evict(self) -> None:
        """Close the connection at once: nothing is being answered on it."""
        if self.transport is not None:
            self.transport.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Tell the port, too."""
        super().connection_lost(exc)
        self.uncount()

    def uncount(self) -> None:
        """Have the port count the connection no longer: it has ended, or others count it from now on."""
        ended, self._ended = self._ended, None
        if ended is not None:
            ended()
