"""One link between two members: a TCP forwarder that can drop, delay, slow, corrupt or reset.

Each connection has two streams, one per direction, and the link's fault applies to both. The fault is evaluated when
bytes are forwarded, so that one that begins or ends applies to the bytes in flight.

Invariants:
- a stream that has lost bytes never carries any again: when the fault ends, its connection is reset;
- without a fault every byte arrives, in order, and an end of stream on one side becomes one on the other;
- buffers are bounded, so that a slow link applies back-pressure.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections import deque

from collectionstore_local.faults.link_faults import LinkFault, Mode

CHUNK_BYTES = 16 << 10
BUFFER_BYTES = 64 << 10
DELAY_BUFFER_BYTES = 4 << 20
"""A delayed stream buffers what was sent during the delay."""
FLIP_EVERY_BYTES = 8 << 10
"""A corrupting stream flips one bit in this many bytes, on average."""
SLOW_CHUNK_S = 0.05
"""A slow stream forwards chunks that take this long at its rate."""
CONNECT_TIMEOUT_S = 5.0
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with a timeout of 0: a close sends a reset."""


class Corruptor:
    """Flips single bits, about one in FLIP_EVERY_BYTES."""

    def __init__(self, randomness: random.Random) -> None:
        self._random = randomness
        self._distance = self._draw()

    def apply(self, data: bytes) -> bytes:
        """Return `data` with a few bits flipped, often none."""
        if self._distance >= len(data):
            self._distance -= len(data)
            return data
        damaged = bytearray(data)
        position = self._distance
        while position < len(damaged):
            damaged[position] ^= 1 << self._random.randrange(8)
            position += 1 + self._draw()
        self._distance = position - len(damaged)
        return bytes(damaged)

    def _draw(self) -> int:
        return self._random.randrange(2 * FLIP_EVERY_BYTES)


class Link:
    """The listener of one directed pair, and its connections."""

    def __init__(self, target: tuple[str, int], randomness: random.Random) -> None:
        self.port = 0
        """Where to connect in place of the target, once started."""
        self.fault: LinkFault | None = None
        self.fault_changed = asyncio.Event()
        """Set, and replaced by a new event, whenever the fault changes."""
        self.target = target
        self.randomness = randomness
        self._connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None

    def __len__(self) -> int:
        """Return how many connections are open on both sides."""
        return sum(connection.established for connection in self._connections)

    async def start(self, host: str) -> None:
        """Listen on a free port."""
        # Small, or the kernel would buffer what a slow link holds back.
        listener = socket.create_server((host, 0), backlog=64)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        self._server = await asyncio.start_server(self._accept, sock=listener, limit=CHUNK_BYTES)
        self.port = listener.getsockname()[1]

    def set_fault(self, fault: LinkFault | None) -> None:
        """Apply this fault from now on, or none."""
        if fault == self.fault:
            return
        self.fault = fault
        self.fault_changed.set()
        self.fault_changed = asyncio.Event()
        for connection in tuple(self._connections):
            # A connection that lost bytes is reset at the end of a partition, as TCP would time out: forwarding the
            # rest would be a gap in the stream, which no network produces.
            if self.mode is Mode.RESET or (connection.damaged and self.mode is not Mode.DROP):
                connection.reset()

    @property
    def mode(self) -> Mode | None:
        return self.fault.mode if self.fault is not None else None

    def close(self) -> None:
        """Stop listening and reset every connection."""
        if self._server is not None:
            self._server.close()
        for connection in tuple(self._connections):
            connection.reset()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(self, reader, writer)
        self._connections.add(connection)
        connection.task.add_done_callback(lambda _: self._connections.discard(connection))


class _Connection:
    """One accepted connection and the one made for it."""

    def __init__(self, link: Link, reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        """Start forwarding."""
        self.established = False
        self.damaged = False
        """Whether bytes of it were dropped."""
        self._link = link
        self._reader = reader
        self._writers = [near]
        self.task = asyncio.create_task(self._run())

    def reset(self) -> None:
        """Reset both sides, without waiting."""
        self.task.cancel()

    async def _run(self) -> None:
        try:
            await self._forward()
        except* OSError:
            self._reset_sockets()  # a reset on one side becomes one on the other
        except* asyncio.CancelledError:
            self._reset_sockets()
        else:
            for writer in self._writers:
                writer.close()

    async def _forward(self) -> None:
        """Forward until both streams have ended, or one has broken."""
        near = self._writers[0]
        if self._link.mode is Mode.RESET:
            raise ConnectionResetError
        far_reader, far = None, None
        if self._link.mode is Mode.DROP:
            self.damaged = True
        else:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                far_reader, far = await asyncio.open_connection(*self._link.target, limit=CHUNK_BYTES)
            self._writers.append(far)
            self.established = True
        streams = [_Stream(self._link, self, self._reader, far)]
        if far_reader is not None:
            streams.append(_Stream(self._link, self, far_reader, near))
        # An error on either stream ends both; an orderly end of one leaves the other open.
        async with asyncio.TaskGroup() as group:
            for stream in streams:
                group.create_task(stream.run())

    def _reset_sockets(self) -> None:
        for writer in self._writers:
            if not writer.transport.is_closing():
                raw = writer.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            writer.transport.abort()


class _Stream:
    """One direction of one connection; without a writer, bytes are dropped."""

    def __init__(
        self,
        link: Link,
        connection: _Connection,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter | None,
    ) -> None:
        self._link = link
        self._connection = connection
        self._reader = reader
        self._writer = writer
        self._corruptor = Corruptor(link.randomness)
        self._buffer: deque[tuple[float, bytes]] = deque()
        """Bytes with the loop time from which they may be forwarded; empty bytes are the end of the stream."""
        self._buffered_bytes = 0
        self._moved = asyncio.Event()

    async def run(self) -> None:
        """Return once the end of the stream was forwarded. Raises OSError if a side has failed."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._read())
            group.create_task(self._write())

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            data = await self._receive()
            fault = self._link.fault
            delay_s = fault.delay_s if fault is not None and fault.mode is Mode.DELAY else 0.0
            self._buffer.append((loop.time() + delay_s, data))
            self._buffered_bytes += len(data)
            self._moved.set()
            if not data:
                return
            # Not reading is the back-pressure: the kernel's buffers fill up, and the sender blocks.
            while self._buffered_bytes > (DELAY_BUFFER_BYTES if delay_s else BUFFER_BYTES):
                self._moved.clear()
                await self._moved.wait()

    async def _receive(self) -> bytes:
        """Return the next bytes, none at the end. A partition hides a reset as well: it looks like the end."""
        try:
            return await self._reader.read(CHUNK_BYTES)
        except OSError:
            if self._link.mode is not Mode.DROP:
                raise
            return b""

    async def _write(self) -> None:
        while True:
            while not self._buffer:
                self._moved.clear()
                await self._moved.wait()
            due, data = self._buffer[0]
            await self._until(due)
            await self._forward_bytes(data)
            self._buffer.popleft()
            self._buffered_bytes -= len(data)
            self._moved.set()
            if not data:
                return

    async def _forward_bytes(self, data: bytes) -> None:
        while True:
            if self._link.mode is Mode.DROP or self._writer is None:
                self._connection.damaged = True
                if not data:
                    # A partition hides the end of the stream too, until the fault changes.
                    await self._link.fault_changed.wait()
                return
            fault = self._link.fault
            if not data:
                self._writer.write_eof()
                return
            if fault is None or fault.mode is not Mode.SLOW:
                await self._send(self._corruptor.apply(data) if self._link.mode is Mode.CORRUPT else data)
                return
            chunk = data[: max(1, int(fault.bytes_per_s * SLOW_CHUNK_S))]
            await self._until(asyncio.get_running_loop().time() + len(chunk) / fault.bytes_per_s)
            if self._link.fault is fault:
                await self._send(chunk)
                data = data[len(chunk) :]
                if not data:
                    return

    async def _send(self, data: bytes) -> None:
        if self._writer is not None:
            self._writer.write(data)
            await self._writer.drain()

    async def _until(self, due: float) -> None:
        """Wait until a time of the loop's clock, or until the link's fault changes."""
        left_s = due - asyncio.get_running_loop().time()
        if left_s > 0:
            try:
                async with asyncio.timeout(left_s):
                    await self._link.fault_changed.wait()
            except TimeoutError:
                pass  # it is due
