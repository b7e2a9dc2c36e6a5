"""The two ends of a TCP connection in memory, as asyncio transports, and the pipes between them.

What a protocol writes goes to its kernel's buffer, of bounded size, and from there, segment after segment, to the
other kernel, where it waits until the other protocol reads. What does not fit stays with the transport, which tells
its protocol to pause, as asyncio's own do.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, cast

from collectionstore_node.tests.simulation.process import Process

if TYPE_CHECKING:
    from collectionstore_node.tests.simulation.network import Link, Network

HIGH_WATER_BYTES: Final = 64 << 10
LOW_WATER_BYTES: Final = 16 << 10
FIN: Final = b""


class Pipe:
    """One direction of a connection. Segments arrive in order, one timer at a time."""

    __slots__ = ("arriving", "into", "last_at", "link", "out_of", "room", "segments", "size")

    def __init__(self, link: Link, out_of: Stream, into: Stream, room: int) -> None:
        self.link = link
        self.out_of = out_of
        self.into = into
        self.room = room
        """Bytes that fit between the writing protocol and the reading one."""
        self.size = 0
        self.segments: deque[tuple[float, bytes]] = deque()
        """What is on its way, with the moment at which it is due."""
        self.arriving: asyncio.TimerHandle | None = None
        self.last_at = 0.0

    def clear(self) -> None:
        """Forget what is on its way."""
        self.segments.clear()
        self.size = 0
        if self.arriving is not None:
            self.arriving.cancel()
            self.arriving = None


class Stream(asyncio.Transport):
    """One end of a connection; belongs to a process, whose code is called in that process's context."""

    def __init__(
        self, network: Network, number: int, host: str, process: Process | None, extra: dict[str, object]
    ) -> None:
        super().__init__(extra)
        self.network = network
        self.host = host
        self.number = number
        """Of the connection, in order of making; both ends have it."""
        self.process = process
        self.context = process.context if process is not None else network.context
        self.outgoing: Pipe
        self.other: Stream
        self._protocol: asyncio.Protocol | asyncio.BufferedProtocol | None = None
        self._buffer: deque[bytes] = deque()
        self._buffered = 0
        self._high = HIGH_WATER_BYTES
        self._low = LOW_WATER_BYTES
        self._writing_paused = False
        self._reading = True
        self._arrived: deque[bytes] = deque()
        self._closing = False
        self.fin_sent = False
        self.dead = False
        """Nothing of this end reaches anybody any more: it was closed for good, or its process is gone."""

    def begin(self, protocol: asyncio.BaseProtocol) -> None:
        """Tell the protocol, in its process's context, that it is connected. Raises `OSError` if it was lost."""
        if self.dead:
            raise ConnectionResetError(104, "Connection reset by peer")
        self._protocol = cast("asyncio.Protocol | asyncio.BufferedProtocol", protocol)
        self._protocol.connection_made(self)
        self._read_on()

    @property
    def protocol(self) -> asyncio.Protocol | asyncio.BufferedProtocol:
        """The protocol of a connection that has begun."""
        if self._protocol is None:
            raise RuntimeError("the connection has not begun")
        return self._protocol

    # What the protocol calls

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        """Send; keeps what the kernel does not take."""
        if not data or self._closing or self.dead:
            return
        self._buffer.append(bytes(data))
        self._buffered += len(data)
        self.flush()
        if self._buffered > self._high and not self._writing_paused:
            self._writing_paused = True
            self.protocol.pause_writing()

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview[Any]]) -> None:
        """Send all of it as one."""
        self.write(b"".join(list_of_data))

    def close(self) -> None:
        """Send what is buffered, then the end of the stream."""
        if self._closing:
            return
        self._closing = True
        if not self._buffer:
            self._finish()

    def abort(self) -> None:
        """Reset the connection."""
        self._closing = True
        if not self.dead:
            self.network.send_reset(self)
            self.lost(None)

    def is_closing(self) -> bool:
        """Whether it is closed or about to be."""
        return self._closing or self.dead

    def pause_reading(self) -> None:
        """Leave what arrives in the kernel."""
        self._reading = False

    def resume_reading(self) -> None:
        """Read on."""
        if not self._reading:
            self._reading = True
            self.network.loop.call_soon(self._read_on, context=self.context)

    def is_reading(self) -> bool:
        """Whether what arrives is read."""
        return self._reading and not self._closing

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand what comes to another protocol."""
        self._protocol = cast("asyncio.Protocol | asyncio.BufferedProtocol", protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol."""
        return self.protocol

    def get_write_buffer_size(self) -> int:
        """Return the bytes that the kernel has not taken."""
        return self._buffered

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return the low and the high water mark."""
        return self._low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set when writing is paused and resumed."""
        self._high = high if high is not None else (4 * low if low is not None else HIGH_WATER_BYTES)
        self._low = low if low is not None else self._high // 4

    def can_write_eof(self) -> bool:
        """Return False: half-closed connections are not simulated, and not used here."""
        return False

    # What the network calls

    def flush(self) -> None:
        """Hand the kernel what it takes."""
        pipe = self.outgoing
        while self._buffer and pipe.size < pipe.room:
            data = self._buffer.popleft()
            fits = pipe.room - pipe.size
            if len(data) > fits:
                self._buffer.appendleft(data[fits:])
                data = data[:fits]
            self._buffered -= len(data)
            pipe.size += len(data)
            self.network.transmit(pipe, data)

    def drained(self) -> None:
        """The kernel has room again; in this end's context."""
        if self.dead:
            return
        self.flush()
        if self._writing_paused and self._buffered <= self._low:
            self._writing_paused = False
            self.protocol.resume_writing()
        if self._closing and not self._buffer and not self.fin_sent:
            self._finish()

    def arrive(self, data: bytes) -> None:
        """Take a segment from the wire; in this end's context."""
        self._arrived.append(data)
        self._read_on()

    def lost(self, error: Exception | None) -> None:
        """End this side: nothing is sent or read any more, and the protocol is notified in the next iteration."""
        if self.dead:
            return
        self.dead = self._closing = True
        self._buffer.clear()
        self._buffered = 0
        self._arrived.clear()
        self.network.forget(self)
        if self._protocol is not None:
            self.network.loop.call_soon(self._protocol.connection_lost, error, context=self.context)

    def _finish(self) -> None:
        """Send the end of the stream. The kernel sees to the rest, the protocol is done."""
        self.fin_sent = True
        self.network.transmit(self.outgoing, FIN)
        self.network.loop.call_soon(self._closed, context=self.context)

    def _closed(self) -> None:
        if not self.dead:
            self.dead = True
            self._arrived.clear()
            self.network.forget(self)
            self.protocol.connection_lost(None)

    def _read_on(self) -> None:
        while self._protocol is not None and self._arrived and self._reading and not self._closing:
            data = self._arrived.popleft()
            if data is FIN:
                if not self.protocol.eof_received():
                    self.close()
                return
            protocol = self.protocol
            if isinstance(protocol, asyncio.BufferedProtocol):
                data, rest = _fill(protocol, data)
                if rest:
                    self._arrived.appendleft(rest)
                self.network.taken(self.other.outgoing, len(data))
                protocol.buffer_updated(len(data))
            else:
                self.network.taken(self.other.outgoing, len(data))
                protocol.data_received(data)


def _fill(protocol: asyncio.BufferedProtocol, data: bytes) -> tuple[bytes, bytes]:
    """Put into the protocol's buffer what fits, and return that and the rest."""
    buffer = memoryview(protocol.get_buffer(len(data)))
    size = min(len(buffer), len(data))
    buffer[:size] = data[:size]
    return data[:size], data[size:]
