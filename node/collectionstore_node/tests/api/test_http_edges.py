"""Requests at the edges of HTTP: framing, targets, versions, names of hosts, and connections that end half way."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import structlog
from aiohttp import web

from collectionstore_node.api import make_client_server
from collectionstore_node.api.budgets.sending import WINDOW_S, Sending
from collectionstore_node.api.connections.connection import CHUNK_OVERHEAD_MIN, HEAD_S, HEADERS_MAX
from collectionstore_node.api.connections.hosts import Hosts
from collectionstore_node.api.connections.server import ApiServer
from collectionstore_node.errors import Overloaded
from collectionstore_node.service import Store
from collectionstore_node.tests.api.conftest import LIMITS, STORE_LIMITS
from collectionstore_node.tests.api.http_clients import Client, RawClient, read_head
from collectionstore_node.tests.api.memory_replica import Admins, MemoryReplica, RecordedMetrics, render_nothing
from collectionstore_node.tests.api.test_http_framing import GET, HOST, KEY, check_problem, parse
from collectionstore_node.tests.transport.doubles import eventually

END = b"Connection: close\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"


@asynccontextmanager
async def served(replica: MemoryReplica, metrics: RecordedMetrics, **options: object) -> AsyncIterator[ApiServer]:
    """Serve a client port; its number is the attribute `port`."""
    async with AsyncExitStack() as stack:
        server = make_client_server(
            Store(replica, STORE_LIMITS),
            LIMITS,
            metrics,
            render_metrics=render_nothing,
            authorize_admin=Admins().authorize,
            tls=False,
            **options,  # type: ignore[arg-type]
        )
        runner = web.ServerRunner(server)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server.port = runner.addresses[0][1]  # type: ignore[attr-defined]
        yield server


@pytest.mark.parametrize(
    ("message", "status", "code"),
    [
        (KEY + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501, "transfer_coding_unsupported"),
        (KEY + b"Transfer-Encoding: gzip\r\n" + CHUNKED + b"\r\n0\r\n\r\n", 400, "malformed_request"),
        (KEY + b"Transfer-Encoding: gzip\r\n\r\n", 400, "malformed_request"),
        (KEY + b"Content-Encoding: identity\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n" + END + b"1", 415,
         "unsupported_encoding"),
        (KEY + b"Content-Encoding: identity, br\r\nContent-Length: 1\r\n" + END + b"1", 415, "unsupported_encoding"),
        (b"PUT /api/v1/kv/b/k HTTP/1.0\r\n" + CHUNKED + b"\r\n1\r\nx\r\n0\r\n\r\n", 400, "malformed_request"),
        (b"GET /livez HTTP/2.0\r\nHost: x\r\n\r\n", 505, "version_not_supported"),
        (b"GET /livez HTTP/0.9\r\nHost: x\r\n\r\n", 505, "version_not_supported"),
        (GET + b"A: b\r\n" * (HEADERS_MAX + 1) + b"\r\n", 431, "header_too_large"),
        (GET + b"".join(b"A%d: %s\r\n" % (n, b"x" * 8000) for n in range(5)) + b"\r\n", 431, "header_too_large"),
        (GET + b"A: " + b"b" * 9_000 + b"\r\n\r\n", 431, "header_too_large"),
        (b"GET http://xn--a/ HTTP/1.1\r\nHost: x\r\n\r\n", 400, "malformed_request"),
        (b"GET http://[::1/ HTTP/1.1\r\nHost: x\r\n\r\n", 400, "malformed_request"),
        (b"GET ftp://x/livez HTTP/1.1\r\nHost: x\r\n\r\n", 400, "malformed_request"),
        (b"TRACE /livez HTTP/1.1\r\nHost: x\r\n" + END, 405, "method_not_allowed"),
        # What llhttp refuses: two readers could disagree about where these messages end.
        (KEY + b"Content-Length: +1\r\n\r\n1", 400, "malformed_request"),
        (KEY + b"Content-Length: 1, 1\r\n\r\n1", 400, "malformed_request"),
        (KEY + b"Content-Length: 1 1\r\n\r\n1", 400, "malformed_request"),
        (KEY + b"Content-Length : 1\r\n\r\n1", 400, "malformed_request"),
        (KEY + b"Transfer-Encoding: xchunked\r\n\r\n", 400, "malformed_request"),
        (KEY + CHUNKED + b"Content-Length: 1\r\n\r\n", 400, "malformed_request"),
        (GET + b"A: b\r\n folded\r\n\r\n", 400, "malformed_request"),
        (GET + b"A: b\nB: c\r\n\r\n", 400, "malformed_request"),
        (GET + b"A: \0\r\n\r\n", 400, "malformed_request"),
        (b"GET /livez HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400, "malformed_request"),
        (b"GET /api/v1/kv/b/%00 HTTP/1.1\r\nHost: x\r\n" + END, 400, "invalid_name"),
        (b"GET /api/v1/kv/b/%c0%ae HTTP/1.1\r\nHost: x\r\n" + END, 400, "invalid_name"),
        (b"GET /api/v1/kv/b/../k HTTP/1.1\r\nHost: x\r\n" + END, 400, "invalid_name"),
        (b"GET //livez HTTP/1.1\r\nHost: x\r\n" + END, 404, "unknown_route"),
        (b"GET /livez?a=1&a=1 HTTP/1.1\r\nHost: x\r\n" + END, 400, "unknown_parameter"),
    ],
)  # fmt: skip
async def test_what_two_readers_could_read_differently_is_refused_and_ends(
    raw: RawClient, replica: MemoryReplica, message: bytes, status: int, code: str
) -> None:
    answer = await raw.exchange(message)

    check_problem(answer, status, code)
    assert parse(answer)[1][b"Connection"] == b"close"
    assert replica.proposed == []


async def test_headers_in_pieces_are_bounded_before_they_end(raw: RawClient) -> None:
    """A head that never ends is refused at its bound, not at its end."""
    pieces = [GET, *[b"A%d: %s\r\n" % (n, b"x" * 8000) for n in range(5)]]

    check_problem(await raw.exchange(*pieces), 431, "header_too_large")


async def test_extensions_of_chunks_are_bounded(
    raw: RawClient, replica: MemoryReplica, metrics: RecordedMetrics
) -> None:
    extension = b"1;" + b"x" * CHUNK_OVERHEAD_MIN + b"\r\n1\r\n"
    reader, writer = await raw.connect()
    with contextlib.suppress(ConnectionError):  # the connection ends although more arrives
        writer.write(KEY + CHUNKED + b"\r\n" + extension * 1_000)
        await reader.read()

    await eventually(lambda: metrics.read_connections() == 0)
    assert metrics.problems == {"malformed_request": 1}
    assert replica.proposed == []
    writer.transport.abort()


async def test_small_chunks_are_taken(raw: RawClient, client: Client) -> None:
    """Their framing is within its bound, which grows with the body."""
    size = 4 * CHUNK_OVERHEAD_MIN
    answer = await raw.exchange(KEY + CHUNKED + END, b"1\r\nx\r\n" * size + b"0\r\n\r\n")

    assert parse(answer)[0] == 201
    assert len((await client.get("/api/v1/kv/b/k")).body) == size


@pytest.mark.parametrize("together", [True, False])
async def test_what_is_expected_does_not_depend_on_packets(raw: RawClient, *, together: bool) -> None:
    head, body = KEY + b"Expect: 100-continue\r\nContent-Length: 1\r\n" + END, b"1"

    answer = await raw.exchange(head + body) if together else await raw.exchange(head, body)

    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 ")


@pytest.mark.parametrize("together", [True, False])
async def test_another_expectation_is_refused_however_it_arrives(raw: RawClient, *, together: bool) -> None:
    head, body = KEY + b"Expect: a-miracle\r\nContent-Length: 1\r\n" + END, b"1"

    check_problem(await raw.exchange(*([head + body] if together else [head, body])), 417, "expectation_failed")


async def test_an_http_1_0_client_expects_nothing(raw: RawClient) -> None:
    """RFC 9110 10.1.1: it knows no 100."""
    head = b"PUT /api/v1/kv/b/k HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n"

    assert (await raw.exchange(head, b"1")).startswith(b"HTTP/1.1 201 ")


async def test_a_client_that_closes_its_side_gets_its_answers(raw: RawClient, replica: MemoryReplica) -> None:
    """Also those of the requests behind the first, and the connection ends then."""
    replica.hold = asyncio.Event()
    reader, writer = await raw.connect()
    writer.write(KEY + b"Content-Length: 1\r\n\r\n1" + GET + b"\r\n" + GET + b"\r\n")
    writer.write_eof()
    await replica.entered.wait()
    await asyncio.sleep(0)
    replica.hold.set()

    answer = await reader.read()

    assert answer.count(b"HTTP/1.1 201 ") == 1
    assert answer.count(b"HTTP/1.1 200 ") == 2
    assert answer.count(b"Connection: close") == 1
    writer.close()


@pytest.mark.parametrize("before", [1, 2])
@pytest.mark.parametrize("framing", [b"Content-Length: 9\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n5\r\nab"])
async def test_what_is_not_complete_keeps_no_answer_from_a_client_that_closes_its_side(
    raw: RawClient, replica: MemoryReplica, before: int, framing: bytes
) -> None:
    """A complete request, behind it one that never will be, and the end: the first is answered, and no other."""
    replica.hold = asyncio.Event()
    reader, writer = await raw.connect()
    # By the general path, which serves one after the other.
    first = KEY + b"X-Request-Id: one\r\nContent-Length: 1\r\n\r\n1"
    writer.write(first * before + KEY + framing)
    writer.write_eof()
    await replica.entered.wait()
    await asyncio.sleep(0)
    replica.hold.set()

    answer = await reader.read()

    assert answer.count(b"HTTP/1.1 201 ") == 1
    assert answer.count(b"HTTP/1.1 ") == before
    assert answer.count(b"Connection: close") == 1
    writer.close()


async def test_a_prefix_may_begin_with_a_dot(client: Client) -> None:
    await client.send("PUT", "/api/v1/kv/b/.env", b"1")

    assert (await client.get("/api/v1/kv/b?prefix=.")).json["keys"][0]["key"] == ".env"
    (await client.get("/api/v1/kv/b/..")).problem(400, "invalid_name")


async def test_too_many_requests_at_once_end_the_connection(raw: RawClient) -> None:
    """They would hold memory until their turn, which nobody needs."""
    reader, writer = await raw.connect()
    writer.write((GET + b"\r\n") * 20_000)

    answers = 0
    with contextlib.suppress(ConnectionResetError):  # what was not read is lost
        while more := await reader.read(1 << 16):
            answers += more.count(b"HTTP/1.1 200 ")

    assert answers < 20_000
    writer.close()


async def test_requests_ahead_of_their_answers_are_served_in_order(raw: RawClient) -> None:
    answer = await raw.exchange((GET + b"\r\n") * 500 + GET + END)

    assert answer.count(b"HTTP/1.1 200 ") == 501


@pytest.mark.parametrize("framing", [b"Content-Length: 50", b"Transfer-Encoding: chunked"])
async def test_an_aborted_upload_is_the_clients_doing(
    raw: RawClient, metrics: RecordedMetrics, caplog: pytest.LogCaptureFixture, framing: bytes
) -> None:
    """With a reset, too, and while the rest of a refused body is read: no error is logged, nothing counts as 5xx."""
    with structlog.testing.capture_logs() as lines, caplog.at_level(logging.ERROR):
        for head in (KEY, b"PUT /api/v1/kv/B/k HTTP/1.1\r\nHost: x\r\n"):
            _reader, writer = await raw.connect()
            seen = len(metrics.finished)
            writer.write(head + framing + b"\r\n\r\n")
            await eventually(lambda seen=seen: metrics.read_uploads() > 0 or len(metrics.finished) > seen)  # type: ignore[misc]
            writer.transport.abort()
        await eventually(lambda: len(metrics.finished) == 2 and metrics.read_connections() == 0)

    assert sorted(status for *_, status in metrics.finished) == [400, 499]
    assert (lines, caplog.records) == ([], [])


async def test_a_head_that_does_not_end_is_408(replica: MemoryReplica, metrics: RecordedMetrics, *, hot: bool) -> None:
    async with served(replica, metrics, hot=hot) as server:
        reader, writer = await RawClient(server.port).connect()  # type: ignore[attr-defined]
        writer.write(GET)
        now = asyncio.get_running_loop().time()
        await eventually(lambda: bool(server._heads))
        server.sweep(now + HEAD_S / 2)
        assert metrics.cuts == {}
        server.sweep(now + 2 * HEAD_S)

        check_problem(await reader.read(), 408, "request_timeout")
        assert metrics.cuts == {"slow_head": 1}
        writer.close()


@pytest.mark.parametrize(
    ("host", "status"),
    [
        (b"Host: localhost:7400\r\n", 200),
        (b"Host: 127.0.0.1:9\r\n", 200),
        (b"Host: [::1]:7400\r\n", 200),
        (b"Host: Shop.Example.\r\n", 200),
        (b"Host: a.below.example\r\n", 200),
        (b"Host: evil.example:7400\r\n", 421),
        (b"Host: below.example\r\n", 421),
        (b"Host: localhost.evil.example\r\n", 421),
        (b"Host: \r\n", 421),
        (b"Host: a b\r\n", 421),
    ],
)
async def test_a_foreign_host_is_421(
    replica: MemoryReplica, metrics: RecordedMetrics, host: bytes, status: int, *, hot: bool
) -> None:
    """A web page whose name resolves to 127.0.0.1 sends its own name (DNS rebinding)."""
    async with served(replica, metrics, hot=hot, is_ours=Hosts(["shop.example", ".below.example"]).is_ours) as server:
        raw = RawClient(server.port)  # type: ignore[attr-defined]
        for _ in range(2):
            assert parse(await raw.exchange(b"GET /livez HTTP/1.1\r\n" + host + END))[0] == status
        absolute = b"GET http://evil.example/livez HTTP/1.1\r\nHost: localhost\r\n" + END
        check_problem(await raw.exchange(absolute), 421, "misdirected_request")
        assert parse(await raw.exchange(b"GET /livez HTTP/1.0\r\n\r\n"))[0] == 200


async def test_an_expected_body_that_is_refused_is_not_asked_for(raw: RawClient) -> None:
    reader, writer = await raw.connect()
    writer.write(b"PUT /api/v1/kv/B/k HTTP/1.1\r\n" + HOST + b"Expect: 100-continue\r\nContent-Length: 1\r\n\r\n")

    assert (await read_head(reader)).startswith(b"HTTP/1.1 400 ")
    writer.close()


async def test_answers_that_are_not_read_are_bounded_counted_and_cut(
    replica: MemoryReplica, metrics: RecordedMetrics, *, hot: bool
) -> None:
    """A client that asks for 300 large values and reads none: one of them waits, the others are not made."""
    size = STORE_LIMITS.value_bytes_max
    async with served(replica, metrics, hot=hot) as server:
        raw = RawClient(server.port)  # type: ignore[attr-defined]
        await raw.exchange(KEY + b"Content-Length: %d\r\n" % size + END, b"x" * size)
        _reader, writer = await raw.connect()
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # of a duplex transport
        writer.write(b"GET /api/v1/kv/b/k HTTP/1.1\r\nHost: x\r\n\r\n" * 300)
        await eventually(lambda: metrics.read_unsent() > 0)
        made = len(metrics.finished)

        assert metrics.read_unsent() == size
        assert metrics.read_inflight() == 0
        now = asyncio.get_running_loop().time()
        server.sweep(now + WINDOW_S / 2)
        assert metrics.cuts == {}
        server.sweep(now + 2 * WINDOW_S)

        await eventually(lambda: metrics.read_connections() == 0)
        assert metrics.cuts == {"slow_read": 1}
        assert metrics.read_unsent() == 0
        assert len(metrics.finished) == made < 300
        writer.transport.abort()


async def test_a_large_answer_without_room_is_503_and_nothing_waits(
    replica: MemoryReplica, metrics: RecordedMetrics, monkeypatch: pytest.MonkeyPatch, *, hot: bool
) -> None:
    size = STORE_LIMITS.value_bytes_max
    monkeypatch.setattr(Sending, "take", _no_room)
    async with served(replica, metrics, hot=hot) as server:
        raw = RawClient(server.port)  # type: ignore[attr-defined]
        await raw.exchange(KEY + b"Content-Length: %d\r\n" % size + END, b"x" * size)

        check_problem(await raw.exchange(b"GET /api/v1/kv/b/k HTTP/1.1\r\nHost: x\r\n" + END), 503, "overloaded")
        head = await raw.exchange(b"HEAD /api/v1/kv/b/k HTTP/1.1\r\nHost: x\r\n" + END)
        assert parse(head)[0] == 503


def _no_room(budget: Sending, reader: object, size: int) -> None:
    raise Overloaded("no room")


async def test_slow_uploads_keep_no_place_among_the_requests_in_flight(
    replica: MemoryReplica, metrics: RecordedMetrics, client: Client, raw: RawClient
) -> None:
    """More of them than `inflight_requests_max`: others are served as if they were not there."""
    slow = [await raw.connect() for _ in range(2 * STORE_LIMITS.inflight_requests_max)]
    for _, writer in slow:
        writer.write(b"PUT /api/v1/kv/b/k?timeout=60s HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n1")
    await eventually(lambda: metrics.read_uploads() == len(slow))

    assert (await client.send("PUT", "/api/v1/kv/b/other", b"1")).status == 201
    assert (await client.get("/api/v1/kv/b/other")).status == 200

    for reader, writer in slow[:2]:
        writer.write(b"2")
        assert (await read_head(reader)).startswith((b"HTTP/1.1 201 ", b"HTTP/1.1 200 "))
    for _, writer in slow:
        writer.transport.abort()
    await eventually(lambda: metrics.read_uploads() == 0)
