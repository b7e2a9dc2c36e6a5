"""A connection of the client port without a socket: bytes in, bytes out, in exactly the pieces that a test chooses."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from itertools import count
from typing import Any

from collectionstore_node.api import HttpLimits, make_client_server
from collectionstore_node.api.connections.server import ApiServer
from collectionstore_node.api.http.instruments import TraceRequest
from collectionstore_node.api.http.request_ids import RequestIds
from collectionstore_node.service import Store, StoreLimits
from collectionstore_node.statemachine.commands import Action, Command, CreateCollection, DocumentRef, KeyRef, Put
from collectionstore_node.tests.api.memory_replica import Admins, MemoryReplica, RecordedMetrics, render_nothing

PATIENCE_S = 20.0
TURNS = 60
"""Turns of the loop after each piece: enough to answer a dozen requests, one after the other, on both paths."""
SEED: tuple[Action, ...] = (
    CreateCollection("people"),
    Put(DocumentRef("people", "a"), b'{"n":1}'),
    Put(KeyRef("b", "k"), b"\x00", content_type="image/png"),
)

_MADE_ID = re.compile(rb"00000000-[0-9a-f]{5}")
_DATE = re.compile(rb"Date: [^\r]*\r\n")


class MemoryTransport(asyncio.Transport):
    """Collects what is written. `room` is what a client takes before it stops reading; None for everything."""

    def __init__(self, protocol: asyncio.Protocol, room: int | None = None) -> None:
        super().__init__({"peername": ("127.0.0.1", 1)})
        self.protocol = protocol
        self.room = room
        self.writes: list[bytes] = []
        self.buffered = 0
        self.reading = True
        self.paused = False
        self.closing = False
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._high = 64 << 10

    @property
    def written(self) -> bytes:
        return b"".join(self.writes)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = self._high if high is None else high

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self.closing:
            return
        self.writes.append(bytes(data))
        if self.room is not None:
            taken = min(self.room, len(data))
            self.room -= taken
            self.buffered += len(data) - taken
            if self.buffered > self._high and not self.paused:
                self.paused = True
                self.protocol.pause_writing()

    def read(self, size: int) -> None:
        """Let the client read `size` more bytes."""
        taken = min(size, self.buffered)
        self.buffered -= taken
        self.room = (self.room or 0) + size - taken
        if self.paused and self.buffered <= self._high // 4:
            self.paused = False
            self.protocol.resume_writing()

    def get_write_buffer_size(self) -> int:
        return self.buffered

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self._end(None)

    def abort(self) -> None:
        self._end(None)

    def lose(self) -> None:
        """Break the connection, as a reset by the client does."""
        self._end(ConnectionResetError("reset"))

    def _end(self, error: Exception | None) -> None:
        if not self.closing:
            self.closing = True
            asyncio.get_running_loop().call_soon(self._lost, error)

    def _lost(self, error: Exception | None) -> None:
        self.protocol.connection_lost(error)
        self.ended.set_result(None)


class MemoryPort:
    """The client port of a member in memory."""

    def __init__(
        self,
        *,
        hot: bool,
        store_limits: StoreLimits,
        limits: HttpLimits | None = None,
        trace: TraceRequest | None = None,
        **options: Any,
    ) -> None:
        self.replica = MemoryReplica()
        self.metrics = RecordedMetrics()
        self.store = Store(self.replica, store_limits)
        self.server: ApiServer = make_client_server(
            self.store,
            limits or HttpLimits(lingering_s=0.01),
            self.metrics,
            render_metrics=render_nothing,
            authorize_admin=Admins().authorize,
            tls=False,
            trace=trace,
            hot=hot,
            **options,
        )
        # The same on every port, and of the same length, so that the bytes of answers can be compared.
        ids = self.server._around.exchange._request_ids = RequestIds()  # type: ignore[attr-defined]
        ids._process = "00000000"
        ids._numbers = count(1 << 16)

    async def seed(self) -> None:
        for action in SEED:
            await self.replica.propose(Command(action), timeout_s=1)

    async def connect(self, room: int | None = None) -> MemoryTransport:
        protocol = self.server()
        transport = MemoryTransport(protocol, room)
        protocol.connection_made(transport)
        await turns(2)
        return transport

    async def send(self, transport: MemoryTransport, pieces: Sequence[bytes]) -> None:
        """Deliver `pieces` as a transport does: not while reading is paused, and none once it is closed."""
        for piece in pieces:
            async with asyncio.timeout(PATIENCE_S):
                while not transport.reading and not transport.closing:  # noqa: ASYNC110 - a turn at a time, as a transport
                    await asyncio.sleep(0)
            if transport.closing:
                return
            transport.protocol.data_received(piece)
            await turns(TURNS)

    async def converse(self, pieces: Sequence[bytes]) -> bytes:
        """Send `pieces`, close that side, and return what was answered until the server closed, without dates."""
        transport = await self.connect()
        await self.send(transport, pieces)
        if not transport.closing and not transport.protocol.eof_received():
            transport.close()
        async with asyncio.timeout(PATIENCE_S):
            await transport.ended
        return without_dates(transport.written)

    async def close(self) -> None:
        self.server.pre_shutdown()
        await self.server.shutdown(1.0)


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def without_dates(answer: bytes) -> bytes:
    """Return an answer without what differs from time to time: dates, and the order in which ids were made.

    Reads that run beside one another get theirs as they end.
    """
    made: dict[bytes, bytes] = {}
    numbered = _MADE_ID.sub(lambda one: made.setdefault(one[0], b"id-%d" % len(made)), answer)
    return _DATE.sub(b"", numbered)
