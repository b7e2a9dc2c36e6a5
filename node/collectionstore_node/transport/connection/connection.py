"""One authenticated WebSocket between two nodes, dialed or accepted: reading, writing, pings, silence, closing.

Two tasks per connection: the caller of `run` reads, a separate task writes what the frame sources contain. No task is
created per message or per frame.

Invariants:
- frames are handed on in the order received, by a plain call: backpressure is the socket's, not a queue's;
- a ping is written before anything that is still queued, so that a long queue does not look like a dead peer;
- `run` returns why the connection closed and never raises for a broken socket or a misbehaving peer.
"""

from __future__ import annotations

import asyncio
import socket as sockets
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import structlog
from aiohttp import ClientError, WebSocketError, WSMsgType

from collectionstore_node.lifecycle import end_without_memory
from collectionstore_node.raft.messages import NodeId
from collectionstore_node.transport.connection.close_reason import CloseReason, WebSocket, close_socket
from collectionstore_node.transport.connection.local_node import LocalNode
from collectionstore_node.transport.settings import TransportSettings
from collectionstore_node.transport.traffic import Traffic
from collectionstore_node.transport.wire.close_codes import CloseCode, Refused
from collectionstore_node.transport.wire.frames import (
    HEADER_BYTES,
    PAYLOAD_BYTES_MAX,
    Frame,
    FrameKind,
    FrameRejected,
    decode_frame,
    encode_frame,
)
from collectionstore_node.transport.wire.handshake import Purpose
from collectionstore_node.transport.wire.send_queue import FrameSource

log = structlog.get_logger()

FrameHandler: TypeAlias = Callable[[Frame], int]
"""Takes a frame and returns how many Raft messages were in it; raises `Refused` to end the connection."""

WEBSOCKET_BYTES_MAX: Final = PAYLOAD_BYTES_MAX + HEADER_BYTES
_UNSENT_BYTES: Final = 256 << 10
"""What the kernel may buffer unsent: a ping cannot overtake what is in that buffer."""
_STAMP = struct.Struct(">Q")


@dataclass(frozen=True, slots=True)
class Remote:
    """Who is on the other end, as verified in the handshake."""

    node_id: NodeId
    name: str
    address: str
    purpose: Purpose
    dialed_from: str = ""
    """IP address, when it dialed and has one."""
    process: int = 0
    """The number of its process, when it dialed; 0 is unknown."""


@dataclass(frozen=True, slots=True)
class ConnectionContext:
    """Shared by the dialer, the listener and every connection."""

    local: LocalNode
    settings: TransportSettings
    traffic_of: Callable[[str], Traffic]
    """Returns the totals of the member with this name."""
    clock: Callable[[], float]
    """Monotonic, in seconds."""
    running: dict[Connection, None]
    """The connections that are running, for their owner to call `beat` on; each adds and removes itself."""


class Connection:
    """A connection after its handshake."""

    def __init__(
        self,
        context: ConnectionContext,
        socket: WebSocket,
        remote: Remote,
        *,
        pings: bool,
    ) -> None:
        """With `pings` this side pings and measures: the dialer does, since what it sends is what is measured.

        The other side detects by the pings that the dialer is alive.
        """
        self.remote = remote
        self.traffic = context.traffic_of(remote.name)
        self._clock = context.clock
        self.opened_at = context.clock()
        self._sources: Sequence[FrameSource] = ()
        self._socket = socket
        self._settings = context.settings
        self._running = context.running
        self._heard_at = self.opened_at
        self._pings = pings
        self._ping_due = pings
        self._renewal_due = False
        self._waking = False
        """Whether the next pong answers a ping that is not measured."""
        self._waiter: asyncio.Future[None] | None = None
        self._idle = asyncio.Event()
        self._reason: CloseReason | None = None
        self._closing: asyncio.Task[None] | None = None
        prefer_latency(socket)

    @property
    def heard_at(self) -> float:
        """When anything came from the other side last, on the connection's clock."""
        return self._heard_at

    @property
    def dialed(self) -> bool:
        """Whether this side opened it."""
        return self._pings

    async def run(self, on_frame: FrameHandler, sources: Sequence[FrameSource] = ()) -> CloseReason:
        """Read and write until the connection closes. `on_frame` gets every frame but pings and pongs.

        The writer takes frames from `sources`, each in turn; call `wake` after putting something in. Cancelling closes
        the socket as well.
        """
        self._sources = sources
        self._running[self] = None
        writer = asyncio.create_task(self._write_all(), name=f"write-{self.remote.name}")
        try:
            return await self._read_all(on_frame)
        finally:
            self._running.pop(self, None)
            writer.cancel()
            if self._closing is not None:
                await self._closing
            elif not self._socket.closed:
                await self._close(CloseCode.SHUTTING_DOWN, "cancelled")
            await asyncio.gather(writer, return_exceptions=True)
            self._idle.set()

    def limit_to(self, sources: Sequence[FrameSource]) -> None:
        """Take frames from `sources` only, from the next frame on."""
        self._sources = sources

    async def write(self, frame: bytes, *, messages: int = 0) -> None:
        """Write one frame; waits while the peer does not take more. Raises `OSError` when the socket is gone."""
        await self._socket.send_bytes(frame)
        self.traffic.sent(messages, len(frame))

    def wake(self) -> None:
        """Make the writer poll its sources in the next turn of the loop."""
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            self._idle.clear()
            if not waiter.done():
                waiter.set_result(None)

    def beat(self, now: float, *, late: bool) -> None:
        """Ping, if this side does, and close when the peer has been silent; called every `ping_interval_s`.

        `late` means that this loop was stalled: what the peer sent meanwhile is unread in the socket.
        """
        if late:
            self._heard_at = now
        if now - self._heard_at > self._settings.silence_max_s:
            self.end(CloseCode.SILENT, f"nothing heard for {self._settings.silence_max_s:g} s")
            return
        if self._pings:
            self._ping_due = True
            self.wake()

    def ask_to_renew(self) -> None:
        """Ask the dialer of this accepted connection to replace it."""
        self._renewal_due = True
        self.wake()

    def end(self, code: CloseCode, detail: str) -> None:
        """Begin to close, without waiting; the first reason given counts."""
        if self._closing is None and self._reason is None:
            self._closing = asyncio.create_task(self._close(code, detail), name=f"close-{self.remote.name}")

    async def flushed(self) -> None:
        """Return when everything queued is written or lost; bound the wait, a stalled peer makes it endless."""
        await self._idle.wait()

    async def _read_all(self, on_frame: FrameHandler) -> CloseReason:
        try:
            while True:
                message = await self._socket.receive()
                if message.type is not WSMsgType.BINARY:
                    return self._stopped(message.type, message.data, message.extra)
                self._heard_at = self.traffic.heard_at = self._clock()
                frame = decode_frame(message.data)
                messages = 0
                if frame.kind is FrameKind.PING:
                    await self.write(encode_frame(FrameKind.PONG, frame.payload))
                elif frame.kind is FrameKind.PONG:
                    await self._pong(frame.payload)
                else:
                    messages = on_frame(frame)
                self.traffic.received(messages, len(message.data))
        except FrameRejected as error:
            return await self._end_now(CloseCode.PROTOCOL, str(error))
        except Refused as error:
            return await self._end_now(error.code, error.detail)
        except (OSError, ClientError) as error:
            return self._ended(CloseReason(None, f"connection lost ({error})", by_peer=True))
        except MemoryError as error:
            end_without_memory("connection", error)
        except Exception:
            # A bug in a handler must neither look like a network fault nor stop the other connections.
            log.exception("peer.failed", peer=self.remote.name, node_id=f"{self.remote.node_id:016x}")
            return await self._end_now(CloseCode.INTERNAL, "internal error")

    async def _ping(self) -> None:
        await self.write(encode_frame(FrameKind.PING, _STAMP.pack(round(self._clock() * 1e9))))

    async def _pong(self, payload: memoryview) -> None:
        """Ping once more after the first pong, and measure that: the first includes waking two idle processes."""
        if len(payload) != _STAMP.size:
            raise Refused(CloseCode.PROTOCOL, f"pong of {len(payload)} bytes")
        elapsed_s = self._clock() - _STAMP.unpack(payload)[0] / 1e9
        # Rounding to nanoseconds may make the shortest round trip slightly negative.
        if not -1e-6 <= elapsed_s <= self._clock() - self.opened_at + 1:
            raise Refused(CloseCode.PROTOCOL, "pong for a ping that was not sent")
        if self._waking:
            self._waking = False
            await self._ping()
        else:
            self.traffic.round_trip(max(elapsed_s, 0.0))

    def _stopped(self, kind: WSMsgType, data: object, extra: object) -> CloseReason:
        """Return why it closed, from what came in place of a frame. Raises `Refused` for a WebSocket text."""
        if kind is WSMsgType.CLOSE and isinstance(data, int):
            return self._ended(CloseReason(data, extra if isinstance(extra, str) else "", by_peer=True))
        if isinstance(data, WebSocketError):
            # Longer than any frame, or broken WebSocket framing; aiohttp has closed it with its own code.
            return self._ended(CloseReason(CloseCode.PROTOCOL, str(data), by_peer=False))
        if kind is WSMsgType.TEXT:
            raise Refused(CloseCode.PROTOCOL, "a WebSocket text message")
        return self._ended(CloseReason(None, "connection lost", by_peer=True))

    def _ended(self, reason: CloseReason) -> CloseReason:
        """Keep the first reason: a close by this side ends with an end of stream."""
        if self._reason is None:
            self._reason = reason
        return self._reason

    async def _end_now(self, code: CloseCode, detail: str) -> CloseReason:
        reason = self._ended(CloseReason(code, detail, by_peer=False))
        await self._close(code, detail)
        return reason

    async def _close(self, code: CloseCode, detail: str) -> None:
        self._ended(CloseReason(code, detail, by_peer=False))
        await close_socket(self._socket, code, detail, self._settings.close_timeout_s)

    async def _write_all(self) -> None:
        try:
            while True:
                # Pings first: behind a long queue they would measure the queue, and a busy peer would look dead.
                if self._ping_due:
                    self._ping_due = False
                    self._waking = True
                    await self._ping()
                if self._renewal_due:
                    self._renewal_due = False
                    await self.write(encode_frame(FrameKind.RENEW))
                if not await self._write_some():
                    self._waiter = asyncio.get_running_loop().create_future()
                    self._idle.set()
                    await self._waiter
        except (OSError, ClientError):
            # The reader sees the same broken socket, reports it and cancels this task.
            return

    async def _write_some(self) -> bool:
        """Write one frame of each source and return whether there was any."""
        wrote = False
        for source in self._sources:
            batch = source.take(self._settings.frame_bytes_target)
            if batch is not None:
                wrote = True
                await self.write(batch.frame, messages=batch.messages)
        return wrote


def prefer_latency(socket: WebSocket) -> None:
    """Keep little in the kernel's send buffer, where no ping or heartbeat could overtake it (Linux, macOS)."""
    raw = socket.get_extra_info("socket")
    if raw is not None and hasattr(sockets, "TCP_NOTSENT_LOWAT"):
        raw.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)
