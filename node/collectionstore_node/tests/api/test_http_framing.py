"""HTTP as bytes: requests that aiohttp's client cannot send, and the state of the connection afterwards."""

from __future__ import annotations

import asyncio

import orjson
import pytest
import structlog
from aiohttp import web

from collectionstore_node.api import make_client_server
from collectionstore_node.service import Store
from collectionstore_node.tests.api.conftest import LIMITS, STORE_LIMITS
from collectionstore_node.tests.api.http_clients import Client, RawClient, read_head
from collectionstore_node.tests.api.in_memory_connection import MemoryPort
from collectionstore_node.tests.api.memory_replica import Admins, MemoryReplica, RecordedMetrics, render_nothing
from collectionstore_node.tests.transport.doubles import eventually

HOST = b"Host: x\r\n"
KEY = b"PUT /api/v1/kv/b/k HTTP/1.1\r\nHost: x\r\n"
GET = b"GET /livez HTTP/1.1\r\nHost: x\r\n"


def parse(answer: bytes) -> tuple[int, dict[bytes, bytes], bytes]:
    """Return status, headers and body of the one answer in `answer`."""
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    headers = dict(line.split(b": ", 1) for line in lines[1:])
    return int(lines[0].split()[1]), headers, body


def check_problem(answer: bytes, status: int, code: str) -> None:
    got, headers, body = parse(answer)
    assert headers[b"Content-Type"] == b"application/problem+json"
    assert (got, orjson.loads(body)["code"]) == (status, code)


@pytest.mark.parametrize(
    ("message", "status", "code"),
    [
        (b"nonsense\r\n\r\n", 400, "malformed_request"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "malformed_request"),
        (b"GET / HTTP/9.9\r\nHost: x\r\n\r\n", 400, "malformed_request"),
        (b"BREW / HTTP/1.1\r\nHost: x\r\n\r\n", 400, "malformed_request"),
        (b"GET /livez HTTP/1.1\r\nHost: x\r\nA\0B: c\r\n\r\n", 400, "malformed_request"),
        (KEY + b"Content-Length: x\r\n\r\n", 400, "malformed_request"),
        (KEY + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400, "malformed_request"),
        (KEY + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "malformed_request"),
        (KEY + b"Connection: close\r\n\r\n", 411, "length_required"),
        (KEY + b"Expect: a-miracle\r\nContent-Length: 1\r\n\r\n", 417, "expectation_failed"),
        (KEY + b"Transfer-Encoding: chunked\r\n\r\n" + b"zz\r\n", 400, "malformed_request"),
        (b"GET /api/v1/kv/b/a#b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 400, "invalid_name"),
        (b"GET /api/v1/kv/b/\xff HTTP/1.1\r\nHost: x\r\n\r\n", 400, "malformed_request"),
        (b"GET /livez?\xff=1 HTTP/1.1\r\nHost: x\r\n\r\n", 400, "malformed_request"),
        (b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 404, "unknown_route"),
        (b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 404, "unknown_route"),
    ],
)
async def test_a_bad_message_is_answered_with_a_problem_and_the_end(
    raw: RawClient, message: bytes, status: int, code: str
) -> None:
    """Every error that leaves the server is problem+json, the parser's too; then the connection closes."""
    answer = await raw.exchange(message)

    check_problem(answer, status, code)
    assert parse(answer)[1][b"Connection"] == b"close"


async def test_a_body_in_chunks_is_taken(client: Client, raw: RawClient) -> None:
    chunks = b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n", b"3\r\nabc\r\n", b"2\r\nde\r\n", b"0\r\n\r\n"

    answer = await raw.exchange(KEY, *chunks)

    assert parse(answer)[0] == 201
    assert (await client.get("/api/v1/kv/b/k")).body == b"abcde"


async def test_a_body_in_chunks_is_bounded(raw: RawClient) -> None:
    piece = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"

    answer = await raw.exchange(KEY + b"Transfer-Encoding: chunked\r\n\r\n", *[piece] * 5)

    check_problem(answer, 413, "too_large")


async def test_a_large_body_in_pieces_is_taken(client: Client, raw: RawClient) -> None:
    """More than the server buffers before it pauses reading."""
    head = KEY + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % STORE_LIMITS.value_bytes_max

    answer = await raw.exchange(head, *[b"x" * 1024] * (STORE_LIMITS.value_bytes_max // 1024))

    assert parse(answer)[0] == 201
    assert (await client.get("/api/v1/kv/b/k")).body == b"x" * STORE_LIMITS.value_bytes_max


async def test_a_large_body_in_one_piece_leaves_the_connection_as_it_was(raw: RawClient) -> None:
    """Its last bytes are not taken for the head of a next request."""
    size = STORE_LIMITS.value_bytes_max
    put = KEY + b"Content-Length: %d\r\n" % size

    answer = await raw.exchange(put + b"\r\n", b"x" * size, put + b"Connection: close\r\n\r\n", b"y" * size)

    assert answer.count(b"HTTP/1.1 20") == 2
    assert answer.count(b"Connection: close") == 1


async def test_expect_100_continue_is_answered_before_the_body(raw: RawClient) -> None:
    reader, writer = await raw.connect()
    writer.write(KEY + b"Expect: 100-continue\r\nContent-Length: 3\r\nConnection: close\r\n\r\n")

    assert await read_head(reader) == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"abc")
    assert parse(await reader.read())[0] == 201
    writer.close()


async def test_expect_100_continue_for_too_much_is_refused_before_the_body(raw: RawClient) -> None:
    """The client will not send the body, so the connection must not wait for it as for a next request."""
    reader, writer = await raw.connect()
    writer.write(KEY + b"Expect: 100-continue\r\nContent-Length: 999999999\r\n\r\n")

    head = await read_head(reader)

    assert head.startswith(b"HTTP/1.1 413 ")
    assert b"Connection: close" in head
    writer.close()


async def test_a_body_that_does_not_come_is_408(raw: RawClient, replica: MemoryReplica) -> None:
    reader, writer = await raw.connect()
    writer.write(b"PUT /api/v1/kv/b/k?timeout=20ms HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab")

    head = await read_head(reader)

    assert head.startswith(b"HTTP/1.1 408 ")
    assert replica.proposed == []
    writer.close()


async def test_a_client_that_goes_away_leaves_nothing_behind(
    raw: RawClient, client: Client, replica: MemoryReplica
) -> None:
    _, writer = await raw.connect()
    writer.write(KEY + b"Content-Length: 5\r\n\r\nab")
    await writer.drain()
    writer.close()
    await writer.wait_closed()

    assert (await client.get("/livez")).status == 200
    assert replica.proposed == []


async def test_arriving_bodies_are_bounded_together(raw: RawClient, metrics: RecordedMetrics) -> None:
    """By what has arrived, not by what is announced: two nearly complete bodies fill `receiving_bytes_max`."""
    size = STORE_LIMITS.value_bytes_max
    head = KEY + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % size
    connections = [await raw.connect() for _ in range(4)]
    for reader, writer in connections:
        writer.write(head)
        assert (await read_head(reader)).split()[1] == b"100"
    for _, writer in connections[:2]:
        writer.write(b"x" * (size - 1))
    await eventually(lambda: metrics.read_arriving() == 2 * (size - 1))

    reader, writer = connections[2]
    writer.write(b"x" * (size - 1))

    check_problem(await reader.read(), 503, "overloaded")
    assert (metrics.read_arriving(), metrics.read_uploads()) == (2 * (size - 1), 3)
    for _, writer in connections:
        writer.transport.abort()
    await eventually(lambda: metrics.read_uploads() == 0)
    assert metrics.read_arriving() == 0


async def test_a_connection_carries_many_requests(raw: RawClient) -> None:
    """Also ones sent without waiting, and after a refusal that read its body."""
    reader, writer = await raw.connect()
    put = KEY + b"Content-Length: 1\r\n\r\n1"
    wrong = b"PUT /api/v1/kv/B/k HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n1"
    writer.write(put + wrong + GET + b"\r\n" + put)

    statuses = []
    for _ in range(4):
        head = await read_head(reader)
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        statuses.append(int(head.split()[1]))

    assert statuses == [201, 400, 200, 200]
    writer.close()


@pytest.mark.parametrize(
    ("message", "connection"),
    [
        (b"GET /livez HTTP/1.0\r\n\r\n", b"close"),
        (b"GET /livez HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", b"keep-alive"),
        (GET + b"\r\n", None),
        (GET + b"Connection: close\r\n\r\n", b"close"),
    ],
)
async def test_the_connection_header_says_what_happens(
    raw: RawClient, message: bytes, connection: bytes | None
) -> None:
    reader, writer = await raw.connect()
    writer.write(message)

    head = await read_head(reader)

    assert parse(head)[1].get(b"Connection") == connection
    writer.close()


async def test_absolute_form_is_understood(raw: RawClient) -> None:
    """RFC 9112 3.2.2: a server must accept it, although only proxies are sent it."""
    answer = await raw.exchange(b"GET http://x/livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")

    assert parse(answer)[0] == 200


async def test_answers_have_date_and_length_and_304_has_neither_body_nor_length(raw: RawClient) -> None:
    await raw.exchange(KEY + b"Content-Length: 1\r\nConnection: close\r\n\r\n1")
    get = b"GET /api/v1/kv/b/k HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"

    _, full, body = parse(await raw.exchange(get + b"\r\n"))
    status, bare, nothing = parse(await raw.exchange(get + b'If-None-Match: "1"\r\n\r\n'))

    assert (full[b"Content-Length"], body) == (b"1", b"1")
    assert full[b"Date"].endswith(b" GMT")
    assert (status, nothing, b"Content-Length" in bare) == (304, b"", False)


async def test_an_upgrade_is_ignored(raw: RawClient) -> None:
    """RFC 9110 7.8: a server may ignore Upgrade; the request is served as it is."""
    reader, writer = await raw.connect()
    writer.write(GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n")

    assert (await read_head(reader)).startswith(b"HTTP/1.1 200 ")
    writer.close()


@pytest.mark.parametrize("hot", [True, False])
@pytest.mark.parametrize(
    ("behind", "status"),
    [
        (GET + b"\r\n", 200),
        (b"GET /livez HTTP/1.1\r\nHost: another\r\n\r\n", 421),
        (KEY + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        (GET + b"A: %s\r\n" % (b"a" * 8_000) * 5 + b"\r\n", 431),
    ],
)
async def test_what_comes_behind_an_upgrade_that_is_ignored_is_checked(
    behind: bytes, status: int, *, hot: bool
) -> None:
    """aiohttp keeps it aside until the request before it is answered."""
    port = MemoryPort(hot=hot, store_limits=STORE_LIMITS, is_ours=lambda host: host == "x")
    transport = await port.connect()

    await port.send(transport, [GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n" + behind])

    assert [int(part[:3]) for part in transport.written.split(b"HTTP/1.1 ")[1:]] == [200, status]
    transport.lose()
    await port.close()


@pytest.mark.parametrize("framing", [b"Content-Length: 50", b"Transfer-Encoding: chunked"])
async def test_a_client_that_disconnects_within_its_body_is_no_fault_of_the_node(
    raw: RawClient, metrics: RecordedMetrics, framing: bytes
) -> None:
    """It is no 5xx, which would spend the error budget, and no error in the log."""
    _reader, writer = await raw.connect()
    with structlog.testing.capture_logs() as lines:
        writer.write(KEY + framing + b"\r\n\r\n")
        await eventually(lambda: metrics.read_uploads() > 0)
        writer.transport.abort()
        await eventually(lambda: bool(metrics.finished))

    assert metrics.finished == [("/api/v1/kv/{bucket}/{key...}", "PUT", 499)]
    assert metrics.problems == {"client_closed": 1}
    assert (metrics.read_inflight(), metrics.read_arriving(), metrics.read_long_requests()) == (0, 0, 0)
    assert lines == []


async def test_stopping_lets_requests_finish(replica: MemoryReplica, metrics: RecordedMetrics, *, hot: bool) -> None:
    """A write that is in flight when the server stops is still answered."""
    server = make_client_server(
        Store(replica, STORE_LIMITS),
        LIMITS,
        metrics,
        render_metrics=render_nothing,
        authorize_admin=Admins().authorize,
        tls=False,
        hot=hot,
    )
    runner = web.ServerRunner(server)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    replica.hold = asyncio.Event()
    writing = asyncio.create_task(RawClient(runner.addresses[0][1]).exchange(KEY + b"Content-Length: 1\r\n\r\n1"))
    await replica.entered.wait()

    stopping = asyncio.create_task(runner.cleanup())
    replica.hold.set()

    assert parse(await writing)[0] == 201
    await stopping
