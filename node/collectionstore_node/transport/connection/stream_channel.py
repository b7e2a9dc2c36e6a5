"""Frames one after the other on a TLS connection that began as a WebSocket: no task, no future and no copy per frame.

What the WebSocket gave and is kept: the opening handshake, with hello and welcome as its messages; a close frame with a
code and a text, which the other side answers by closing; a longest message, checked before it is received. What is left
out: masks, fragments, text messages, compression, and its own pings, which frames of this protocol are for.

Invariants:
- frames are handed on in the order received, by a plain call from the socket's callback, at most WINDOW_BYTES of them
  before the event loop serves others;
- the accepted side writes nothing before the dialer's STREAM (`wire.handshake`), and reads nothing while the other side
  does not take its answers, so that a peer that only sends is held back by TCP;
- no more than TURN_BYTES_MAX, and one joined piece, are encrypted in one turn;
- whatever happens, `run` returns at most `close_timeout_s` after the channel began to close.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final

from collectionstore_node.transport.connection.channel import Receiver, prefer_latency
from collectionstore_node.transport.connection.close_reason import CloseReason
from collectionstore_node.transport.wire.close_codes import CloseCode, Refused, decode_close, encode_close
from collectionstore_node.transport.wire.frames import Frame, FrameKind, FrameRejected, Parts, encode_frame
from collectionstore_node.transport.wire.stream_parser import WINDOW_BYTES, StreamParser

WRITE_BYTES_HIGH: Final = 256 << 10
WRITE_BYTES_LOW: Final = 64 << 10
"""The transport keeps up to WRITE_BYTES_HIGH, and one write more, of what the peer does not take, and takes more again
when WRITE_BYTES_LOW are left."""
JOIN_BYTES_MAX: Final = 64 << 10
"""Shorter parts are joined: copying them costs less than a TLS record of its own for each."""
TURN_BYTES_MAX: Final = 256 << 10
"""Encrypted in one turn of the event loop: a frame may have 32 MiB, and others have their turn in between."""


class StreamChannel(asyncio.BufferedProtocol):
    """A `Channel`, and the protocol of the transport that it takes over with `attach`."""

    def __init__(self, *, dialed: bool, close_timeout_s: float) -> None:
        self._dialed = dialed
        self._close_timeout_s = close_timeout_s
        self._loop = asyncio.get_running_loop()
        self._parser = StreamParser()
        self._transport: asyncio.Transport
        self._receiver: Receiver | None = None
        self._agreed = False
        """Whether STREAM was sent or received: both sides have left the WebSocket."""
        self._paused = False
        self._closing: tuple[CloseCode, str] | None = None
        """Why this side closes, kept until it may write."""
        self._reason: CloseReason | None = None
        self._lost: asyncio.Future[None] = self._loop.create_future()
        self._abort: asyncio.TimerHandle | None = None
        self._backlog: deque[bytes | memoryview] = deque()
        """Pieces of long frames that were not given to the transport yet."""
        self._going_on = False
        """Whether the next of them are written in the next turn."""
        self._void: bytearray | None = None
        """Where bytes go that are not looked at any more."""

    def attach(self, transport: asyncio.Transport) -> None:
        """Take over `transport`; what comes waits for `run`. Raises `OSError` when it is closed."""
        if transport.is_closing():
            raise ConnectionResetError("connection lost")
        # BEFORE anything else may be received: the protocol before would take it for its own.
        transport.pause_reading()
        transport.set_protocol(self)
        transport.set_write_buffer_limits(high=WRITE_BYTES_HIGH, low=WRITE_BYTES_LOW)
        prefer_latency(transport)
        self._transport = transport

    # The channel

    @property
    def writable(self) -> bool:
        """Whether the other side takes more."""
        return self._agreed and not self._paused and not self._backlog

    def write(self, frames: Sequence[Parts]) -> None:
        """Send frames with one write; large ones piece by piece, in this turn of the loop and the next ones."""
        if self._closing is not None or self._transport.is_closing():
            return
        parts = [part for frame in frames for part in frame]
        if not self._backlog and not self._paused and sum(map(len, parts)) <= JOIN_BYTES_MAX:
            self._transport.write(b"".join(parts))
            return
        self._backlog.extend(_pieces(parts))
        if not self._going_on:
            self._write_backlog()

    def _write_backlog(self) -> None:
        """Encrypt and send TURN_BYTES_MAX; more follows in the next turn, or when the other side takes it."""
        backlog, transport = self._backlog, self._transport
        self._going_on = False
        if transport.is_closing():
            backlog.clear()
            return
        written = 0
        while backlog and not self._paused and written < TURN_BYTES_MAX:
            piece = backlog.popleft()
            written += len(piece)
            transport.write(piece)
        if self._paused or self._receiver is None:
            return
        self._receiver.taken()
        if backlog:
            self._going_on = True
            self._loop.call_soon(self._write_backlog)
        elif self._agreed and self._closing is None:
            self._receiver.on_writable()

    def close(self, code: CloseCode, detail: str) -> None:
        """Begin to close with a CLOSE frame, behind what was written."""
        if self._closing is not None or self._lost.done():
            return
        self._closing = code, detail
        self._abort_later()
        # The answer to the close frame must be read, also by a side that was held back.
        self._transport.resume_reading()
        if self._agreed:
            self._write_close(code, detail)

    def _write_close(self, code: CloseCode, detail: str) -> None:
        frame = encode_close(code, detail)
        if self._backlog:
            # Behind the rest of a frame, or it would be taken for a part of that.
            self._backlog.append(frame)
        else:
            self._transport.write(frame)

    async def run(self, receiver: Receiver) -> CloseReason:
        """Deliver frames until the transport is closed."""
        self._receiver = receiver
        try:
            if not self._lost.done():
                if self._dialed:
                    self._transport.write(encode_frame(FrameKind.STREAM))
                    self._agree()
                self._transport.resume_reading()
                # Not the future itself: cancelling this task must not cancel that.
                await asyncio.wait((self._lost,))
        finally:
            if not self._lost.done():
                self.close(CloseCode.SHUTTING_DOWN, "cancelled")
                await asyncio.wait((self._lost,))
        return self._reason or CloseReason(None, "connection lost", by_peer=True)

    # What the transport calls

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where to receive to."""
        return self._parser.buffer() if self._void is None else memoryview(self._void)

    def buffer_updated(self, nbytes: int) -> None:
        """Hand on the frames that are complete."""
        parser, receiver = self._parser, self._receiver
        if receiver is None:
            raise RuntimeError("received before `run`")
        if self._void is not None:
            return
        parser.received(nbytes)
        receiver.heard()
        try:
            while (frame := parser.next()) is not None:
                self._take(frame, receiver)
        except FrameRejected as error:
            self._refuse(CloseCode.PROTOCOL, str(error))
        except Refused as error:
            self._refuse(error.code, error.detail)

    def eof_received(self) -> None:
        """Close: nothing can be answered any more."""

    def connection_lost(self, exc: Exception | None) -> None:
        """End `run`."""
        if self._abort is not None:
            self._abort.cancel()
        self._backlog.clear()
        if exc is not None:
            self._ended(CloseReason(None, f"connection lost ({exc})", by_peer=True))
        if not self._lost.done():
            self._lost.set_result(None)

    def pause_writing(self) -> None:
        """Stop: the other side does not take more."""
        self._paused = True
        if not self._dialed and self._closing is None:
            # Only this side: if both did it, each would wait for the other.
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on."""
        self._paused = False
        if not self._dialed:
            self._transport.resume_reading()
        if self._receiver is None or not self._agreed:
            return
        self._receiver.taken()
        if self._backlog:
            if not self._going_on:
                self._write_backlog()
        else:
            self._receiver.on_writable()

    # Frames

    def _take(self, frame: Frame, receiver: Receiver) -> None:
        if not self._agreed:
            if frame.kind is not FrameKind.STREAM or len(frame.payload):
                raise Refused(CloseCode.PROTOCOL, f"{frame.kind.name.lower()} in place of stream")
            self._agree()
        elif frame.kind is FrameKind.CLOSE:
            code, detail = decode_close(frame.payload)
            self._ended(CloseReason(code, detail, by_peer=True))
            self._abort_later()
            # Once, however often the peer says so: closed again, asyncio's transport lets go of TLS, and neither
            # `abort` nor a resumed write would work any more.
            if not self._transport.is_closing():
                self._transport.close()
        elif frame.kind is FrameKind.STREAM:
            raise Refused(CloseCode.PROTOCOL, "stream again")
        elif self._reason is None and self._closing is None:
            receiver.on_frame(frame)

    def _agree(self) -> None:
        self._agreed = True
        if self._closing is not None:
            self._write_close(*self._closing)
        elif self._receiver is not None:
            self._receiver.on_writable()

    def _refuse(self, code: CloseCode, detail: str) -> None:
        """Close for bytes that are no frame, behind which nothing can be understood any more."""
        # Read on, and look at nothing: closed with bytes unread, TCP would reset the connection, and the other side
        # might lose the reason. It closes when it reads that, or `close_timeout_s` ends.
        self._void = bytearray(WINDOW_BYTES)
        self._ended(CloseReason(code, detail, by_peer=False))
        self._agreed = True
        self.close(code, detail)

    def _ended(self, reason: CloseReason) -> None:
        if self._reason is None:
            self._reason = reason

    def _abort_later(self) -> None:
        if self._abort is None:
            self._abort = self._loop.call_later(self._close_timeout_s, self._transport.abort)


def _cut(parts: Sequence[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    for part in parts:
        if len(part) <= TURN_BYTES_MAX:
            yield part
        else:
            view = memoryview(part)
            yield from (view[begin : begin + TURN_BYTES_MAX] for begin in range(0, len(view), TURN_BYTES_MAX))


def _pieces(parts: Sequence[bytes | memoryview]) -> list[bytes | memoryview]:
    """Return `parts` with neighbours joined up to JOIN_BYTES_MAX, and longer ones cut to TURN_BYTES_MAX, not copied."""
    pieces: list[bytes | memoryview] = []
    run: list[bytes | memoryview] = []
    size = 0
    for part in _cut(parts):
        if run and size + len(part) > JOIN_BYTES_MAX:
            pieces.append(b"".join(run) if len(run) > 1 else run[0])
            run, size = [], 0
        run.append(part)
        size += len(part)
    if run:
        pieces.append(b"".join(run) if len(run) > 1 else run[0])
    return pieces
