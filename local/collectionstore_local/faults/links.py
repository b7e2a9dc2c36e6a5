"""One link between two members, as a TCP forwarder that can treat bytes badly.

Each connection has two streams, there and back, which the link's fault meets alike. Bytes are judged when they are
passed on, so that a fault that begins or ends meets what is under way at that moment.

Invariants:
- a stream that has lost bytes never carries any again: when the fault is over, its connection is reset;
- without a fault every byte arrives, in order, and an end of stream on one side becomes one on the other;
- what is buffered here is bounded, so that a slow link pushes back.
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
"""A delayed stream holds what was sent during the delay."""
FLIP_EVERY_BYTES = 8 << 10
"""A corrupting stream flips one bit in so many bytes, on average."""
PACE_S = 0.05
"""A slow stream passes on pieces that take so long."""
CONNECT_TIMEOUT_S = 5.0
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with no time to linger: closing sends a reset."""


class Corruptor:
    """Flips single bits, about one in FLIP_EVERY_BYTES."""

    def __init__(self, randomness: random.Random) -> None:
        self._random = randomness
        self._distance = self._draw()

    def apply(self, data: bytes) -> bytes:
        """Return `data` with a few bits flipped, mostly none."""
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
        """Where to dial in place of the target, from `start` on."""
        self.fault: LinkFault | None = None
        self.altered = asyncio.Event()
        """Set, and replaced by another one, whenever the fault changes."""
        self.target = target
        self.randomness = randomness
        self._connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None

    def __len__(self) -> int:
        """Return how many connections are open on both sides."""
        return sum(connection.joined for connection in self._connections)

    async def start(self, host: str) -> None:
        """Listen on a free port."""
        # Small, or the kernel would take in whatever a slow link holds up.
        listener = socket.create_server((host, 0), backlog=64)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        self._server = await asyncio.start_server(self._accept, sock=listener, limit=CHUNK_BYTES)
        self.port = listener.getsockname()[1]

    def use(self, fault: LinkFault | None) -> None:
        """Have this fault from now on, or none."""
        if fault == self.fault:
            return
        self.fault = fault
        self.altered.set()
        self.altered = asyncio.Event()
        for connection in tuple(self._connections):
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
        self.joined = False
        self.damaged = False
        """Whether bytes of it have vanished."""
        self._link = link
        self._reader = reader
        self._writers = [near]
        self.task = asyncio.create_task(self._run())

    def reset(self) -> None:
        """End with a reset on both sides, without waiting."""
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
            self.joined = True
        streams = [_Stream(self._link, self, self._reader, far)]
        if far_reader is not None:
            streams.append(_Stream(self._link, self, far_reader, near))
        # The first to break ends both; an orderly end of one leaves the other.
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
    """One direction of one connection; without a writer there is nobody to pass bytes on to."""

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
        self._held: deque[tuple[float, bytes]] = deque()
        """What was read, with the moment from which it may be passed on; an empty one is the end of the stream."""
        self._held_bytes = 0
        self._moved = asyncio.Event()

    async def run(self) -> None:
        """Return when the stream's end was passed on. Raises OSError when a side has broken."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._read())
            group.create_task(self._write())

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            data = await self._take()
            fault = self._link.fault
            delay_s = fault.delay_s if fault is not None and fault.mode is Mode.DELAY else 0.0
            self._held.append((loop.time() + delay_s, data))
            self._held_bytes += len(data)
            self._moved.set()
            if not data:
                return
            while self._held_bytes > (DELAY_BUFFER_BYTES if delay_s else BUFFER_BYTES):
                self._moved.clear()
                await self._moved.wait()

    async def _take(self) -> bytes:
        """Return the next bytes, none at the end. In a partition a reset does not get through either."""
        try:
            return await self._reader.read(CHUNK_BYTES)
        except OSError:
            if self._link.mode is not Mode.DROP:
                raise
            return b""

    async def _write(self) -> None:
        while True:
            while not self._held:
                self._moved.clear()
                await self._moved.wait()
            due, data = self._held[0]
            await self._until(due)
            await self._pass_on(data)
            self._held.popleft()
            self._held_bytes -= len(data)
            self._moved.set()
            if not data:
                return

    async def _pass_on(self, data: bytes) -> None:
        while True:
            if self._link.mode is Mode.DROP or self._writer is None:
                self._connection.damaged = True
                if not data:
                    # Nor does the other side learn that this one has gone, until the fault is over.
                    await self._link.altered.wait()
                return
            fault = self._link.fault
            if not data:
                self._writer.write_eof()
                return
            if fault is None or fault.mode is not Mode.SLOW:
                await self._send(self._corruptor.apply(data) if self._link.mode is Mode.CORRUPT else data)
                return
            piece = data[: max(1, int(fault.bytes_per_s * PACE_S))]
            await self._until(asyncio.get_running_loop().time() + len(piece) / fault.bytes_per_s)
            if self._link.fault is fault:
                await self._send(piece)
                data = data[len(piece) :]
                if not data:
                    return

    async def _send(self, data: bytes) -> None:
        if self._writer is not None:
            self._writer.write(data)
            await self._writer.drain()

    async def _until(self, moment: float) -> None:
        """Wait until a moment of the loop's clock, or until the link's fault changes."""
        left_s = moment - asyncio.get_running_loop().time()
        if left_s > 0:
            try:
                async with asyncio.timeout(left_s):
                    await self._link.altered.wait()
            except TimeoutError:
                pass  # the time has come
