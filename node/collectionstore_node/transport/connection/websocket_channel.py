"""Frames as WebSocket messages, by aiohttp: with members of versions that know no streams.

Two tasks: the caller of `run` reads, a separate task writes. No task is created per message or per frame.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final

from aiohttp import ClientError, WebSocketError, WSMsgType

from collectionstore_node.transport.connection.channel import Receiver, prefer_latency
from collectionstore_node.transport.connection.close_reason import CloseReason, WebSocket, close_socket
from collectionstore_node.transport.wire.close_codes import CloseCode, Refused
from collectionstore_node.transport.wire.frames import (
    HEADER_BYTES,
    PAYLOAD_BYTES_MAX,
    FrameRejected,
    Parts,
    decode_frame,
)

WEBSOCKET_BYTES_MAX: Final = PAYLOAD_BYTES_MAX + HEADER_BYTES


class WebSocketChannel:
    """A `Channel` on an open WebSocket."""

    def __init__(self, socket: WebSocket, close_timeout_s: float) -> None:
        self.socket = socket
        self._close_timeout_s = close_timeout_s
        self._frames: deque[bytes] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        prefer_latency(socket)

    @property
    def writable(self) -> bool:
        """Whether all frames were passed to the socket."""
        return not self._frames

    def write(self, frames: Sequence[Parts]) -> None:
        """Queue frames for the writer, each a message."""
        self._frames.extend(b"".join(parts) for parts in frames)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def close(self, code: CloseCode, detail: str) -> None:
        """Begin to close with a WebSocket close frame."""
        if self._closing is None:
            self._closing = asyncio.create_task(
                close_socket(self.socket, code, detail, self._close_timeout_s), name="close-websocket"
            )

    async def run(self, receiver: Receiver) -> CloseReason:
        """Read and write until the socket is closed."""
        writer = asyncio.create_task(self._write_all(receiver), name="write-websocket")
        try:
            return await self._read_all(receiver)
        finally:
            writer.cancel()
            if not self.socket.closed:
                self.close(CloseCode.SHUTTING_DOWN, "cancelled")
            if self._closing is not None:
                await self._closing
            await asyncio.gather(writer, return_exceptions=True)

    async def _read_all(self, receiver: Receiver) -> CloseReason:
        try:
            while True:
                message = await self.socket.receive()
                if message.type is not WSMsgType.BINARY:
                    return _stopped(message.type, message.data, message.extra)
                receiver.heard()
                receiver.on_frame(decode_frame(message.data))
        except FrameRejected as error:
            self.close(CloseCode.PROTOCOL, str(error))
            return CloseReason(CloseCode.PROTOCOL, str(error), by_peer=False)
        except Refused as error:
            self.close(error.code, error.detail)
            return CloseReason(error.code, error.detail, by_peer=False)
        except (OSError, ClientError) as error:
            return CloseReason(None, f"connection lost ({error})", by_peer=True)

    async def _write_all(self, receiver: Receiver) -> None:
        try:
            while True:
                while self._frames:
                    await self.socket.send_bytes(self._frames[0])
                    self._frames.popleft()
                receiver.on_writable()
                # Checked again: `on_writable` may have written.
                if not self._frames:
                    self._waiter = asyncio.get_running_loop().create_future()
                    await self._waiter
        except (OSError, ClientError):
            # The reader sees the same broken socket, reports it and cancels this task.
            return


def _stopped(kind: WSMsgType, data: object, extra: object) -> CloseReason:
    """Return why it closed, from what came in place of a frame. Raises `Refused` for a WebSocket text."""
    if kind is WSMsgType.CLOSE and isinstance(data, int):
        return CloseReason(data, extra if isinstance(extra, str) else "", by_peer=True)
    if isinstance(data, WebSocketError):
        # Longer than any frame, or broken WebSocket framing; aiohttp has closed it with its own code.
        return CloseReason(CloseCode.PROTOCOL, str(data), by_peer=False)
    if kind is WSMsgType.TEXT:
        raise Refused(CloseCode.PROTOCOL, "a WebSocket text message")
    return CloseReason(None, "connection lost", by_peer=True)
