"""One authenticated WebSocket between two nodes, dialled or accepted: reading, writing, pings, silence, closing.

Two tasks per connection: the reader is whoever awaits `run`, the writer empties the frame sources. Nothing here
creates a task per message or per frame.

Invariants:
- frames are handed on in the order received, by a plain call: backpressure is the socket's, not a queue's;
- a ping is written before anything that is still queued, so that a long queue does not look like a dead peer;
- `run` returns how the connection ended and never raises for a broken socket or a misbehaving peer.
"""

from __future__ import annotations

import asyncio
import socket as sockets
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import structlog
from aiohttp import ClientError, ClientWebSocketResponse, WSMsgType
from aiohttp.web import WebSocketResponse

from collectionstore_node.raft.messages import NodeId
from collectionstore_node.transport.frames import (
    HEADER_BYTES,
    PAYLOAD_BYTES_MAX,
    Frame,
    FrameKind,
    FrameRejected,
    decode_frame,
    encode_frame,
)
from collectionstore_node.transport.hello import CloseCode, Purpose, Refused
from collectionstore_node.transport.lanes import FrameSource
from collectionstore_node.transport.ports import TransportSettings
from collectionstore_node.transport.traffic import Traffic

log = structlog.get_logger()

FrameHandler: TypeAlias = Callable[[Frame], int]
"""Takes a frame and returns how many Raft messages were in it; raises `Refused` to end the connection."""
WebSocket: TypeAlias = ClientWebSocketResponse[Any] | WebSocketResponse[Any]

WEBSOCKET_BYTES_MAX: Final = PAYLOAD_BYTES_MAX + HEADER_BYTES
_UNSENT_BYTES: Final = 256 << 10
"""What the kernel may buffer unsent: what lies there can no longer be overtaken by a ping."""
_CLOSE_TEXT_BYTES_MAX: Final = 120
_STAMP = struct.Struct(">Q")


@dataclass(frozen=True, slots=True)
class Remote:
    """Who is on the other end, as checked in the greeting."""

    node_id: NodeId
    name: str
    address: str
    purpose: Purpose


@dataclass(frozen=True, slots=True)
class Ending:
    """How a connection ended. `code` is None when the socket broke without a word."""

    code: int | None
    detail: str
    by_peer: bool

    @property
    def orderly(self) -> bool:
        """Whether it ended as part of normal operation."""
        return self.code in (CloseCode.DONE, CloseCode.SHUTTING_DOWN, CloseCode.ROTATED, CloseCode.SUPERSEDED)

    def __str__(self) -> str:
        if self.code is None:
            return self.detail
        return f"{code_name(self.code)}: {self.detail}" if self.detail else code_name(self.code)


def code_name(code: int) -> str:
    """Return a close code as it is logged and counted."""
    try:
        return CloseCode(code).name.lower()
    except ValueError:
        return f"websocket_{code}"


def ending_of(task: asyncio.Task[Ending]) -> Ending:
    """Return how a finished `Connection.run` ended, also when its task was cancelled."""
    return Ending(None, "cancelled", by_peer=False) if task.cancelled() else task.result()


class Connection:
    """A connection after its greeting."""

    def __init__(
        self,
        socket: WebSocket,
        remote: Remote,
        traffic: Traffic,
        settings: TransportSettings,
        registry: set[Connection],
        *,
        pings: bool,
    ) -> None:
        """`registry` holds the connections that are running; whoever keeps it calls `beat` on all of them.

        With `pings` this side pings and measures: the dialer's, since what it sends is what is measured. The other
        side hears the pings.
        """
        self.remote = remote
        self.traffic = traffic
        self.opened_at = time.monotonic()
        self.sources: Sequence[FrameSource] = ()
        """Emptied by the writer, each in turn; call `wake` after putting something in."""
        self._socket = socket
        self._settings = settings
        self._registry = registry
        self._heard_at = self.opened_at
        self._pings = pings
        self._ping_due = pings
        self._waking = False
        """Whether the next pong answers a ping that is not measured."""
        self._waiter: asyncio.Future[None] | None = None
        self._idle = asyncio.Event()
        self._ending: Ending | None = None
        self._closing: asyncio.Task[None] | None = None
        prefer_latency(socket)

    async def run(self, on_frame: FrameHandler) -> Ending:
        """Read and write until the end. `on_frame` gets every frame but pings and pongs.

        Cancelling closes the socket as well.
        """
        self._registry.add(self)
        writer = asyncio.create_task(self._write_all(), name=f"write-{self.remote.name}")
        try:
            return await self._read_all(on_frame)
        finally:
            self._registry.discard(self)
            writer.cancel()
            self.end(CloseCode.SHUTTING_DOWN, "cancelled")
            if self._closing is not None:
                await self._closing
            await asyncio.gather(writer, return_exceptions=True)
            self._idle.set()

    async def write(self, frame: bytes, *, messages: int = 0) -> None:
        """Write one frame; waits while the peer does not take more. Raises `OSError` when the socket is gone."""
        await self._socket.send_bytes(frame)
        self.traffic.sent(messages, len(frame))

    def wake(self) -> None:
        """Let the writer look at its sources again, in the next turn of the loop."""
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            self._idle.clear()
            if not waiter.done():
                waiter.set_result(None)

    def beat(self, now: float, *, late: bool) -> None:
        """Ping, if that is this side's part, and close when the peer has been silent; called every `ping_interval_s`.

        `late` says that this loop itself was stalled: what the peer sent meanwhile lies unread in the socket.
        """
        if late:
            self._heard_at = now
        if now - self._heard_at > self._settings.silence_max_s:
            self.end(CloseCode.SILENT, f"nothing heard for {now - self._heard_at:.1f} s")
            return
        if self._pings:
            self._ping_due = True
            self.wake()

    def end(self, code: CloseCode, detail: str) -> None:
        """Close from anywhere, without waiting; the first reason given is the one that counts."""
        if self._closing is None and self._ending is None:
            self._closing = asyncio.create_task(self._close(code, detail), name=f"close-{self.remote.name}")

    async def flushed(self) -> None:
        """Return when all that was queued is written or lost; bound the wait, a stuck peer makes it endless."""
        await self._idle.wait()

    async def _read_all(self, on_frame: FrameHandler) -> Ending:
        try:
            while True:
                message = await self._socket.receive()
                if message.type is not WSMsgType.BINARY:
                    return self._ended(message.type, message.data, message.extra)
                self._heard_at = self.traffic.heard_at = time.monotonic()
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
            return self._ended(WSMsgType.ERROR, error, None)
        except Exception:
            # A bug in a handler must not look like a network fault, nor take the server down.
            log.exception("peer.failed", peer=self.remote.name, node_id=f"{self.remote.node_id:016x}")
            return await self._end_now(CloseCode.INTERNAL, "internal error")

    async def _ping(self) -> None:
        await self.write(encode_frame(FrameKind.PING, _STAMP.pack(time.monotonic_ns())))

    async def _pong(self, payload: memoryview) -> None:
        """Ping once more after the first pong, and measure that: the first also woke up two idle processes."""
        if len(payload) != _STAMP.size:
            raise Refused(CloseCode.PROTOCOL, f"pong of {len(payload)} bytes")
        elapsed_s = (time.monotonic_ns() - _STAMP.unpack(payload)[0]) / 1e9
        if not 0 <= elapsed_s <= time.monotonic() - self.opened_at + 1:
            raise Refused(CloseCode.PROTOCOL, "pong for a ping that was not sent")
        if self._waking:
            self._waking = False
            await self._ping()
        else:
            self.traffic.round_trip(elapsed_s)

    def _ended(self, kind: WSMsgType, data: object, extra: object) -> Ending:
        if self._ending is None:
            if kind is WSMsgType.CLOSE and isinstance(data, int):
                self._ending = Ending(data, extra if isinstance(extra, str) else "", by_peer=True)
            elif kind in (WSMsgType.TEXT, WSMsgType.PING, WSMsgType.PONG):
                self._ending = Ending(CloseCode.PROTOCOL, f"unexpected WebSocket {kind.name}", by_peer=False)
            else:
                self._ending = Ending(None, f"connection lost ({data or 'end of stream'})", by_peer=True)
        return self._ending

    async def _end_now(self, code: CloseCode, detail: str) -> Ending:
        await self._close(code, detail)
        return self._ended(WSMsgType.CLOSED, None, None)

    async def _close(self, code: CloseCode, detail: str) -> None:
        if self._ending is None:
            self._ending = Ending(code, detail, by_peer=False)
        await close_socket(self._socket, code, detail, self._settings.close_timeout_s)

    async def _write_all(self) -> None:
        try:
            while True:
                if self._ping_due:
                    self._ping_due = False
                    self._waking = True
                    await self._ping()
                if not await self._write_some():
                    self._waiter = asyncio.get_running_loop().create_future()
                    self._idle.set()
                    await self._waiter
        except (OSError, ClientError):
            # The reader sees the same broken socket and reports it; its end cancels this task.
            return

    async def _write_some(self) -> bool:
        """Write one frame of each source and return whether there was any."""
        wrote = False
        for source in self.sources:
            batch = source.take(self._settings.frame_bytes_target)
            if batch is not None:
                wrote = True
                await self.write(batch.frame, messages=batch.messages)
        return wrote


async def close_socket(socket: WebSocket, code: CloseCode, detail: str, timeout_s: float) -> None:
    """Tell the reason and close; after `timeout_s` the socket is closed without the peer's answer."""
    text = detail.encode()[:_CLOSE_TEXT_BYTES_MAX].decode(errors="ignore").encode()
    try:
        async with asyncio.timeout(timeout_s):
            await socket.close(code=code, message=text)
    except TimeoutError:
        # The peer takes nothing more; aiohttp has closed the transport on its way out.
        return


def prefer_latency(socket: WebSocket) -> None:
    """Keep little in the kernel's send buffer, where no ping or heartbeat could overtake it (Linux, macOS)."""
    raw = socket.get_extra_info("socket")
    if raw is not None and hasattr(sockets, "TCP_NOTSENT_LOWAT"):
        raw.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)
