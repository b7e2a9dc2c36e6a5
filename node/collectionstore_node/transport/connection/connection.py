"""One authenticated connection between two nodes, dialed or accepted: what is sent when, pings, silence, closing.

What is queued in one turn of the event loop leaves in the next, by one plain callback, or at once where its sender says
that this was all (`flush`): no task, no future, one frame per source, all frames with one write where the channel can.
The channel carries them (`channel`).

Invariants:
- frames are handed on in the order received, by a plain call: backpressure is the socket's, not a queue's;
- a ping is written before anything that is still queued, so that a long queue does not look like a dead peer;
- while the channel is not writable nothing is taken from the sources, and no more than one pong is owed;
- `run` returns why the connection closed and never raises for a broken socket or a misbehaving peer.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import structlog

from collectionstore_node.lifecycle import end_without_memory
from collectionstore_node.raft.messages import NodeId
from collectionstore_node.transport.connection.channel import Channel
from collectionstore_node.transport.connection.close_reason import CloseReason
from collectionstore_node.transport.connection.local_node import LocalNode
from collectionstore_node.transport.settings import TransportSettings
from collectionstore_node.transport.traffic import Traffic
from collectionstore_node.transport.wire.close_codes import CloseCode, Refused
from collectionstore_node.transport.wire.frames import (
    HEADER_BYTES,
    Frame,
    FrameKind,
    FrameRejected,
    Parts,
    encode_parts,
)
from collectionstore_node.transport.wire.handshake import Purpose
from collectionstore_node.transport.wire.send_queue import FrameSource

log = structlog.get_logger()

FrameHandler: TypeAlias = Callable[[Frame], int]
"""Takes a frame, whose payload is valid during the call, and returns how many Raft messages were in it.

Raises `Refused` to end the connection.
"""

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
        channel: Channel,
        remote: Remote,
        *,
        pings: bool,
    ) -> None:
        """With `pings` this side pings and measures: the dialer does, since what it sends is what is measured.

        The other side detects by the pings that the dialer is alive.
        """
        self.remote = remote
        self.traffic = context.traffic_of(remote.name)
        self.opened_at = context.clock()
        self.channel = channel
        self._clock = context.clock
        self._loop = asyncio.get_running_loop()
        self._sources: Sequence[FrameSource] = ()
        self._handler: FrameHandler = _refuse_all
        self._settings = context.settings
        self._running = context.running
        self._heard_at = self._taken_at = self.opened_at
        self._pings = pings
        self._ping_due = pings
        self._pong_due: bytes | None = None
        self._renewal_due = False
        self._waking = False
        """Whether the next pong answers a ping that is not measured."""
        self._flushing = False
        """Whether `_flush_woken` is called in the next turn."""
        self._idle = asyncio.Event()
        self._drained: asyncio.Future[None] | None = None
        self._open = False
        """Whether `run` is running."""
        self._gone = False
        """Whether `run` has returned."""
        self._reason: CloseReason | None = None

    @property
    def heard_at(self) -> float:
        """When anything came from the other side last, on the connection's clock."""
        return self._heard_at

    @property
    def dialed(self) -> bool:
        """Whether this side opened it."""
        return self._pings

    async def run(self, on_frame: FrameHandler, sources: Sequence[FrameSource] = ()) -> CloseReason:
        """Send and receive until the connection closes. `on_frame` gets every frame but pings and pongs.

        Frames are taken from `sources`, each in turn; call `wake` after putting something in. Cancelling closes the
        channel as well.
        """
        self._handler = on_frame
        self._sources = sources
        self._running[self] = None
        self._open = True
        self.wake()
        try:
            return self._ended(await self.channel.run(self))
        except MemoryError as error:
            end_without_memory("connection", error)
        except Exception:
            self._failed()
            return self._ended(CloseReason(CloseCode.INTERNAL, "internal error", by_peer=False))
        finally:
            self._open = False
            self._gone = True
            self._running.pop(self, None)
            self._idle.set()
            if self._drained is not None and not self._drained.done():
                self._drained.set_result(None)

    def limit_to(self, sources: Sequence[FrameSource]) -> None:
        """Take frames from `sources` only, from the next frame on."""
        self._sources = sources
        self.wake()

    async def write(self, frame: bytes, *, messages: int = 0) -> None:
        """Write one frame; waits while the peer does not take more. Raises `OSError` when the connection is gone."""
        self._check_open()
        while not self.channel.writable:
            await self._until_writable()
        self.channel.write(((frame,),))
        self.traffic.sent(messages, len(frame))
        if not self.channel.writable:
            await self._until_writable()

    def wake(self) -> None:
        """Poll the sources in the next turn of the loop."""
        if not self._flushing:
            self._flushing = True
            self._idle.clear()
            self._loop.call_soon(self._flush_woken)

    def flush(self) -> None:
        """Write now what `wake` would write in the next turn."""
        if self._open:
            self._idle.clear()
            self._flush()

    def beat(self, now: float, *, late: bool) -> None:
        """Ping, if this side does, and close when the peer has been silent; called every `ping_interval_s`.

        `late` means that this loop was stalled: what the peer sent meanwhile is unread in the socket. A peer that takes
        a long frame piece by piece is not silent: neither side can say anything behind it, and the accepted side reads
        nothing meanwhile.
        """
        if late:
            self._heard_at = now
        if now - max(self._heard_at, self._taken_at) > self._settings.silence_max_s:
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
        if self._reason is None:
            self._reason = CloseReason(code, detail, by_peer=False)
            self.channel.close(code, detail)

    async def flushed(self) -> None:
        """Return when everything queued is written or lost; bound the wait, a stalled peer makes it endless."""
        await self._idle.wait()

    # What the channel calls

    def heard(self) -> None:
        """Note that the other side is alive."""
        self._heard_at = self.traffic.heard_at = self._clock()

    def taken(self) -> None:
        """Note that the other side takes what is being sent."""
        self._taken_at = self._clock()

    def on_writable(self) -> None:
        """Go on with what waited for the channel."""
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self.wake()

    def on_frame(self, frame: Frame) -> None:
        """Handle a frame, or end the connection that it came by."""
        if self._reason is not None:
            return
        try:
            if frame.kind is FrameKind.PING:
                self._pinged(frame.payload)
                messages = 0
            elif frame.kind is FrameKind.PONG:
                self._pong(frame.payload)
                messages = 0
            else:
                messages = self._handler(frame)
            self.traffic.received(messages, HEADER_BYTES + len(frame.payload))
        except FrameRejected as error:
            self.end(CloseCode.PROTOCOL, str(error))
        except Refused as error:
            self.end(error.code, error.detail)
        except MemoryError as error:
            end_without_memory("connection", error)
        except Exception:
            self._failed()

    # Sending

    def _flush_woken(self) -> None:
        self._flushing = False
        self._flush()

    def _flush(self) -> None:
        """Write one frame of each source; the rest follows in the next turn, so that others have theirs."""
        if not self._open or self._reason is not None or not self.channel.writable:
            return
        try:
            self._write_some()
        except MemoryError as error:
            end_without_memory("connection", error)
        except Exception:
            self._failed()

    def _write_some(self) -> None:
        frames = self._control_frames()
        messages, bytes_target = 0, self._settings.frame_bytes_target
        waiting = False
        for source in self._sources:
            batch = source.take(bytes_target)
            if batch is not None:
                frames.append(batch.frame)
                messages += batch.messages
                waiting = waiting or source.waiting
        if frames:
            self.channel.write(frames)
            self.traffic.sent(messages, sum([len(part) for frame in frames for part in frame]))
        if waiting:
            self.wake()
        elif self.channel.writable:
            self._idle.set()

    def _control_frames(self) -> list[Parts]:
        """Return what leaves before anything queued, behind which a ping would measure the queue."""
        frames: list[Parts] = []
        if self._pong_due is not None:
            frames.append(encode_parts(FrameKind.PONG, self._pong_due))
            self._pong_due = None
        if self._ping_due:
            self._ping_due = False
            self._waking = True
            frames.append(self._ping())
        if self._renewal_due:
            self._renewal_due = False
            frames.append(encode_parts(FrameKind.RENEW))
        return frames

    def _ping(self) -> Parts:
        return encode_parts(FrameKind.PING, _STAMP.pack(round(self._clock() * 1e9)))

    def _pinged(self, payload: memoryview) -> None:
        if len(payload) != _STAMP.size:
            raise Refused(CloseCode.PROTOCOL, f"ping of {len(payload)} bytes")
        self._pong_due = bytes(payload)
        self.wake()

    def _pong(self, payload: memoryview) -> None:
        """Ping once more after the first pong, and measure that: the first includes waking two idle processes."""
        if len(payload) != _STAMP.size:
            raise Refused(CloseCode.PROTOCOL, f"pong of {len(payload)} bytes")
        elapsed_s = self._clock() - _STAMP.unpack(payload)[0] / 1e9
        # Rounding to nanoseconds may make the shortest round trip slightly negative.
        if not -1e-6 <= elapsed_s <= self._clock() - self.opened_at + 1:
            raise Refused(CloseCode.PROTOCOL, "pong for a ping that was not sent")
        if not self._waking:
            self.traffic.round_trip(max(elapsed_s, 0.0))
            return
        self._waking = False
        if self.channel.writable:
            self.channel.write((self._ping(),))
            self.traffic.sent(0, HEADER_BYTES + _STAMP.size)

    async def _until_writable(self) -> None:
        if self._drained is None or self._drained.done():
            self._drained = self._loop.create_future()
        await asyncio.shield(self._drained)
        self._check_open()

    def _check_open(self) -> None:
        if self._gone or self._reason is not None:
            raise ConnectionResetError("connection lost")

    def _failed(self) -> None:
        """End for a bug, which must neither look like a network fault nor stop the other connections."""
        log.exception("peer.failed", peer=self.remote.name, node_id=f"{self.remote.node_id:016x}")
        self.end(CloseCode.INTERNAL, "internal error")

    def _ended(self, reason: CloseReason) -> CloseReason:
        """Keep the first reason: a close by this side ends with an end of stream."""
        if self._reason is None:
            self._reason = reason
        return self._reason


def _refuse_all(frame: Frame) -> int:
    raise Refused(CloseCode.PROTOCOL, f"{frame.kind.name.lower()} before the connection runs")
