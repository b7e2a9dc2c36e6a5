"""Streams to a client port that is served from memory, as a target of the fuzzer: operations and frames gone wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from random import Random
from typing import Any

import aiohttp
import msgspec
from aiohttp import web

from collectionstore_node.api import HttpLimits, make_client_server
from collectionstore_node.api.stream.operations import KINDS
from collectionstore_node.service import Store, StoreLimits
from collectionstore_node.statemachine.commands import Command
from collectionstore_node.tests.api.memory_replica import Admins, MemoryReplica, RecordedMetrics, render_nothing
from collectionstore_node.tests.api.stream.frames import BINARY, CLOSE, FIN, PING, TEXT, frame, handshake
from collectionstore_node.tests.api.stream.stream_clients import JSON, MSGPACK, connect
from collectionstore_node.tests.fuzz.engine import Finding
from collectionstore_node.tests.fuzz.http_target import EXPECTED_5XX, PATIENCE_S, SEED

NAMES = ("people", "missing", "a", "b", "k", "", "..", "x" * 70, "ü", "\x00", "UPPER", "a/b")
DOCUMENTS = (
    b"{}",
    b'{"n":1}',
    b"[]",
    b"",
    b"{",
    b'{"a":1,"a":2}',
    b'{"_x":1}',
    b"[" * 200,
    b'{"n":1e999}',
    b"\xff",
    b"7",
)
SCALARS: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    1 << 53,
    (1 << 63) - 1,
    1.5,
    "",
    "1",
    "stale",
    b"",
    b"\x00",
    [],
    {},
    [1, 2],
    [-1],
)
FIELDS = (
    "collection id bucket key document value transaction if_revision if_exists unless_revision consistency timeout_ms "
    "traceparent request_id idempotency_key prefix limit cursor values content_type tag op unknown"
)


class StreamTarget:
    """Implements `engine.Target`."""

    def __init__(self, port: int, session: aiohttp.ClientSession, metrics: RecordedMetrics) -> None:
        self._port = port
        self._session = session
        self._metrics = metrics

    async def run(self, random: Random) -> str:
        """Open a stream, send frames, close this side, and read until the server closes."""
        protocol = random.choice((MSGPACK, JSON))
        pieces = [frame_of(random, protocol) for _ in range(random.randint(1, 6))]
        try:
            async with asyncio.timeout(PATIENCE_S):
                answer = await self._converse(handshake(protocol), pieces, random)
        except TimeoutError:
            raise Finding(f"no end of the stream after {pieces!r}") from None
        if not answer.startswith(b"HTTP/1.1 101 "):
            raise Finding(f"no stream was opened: {answer[:80]!r}")
        await self._settled(pieces)
        counted, self._metrics.finished[:] = [*self._metrics.finished], []
        if any(status >= 500 and status not in EXPECTED_5XX for _, _, status in counted):
            raise Finding(f"counted {counted} for {pieces!r}")
        ended, self._metrics.streams_closed = self._metrics.streams_closed, type(self._metrics.streams_closed)()
        if sum(ended.values()) != 1:
            raise Finding(f"one stream ended as {dict(ended)} after {pieces!r}")
        return f"{next(iter(ended))}, {'answered' if len(counted) > 1 else 'no answer'}"

    async def check(self) -> None:
        """Serve a clean stream in each form."""
        for protocol in (MSGPACK, JSON):
            stream = await connect(self._session, self._port, protocol)
            answer = await stream.ask("create_collection", collection="people")
            if answer["status"] not in (200, 201):
                raise Finding(f"a clean operation was answered {answer}")
            await stream.close()
        await self._settled([])
        self._metrics.finished.clear()
        self._metrics.streams_closed.clear()

    async def _settled(self, pieces: list[bytes]) -> None:
        """Wait until nothing is held any more: operations that were taken run to their end."""
        held: dict[str, Callable[[], int]] = {
            "streams": self._metrics.read_streams,
            "operations": self._metrics.read_stream_operations,
            "arriving bytes": self._metrics.read_arriving,
            "uploads": self._metrics.read_uploads,
            "unsent bytes": self._metrics.read_unsent,
        }
        try:
            async with asyncio.timeout(PATIENCE_S):
                while any(read() for read in held.values()):  # noqa: ASYNC110 - there is no event for nothing held
                    await asyncio.sleep(0)
        except TimeoutError:
            left = {name: read() for name, read in held.items() if read()}
            raise Finding(f"{left} are still held after {pieces!r}") from None

    async def _converse(self, opening: bytes, pieces: list[bytes], random: Random) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        answer = b""
        try:
            # The server may close while this side still sends: what it answered before counts.
            with suppress(OSError):
                writer.write(opening)
                answer += await reader.readuntil(b"\r\n\r\n")
                for piece in pieces:
                    cut = random.randint(0, len(piece))
                    for part in (piece[:cut], piece[cut:]):
                        writer.write(part)
                        await writer.drain()
                        await asyncio.sleep(0)
                if random.random() < 0.5:
                    writer.write(frame(CLOSE, b"\x03\xe8"))
                writer.write_eof()
            with suppress(OSError):
                while more := await reader.read(1 << 16):
                    answer += more
        finally:
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()
        return answer


def frame_of(random: Random, protocol: str) -> bytes:
    """Return a frame that is mostly a message of operations, and now and then anything."""
    chance = random.random()
    if chance < 0.05:
        return random.randbytes(random.randint(1, 40))
    if chance < 0.10:
        return frame(
            random.randint(0, 15), random.randbytes(random.randint(0, 130)), first=random.choice((0, FIN, 0xC0))
        )
    if chance < 0.15:
        return frame(PING, random.randbytes(random.randint(0, 125)))
    text = protocol == JSON
    message = message_of(random, text=text)
    if chance < 0.30 and message:
        at = random.randrange(len(message))
        message = message[:at] + random.randbytes(random.randint(0, 3)) + message[at + random.randint(0, 3) :]
    return frame(TEXT if text and random.random() < 0.98 else BINARY, message)


def message_of(random: Random, *, text: bool) -> bytes:
    """Return a message of operations, of which most are right."""
    operations = [operation_of(random, tag, text=text) for tag in range(random.randint(0, 5))]
    if not text:
        return msgspec.msgpack.encode(operations)
    return b"\n".join(map(msgspec.json.encode, operations))


def operation_of(random: Random, tag: int, *, text: bool) -> dict[str, Any]:
    """Return an operation, right or with a field too much, too few, or of another kind."""
    document = random.choice(DOCUMENTS)
    if random.random() < 0.6:
        document = b'{"n":%d}' % random.randint(0, 9)
    shown: Any = msgspec.Raw(document if document and document[:1] in b"{[7" and document[-1:] in b"}]7" else b"null")
    operation: dict[str, Any] = {"op": random.choice([*KINDS.values(), "nonsense"]), "tag": tag}
    operation |= {"collection": _name(random), "id": _name(random), "bucket": _name(random), "key": _name(random)}
    operation["document"] = shown if text else document
    operation["transaction"] = operation["document"]
    operation["value"] = b"raw"
    wanted = {
        "document": ("collection", "id", "document"),
        "value": ("bucket", "key", "value"),
        "collection": ("collection",),
        "keys": ("bucket",),
        "documents": ("collection",),
        "transaction": ("transaction",),
    }.get(operation["op"].rpartition("_")[2], ())
    dropped = {"get_document": "document", "delete_document": "document", "get_value": "value", "delete_value": "value"}
    kept = {"op", "tag", *wanted} - {
        dropped.get(operation["op"], ""),
        *(("id",) if "insert" in operation["op"] else ()),
    }
    operation = {name: value for name, value in operation.items() if name in kept}
    while random.random() < 0.3:
        name = random.choice(FIELDS.split())
        if random.random() < 0.3:
            operation.pop(name, None)
        else:
            operation[name] = random.choice(SCALARS)
    return operation


@asynccontextmanager
async def stream_target() -> AsyncIterator[StreamTarget]:
    """Serve streams until the context ends."""
    replica, metrics = MemoryReplica(), RecordedMetrics()
    for action in SEED:
        await replica.propose(Command(action), timeout_s=1)
    store, limits = Store(replica, StoreLimits(document_bytes_max=64 << 10)), HttpLimits(lingering_s=0.01)
    server = make_client_server(
        store, limits, metrics, render_metrics=render_nothing, authorize_admin=Admins().authorize, tls=False
    )
    runner = web.ServerRunner(server)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with aiohttp.ClientSession() as session:
            yield StreamTarget(runner.addresses[0][1], session, metrics)
    finally:
        await runner.cleanup()


def _name(random: Random) -> str:
    return random.choice(NAMES) if random.random() < 0.2 else random.choice(("people", "a", "b"))
