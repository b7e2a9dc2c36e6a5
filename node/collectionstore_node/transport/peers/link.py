"""A dialled connection in use: the running socket, the requests that wait on it, and its orderly end."""

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
    """Runs a connection from its making on; `task` ends with it."""

    def __init__(
        self,
        connection: Connection,
        address: PeerAddress,
        messages: FrameSource,
        settings: TransportSettings,
        on_renew: Callable[[], None],
    ) -> None:
        """`messages` is the peer's queue; `on_renew` is called when the other side asks for a new connection."""
        self.connection = connection
        self.address = address
        self.calls = RequestClient(connection.wake, settings)
        self._settings = settings
        self._on_renew = on_renew
        self.task: asyncio.Task[CloseReason] = asyncio.create_task(
            connection.run(self._on_frame, (self.calls, messages)), name=f"read-{address.name}"
        )

    def detach(self) -> None:
        """Leave the peer's queue to another connection; the requests made here are still answered here."""
        self.connection.limit_to((self.calls,))

    async def retire(self) -> None:
        """Close after the answers that are owed have come, for a bounded time."""
        await self._wait_for(self.calls.drained(), self._settings.drain_timeout_s)
        await self._end(CloseCode.ROTATED)

    async def close(self, code: CloseCode) -> None:
        """Close after what is queued has been written, for a bounded time."""
        await self._wait_for(self.connection.flushed(), self._settings.close_timeout_s)
        await self._end(code)

    async def _end(self, code: CloseCode) -> None:
        self.connection.end(code, "")
        await self.task

    async def _wait_for(self, done: Coroutine[None, None, None], timeout_s: float) -> None:
        """Wait for `done`, for the end of the connection or for the timeout, whichever comes first."""
        waiting = asyncio.create_task(done)
        await asyncio.wait((waiting, self.task), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

    def _on_frame(self, frame: Frame) -> int:
        if frame.kind is FrameKind.REPLIES:
            self.calls.on_replies(frame.payload)
        elif frame.kind is FrameKind.RENEW:
            self._on_renew()
        else:
            raise Refused(CloseCode.PROTOCOL, f"{frame.kind.name.lower()} on a connection dialled from here")
        return 0
