"""A dialed connection in use: the running socket, its outstanding requests, and its graceful close."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

from collectionstore_node.transport.addresses import PeerAddress
from collectionstore_node.transport.connection.close_reason import CloseReason
from collectionstore_node.transport.connection.connection import Connection
from collectionstore_node.transport.requests.client import RequestClient
from collectionstore_node.transport.settings import TransportSettings
from collectionstore_node.transport.wire.close_codes import CloseCode, Refused
from collectionstore_node.transport.wire.frames import Frame, FrameKind
from collectionstore_node.transport.wire.send_queue import FrameSource


class Link:
    """Runs a connection; `task` ends when it closes."""

    def __init__(
        self,
        connection: Connection,
        address: PeerAddress,
        messages: FrameSource,
        settings: TransportSettings,
        on_renew: Callable[[], None],
    ) -> None:
        """`messages` is the peer's queue; `on_renew` is called when the other side requests a new connection."""
        self.connection = connection
        self.address = address
        self.requests = RequestClient(connection.wake, settings)
        self._settings = settings
        self._on_renew = on_renew
        self.task: asyncio.Task[CloseReason] = asyncio.create_task(
            connection.run(self._on_frame, (self.requests, messages)), name=f"read-{address.name}"
        )

    def detach(self) -> None:
        """Stop sending from the peer's queue; outstanding requests are still answered on this connection."""
        self.connection.limit_to((self.requests,))

    async def retire(self) -> None:
        """Close after all outstanding replies have arrived, within `drain_timeout_s`."""
        await self._wait_for(self.requests.drained(), self._settings.drain_timeout_s)
        await self._end(CloseCode.ROTATED)

    async def close(self, code: CloseCode) -> None:
        """Close after the queue was written, within `close_timeout_s`."""
        await self._wait_for(self.connection.flushed(), self._settings.close_timeout_s)
        await self._end(code)

    async def _end(self, code: CloseCode) -> None:
        self.connection.end(code, "")
        await self.task

    async def _wait_for(self, done: Coroutine[None, None, None], timeout_s: float) -> None:
        """Wait for `done`, for the connection to close or for the timeout, whichever comes first."""
        waiting = asyncio.create_task(done)
        await asyncio.wait((waiting, self.task), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

    def _on_frame(self, frame: Frame) -> int:
        if frame.kind is FrameKind.REPLIES:
            self.requests.on_replies(frame.payload)
        elif frame.kind is FrameKind.RENEW:
            self._on_renew()
        else:
            raise Refused(CloseCode.PROTOCOL, f"{frame.kind.name.lower()} on a connection dialed from here")
        return 0
