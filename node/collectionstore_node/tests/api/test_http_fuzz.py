"""Whatever is sent, the answer is never a 500, and never anything but ours."""

from __future__ import annotations

import asyncio
import contextlib

import orjson
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collectionstore_node.api import make_client_server
from collectionstore_node.tests.api.conftest import LIMITS
from collectionstore_node.tests.api.memory_replica import Admins, MemoryReplica, RecordedMetrics

METHODS = st.sampled_from([b"GET", b"HEAD", b"PUT", b"POST", b"DELETE", b"PATCH", b"OPTIONS", b"TRACE", b"CONNECT"])
SEPARATORS = st.sampled_from([b"/", b"?", b"#", b"&", b"=", b"%", b"..", b"\xff", b"%2F", b"%00", b"%ff"])
SEGMENTS = st.sampled_from([b"api", b"v1", b"collections", b"people", b"documents", b"kv", b"b", b"cluster", b"a"])
PARAMETERS = st.sampled_from(
    [b"limit=1", b"cursor=AQ", b"prefix=", b"timeout=1ms", b"redirect=true", b"consistency=stale", b"values=true"]
)
PIECES = SEPARATORS | SEGMENTS | PARAMETERS
PATHS = st.lists(PIECES, max_size=14).map(b"".join) | st.sampled_from(
    [
        b"/api/v1/collections/people/documents/a",
        b"/api/v1/collections/people/documents",
        b"/api/v1/kv/b/k",
        b"/api/v1/transactions",
        b"/api/v1/cluster/members",
    ]
)
HEADERS = st.lists(
    st.tuples(
        st.sampled_from(
            [b"If-Match", b"If-None-Match", b"Idempotency-Key", b"Content-Type", b"X-Request-Id", b"Expect", b"Accept"]
        ),
        st.sampled_from([b"*", b'"1"', b'W/"1"', b"application/json", b"text/plain", b"k", b"\xff", b""])
        | st.binary(max_size=12),
    ),
    max_size=4,
)
JSON_MARKS = st.sampled_from([b"{", b"}", b"[", b"]", b",", b":", b" ", b"1", b"1e999", b"NaN", b"null"])
JSON_TEXTS = st.sampled_from([b'"a"', b'"_a"', b'"\\ud800"', b'"then"', b'"op"', b'"put"', b'"changes"', b'"add"'])
JSON_PIECES = JSON_MARKS | JSON_TEXTS
BODIES = (
    st.binary(max_size=80)
    | st.lists(JSON_PIECES, max_size=20).map(b"".join)
    | st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-9, 2**60)
        | st.sampled_from(["", "people", "b", "k", "put", "==", "exists"]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["then", "else", "compare", "op", "collection", "id", "bucket", "key", "value", "document"]
                )
                | st.sampled_from(
                    ["field", "operand", "operator", "if_revision", "changes", "action", "node_id", "epoch"]
                ),
                inner,
                max_size=5,
            )
        ),
    ).map(orjson.dumps)
)


async def _converse(message: bytes) -> tuple[bytes, list[int]]:
    """Serve `message` from a fresh store and return the answer with all statuses that were given."""
    metrics = RecordedMetrics()
    server = make_client_server(
        MemoryReplica(),
        LIMITS,
        metrics,
        render_metrics=lambda: (b"", "text/plain"),
        authorize_admin=Admins().authorize,
        tls=False,
    )
    runner = web.ServerRunner(server)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    reader, writer = await asyncio.open_connection("127.0.0.1", runner.addresses[0][1])
    answer = b""
    with contextlib.suppress(ConnectionError):
        writer.write(message)
        if b"Connection: close" not in message:
            writer.write_eof()
        answer = await reader.read()
    writer.close()
    await runner.cleanup()
    return answer, [status for _, _, status in metrics.finished]


def _check(answer: bytes, statuses: list[int]) -> None:
    assert not [status for status in statuses if status == 500]
    if answer:
        assert answer.startswith(b"HTTP/1.1 ")
        assert b" 500 " not in answer.split(b"\r\n")[0]
        status = int(answer.split()[1])
        if status >= 400:
            assert b"application/problem+json" in answer


@given(METHODS, PATHS, HEADERS, BODIES)
@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_requests_of_any_shape(method: bytes, path: bytes, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    lines = b"".join(b"%s: %s\r\n" % pair for pair in headers)
    message = b"%s /%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%sContent-Length: %d\r\n\r\n%s" % (
        method,
        path.lstrip(b"/"),
        lines,
        len(body),
        body,
    )

    _check(*asyncio.run(_converse(message)))


@given(st.binary(max_size=200))
@settings(max_examples=60, deadline=None)
def test_any_bytes(message: bytes) -> None:
    _check(*asyncio.run(_converse(message)))
