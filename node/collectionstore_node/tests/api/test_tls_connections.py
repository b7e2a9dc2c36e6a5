"""The client port as it is in a cluster: TLS, behind a `Port`, on uvloop."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import AsyncExitStack
from random import Random

import trustme
import uvloop

from collectionstore_node.api import HttpLimits, make_client_server
from collectionstore_node.api.budgets.sending import WINDOW_S
from collectionstore_node.lifecycle import Bounds, serve_http
from collectionstore_node.ports import PortLimits, Uncounted
from collectionstore_node.service import Store, StoreLimits
from collectionstore_node.settings import Address
from collectionstore_node.tests.api.in_memory_connection import MemoryPort, turns, without_dates
from collectionstore_node.tests.api.memory_replica import Admins, MemoryReplica, RecordedMetrics, render_nothing
from collectionstore_node.tests.api.test_hot_differential import CORPUS, DOCUMENT, get
from collectionstore_node.tests.transport.doubles import eventually

SIZE = 8 << 20
VALUE = b"PUT /api/v1/kv/b/k HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % SIZE
GET = b"GET /api/v1/kv/b/k HTTP/1.1\r\nHost: x\r\n\r\n"


def _contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


async def _answers_wait_in_pieces(*, hot: bool) -> None:
    """asyncio's TLS takes a whole write at once; in pieces, a client that does not read is seen, counted and cut."""
    metrics, (served, trusted) = RecordedMetrics(), _contexts()
    async with AsyncExitStack() as stack:
        server = make_client_server(
            Store(MemoryReplica(), StoreLimits(value_bytes_max=SIZE)),
            HttpLimits(),
            metrics,
            render_metrics=render_nothing,
            authorize_admin=Admins().authorize,
            tls=True,
            hot=hot,
        )
        number = await _free_port()
        bounds = Bounds("clients", PortLimits(8, 8), Uncounted())
        await serve_http(stack, server, Address("127.0.0.1", number), bounds, served)
        reader, writer = await asyncio.open_connection("127.0.0.1", number, ssl=trusted)
        writer.write(VALUE + b"x" * SIZE)
        assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 201 ")
        writer.write(GET)
        assert len(await reader.readexactly(SIZE)) == SIZE

        writer.write(GET * 8)
        await eventually(lambda: metrics.read_unsent() > 0)
        assert metrics.read_unsent() == SIZE
        now = asyncio.get_running_loop().time()
        server.sweep(now + 2 * WINDOW_S)  # what the kernel took at once still counts as read
        server.sweep(now + 4 * WINDOW_S)

        await eventually(lambda: metrics.read_connections() == 0)
        assert metrics.cuts == {"slow_read": 1}
        assert metrics.read_unsent() == 0
        writer.transport.abort()


async def _free_port() -> int:
    server = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
    number: int = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return number


def test_a_client_that_does_not_read_is_cut_under_tls(*, hot: bool) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_answers_wait_in_pieces(hot=hot))


CLEAN = ("document", "conditions", "keys", "raw", "options", "delete", "absent", "bodies", "chunks", "encoded", "probe")
"""Messages of the corpus after which the connection goes on."""
LAST = get(DOCUMENT + b"a", b"Connection: close\r\n")


async def _answers_in_any_pieces(seed: int) -> None:
    random = Random(seed)
    served, trusted = _contexts()
    for number in range(12):
        message = b"".join(CORPUS[random.choice(CLEAN)] for _ in range(number)) + LAST
        expected = MemoryPort(hot=False, store_limits=StoreLimits())
        await expected.seed()
        port = MemoryPort(hot=True, store_limits=StoreLimits())
        await port.seed()
        async with AsyncExitStack() as stack:
            listening = await _free_port()
            bounds = Bounds("clients", PortLimits(8, 8), Uncounted())
            await serve_http(stack, port.server, Address("127.0.0.1", listening), bounds, served)
            reader, writer = await asyncio.open_connection("127.0.0.1", listening, ssl=trusted)
            cuts = sorted(random.randrange(len(message)) for _ in range(number))
            for begin, end in zip([0, *cuts], [*cuts, len(message)], strict=True):
                writer.write(message[begin:end])
                await writer.drain()
                await turns(random.choice([0, 2, 20]))
            answer = without_dates(await reader.read())
            writer.transport.abort()
        assert answer == await expected.converse([message])
        assert port.replica.proposed == expected.replica.proposed
        assert (port.store.inflight, port.metrics.read_unsent()) == (0, 0)
        await expected.close()


def test_pipelines_in_any_pieces_are_answered_alike_under_tls() -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_answers_in_any_pieces(5))
