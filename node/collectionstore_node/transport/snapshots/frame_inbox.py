"""Received frames of a snapshot connection, between its reader and the coroutine that processes them."""

from __future__ import annotations

import asyncio
from collections import deque

from collectionstore_node.transport.connection.close_reason import CloseReason
from collectionstore_node.transport.wire.close_codes import CloseCode, Refused
from collectionstore_node.transport.wire.frames import Frame


class ConnectionGone(Exception):
    """The connection closed before the awaited frame arrived."""


class FrameInbox:
    """A bounded FIFO with one consumer, so that pings are answered while a chunk is being stored.

    The bound is in bytes: a peer that exceeds the window it was given is disconnected.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._frames: deque[Frame] = deque()
        self._size_bytes = 0
        self._reason: CloseReason | None = None
        self._waiter: asyncio.Future[None] | None = None

    def put(self, frame: Frame) -> int:
        """Queue a frame, which holds no Raft messages (0). Raises `Refused` when it passes the other side's window."""
        self._size_bytes += len(frame.payload)
        if self._size_bytes > self._bytes_max:
            raise Refused(CloseCode.PROTOCOL, "more unacknowledged snapshot bytes than the window allows")
        # A copy: the payload is valid during this call only.
        self._frames.append(Frame(frame.kind, memoryview(bytes(frame.payload))))
        self._wake()
        return 0

    def close(self, reason: CloseReason) -> None:
        """Deliver what was received, then raise `ConnectionGone` to the consumer."""
        self._reason = reason
        self._wake()

    async def get(self) -> Frame:
        """Return the next frame. Raises `ConnectionGone`."""
        while not self._frames:
            if self._reason is not None:
                raise ConnectionGone(str(self._reason))
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        frame = self._frames.popleft()
        self._size_bytes -= len(frame.payload)
        return frame

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
