"""Whatever is sent, the answer is never a 500, and never anything but ours."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

import orjson
import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collectionstore_node.api import make_client_server
from collectionstore_node.api.routes import CLIENT, PROBES
from collectionstore_node.statemachine.commands import Action, Command, CreateCollection, DocumentRef, KeyRef, Put
from collectionstore_node.tests.api.conftest import LIMITS
from collectionstore_node.tests.api.memory_replica import Admins, MemoryReplica, RecordedMetrics

PATIENCE_S = 20.0
SEED: tuple[Action, ...] = (
    CreateCollection("people"),
    Put(DocumentRef("people", "a"), b'{"n":1}'),
    Put(KeyRef("b", "k"), b"\x00", content_type="image/png"),
)

METHODS = st.sampled_from([b"GET", b"HEAD", b"PUT", b"POST", b"DELETE", b"PATCH", b"OPTIONS", b"TRACE", b"CONNECT"])
NAMES = st.sampled_from(["people", "a", "b", "k", "x/y", "%2F", "%00", "%ff", "%", "..", "A", "%C3%A9"])
TARGETS = st.tuples(st.sampled_from((*CLIENT, *PROBES)), NAMES, NAMES).map(
    lambda drawn: (
        drawn[0]
        .pattern.replace("{collection}", drawn[1])
        .replace("{bucket}", drawn[1])
        .replace("{id}", drawn[2])
        .replace("{key...}", drawn[2])
    )
)
LISTING = ["limit=1", "limit=1&limit=1", "cursor=AQ", "prefix=", "prefix=k", "values=true"]
COMMON = ["timeout=900ms", "timeout=x", "redirect=true", "consistency=stale", "=", "&", "#", "%ff=1"]
PARAMETERS = st.sampled_from(LISTING) | st.sampled_from(COMMON)
QUERIES = st.lists(PARAMETERS, max_size=3).map("&".join)
HEADER_NAMES = [b"If-Match", b"If-None-Match", b"Idempotency-Key", b"X-Request-Id", b"Expect", b"Content-Encoding"]
HEADER_VALUES = [b"*", b'"1"', b'W/"2", "3"', b"k", b"identity", b"100-continue", b"\xff", b""]
HEADERS = st.lists(
    st.tuples(st.sampled_from(HEADER_NAMES), st.sampled_from(HEADER_VALUES) | st.binary(max_size=8)), max_size=3
)
CONTENT_TYPES = st.sampled_from([b"application/json"] * 6 + [b"text/plain", b"x", b"\xff"])

FIELD_NAMES = ["then", "else", "compare", "op", "collection", "id", "bucket", "key", "value", "document", "field"]
FIELD_NAMES += ["operand", "operator", "if_revision", "if_exists", "content_type", "changes", "action", "node_id"]
FIELD_NAMES += ["epoch", "expected_index", "replaces", "name", "_a"]
WORDS = ["", "people", "a", "b", "k", "put", "get", "delete", "==", "exists", "revision", "AA==", "add", "0" * 15 + "7"]
SCALARS = st.none() | st.booleans() | st.integers(-9, 2**63) | st.sampled_from(WORDS)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELD_NAMES), inner, max_size=6),
)
TARGET_FIELDS = st.sampled_from([{"collection": "people", "id": "a"}, {"bucket": "b", "key": "k"}, {"id": "a"}])
STEPS = st.builds(
    lambda target, rest, op: {**target, **rest, "op": op},
    TARGET_FIELDS,
    st.dictionaries(st.sampled_from(["document", "value", "if_revision", "if_exists"]), JSON, max_size=2),
    st.sampled_from(["put", "get", "delete"]),
)
TRANSACTIONS = st.fixed_dictionaries({"then": st.lists(STEPS, max_size=3)}, optional={"else": st.lists(STEPS)})
BODIES = (
    st.binary(max_size=40)
    | st.text(alphabet='{}[]",:0123456789.eE+-\\u_ nulltruefasNI', max_size=40).map(str.encode)
    | st.dictionaries(st.sampled_from(FIELD_NAMES), JSON, max_size=4).map(orjson.dumps)
    | TRANSACTIONS.map(orjson.dumps)
)


class Served:
    """A server with its own event loop, which runs only while `converse` does."""

    def __init__(self) -> None:
        self.loop = asyncio.Runner()
        self.replica = MemoryReplica()
        self.metrics = RecordedMetrics()
        self._runner = self.loop.run(self._start())

    def close(self) -> None:
        self.loop.run(self._runner.cleanup())
        self.loop.close()

    def converse(self, message: bytes, *, ends: bool) -> bytes:
        """Return everything that is answered until the server closes.

        `ends` says that `message` asks for that; else the client closes its side behind it.
        """
        self.metrics.finished.clear()
        return self.loop.run(self._converse(message, ends=ends))

    async def _start(self) -> web.ServerRunner:
        for action in SEED:
            await self.replica.propose(Command(action), timeout_s=1)
        server = make_client_server(
            self.replica,
            LIMITS,
            self.metrics,
            render_metrics=lambda: (b"", "text/plain"),
            authorize_admin=Admins().authorize,
            tls=False,
        )
        runner = web.ServerRunner(server)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner

    async def _converse(self, message: bytes, *, ends: bool) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._runner.addresses[0][1])
        answer = b""
        with contextlib.suppress(ConnectionError):
            writer.write(message)
            if not ends:
                writer.write_eof()
            # A server that forgets to close is a failure, not a test without end.
            async with asyncio.timeout(PATIENCE_S):
                answer = await reader.read()
        writer.close()
        return answer


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    served = Served()
    yield served
    served.close()


def check(served: Served, answer: bytes) -> None:
    """Check that nothing went wrong in here, and that errors are told as problems."""
    assert 500 not in [status for _, _, status in served.metrics.finished]
    answer = answer.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
    if answer:
        assert answer.startswith(b"HTTP/1.1 ")
        status = int(answer.split()[1])
        assert status != 500
        assert status < 400 or b"Content-Type: application/problem+json\r\n" in answer


@given(METHODS, TARGETS, QUERIES, HEADERS, CONTENT_TYPES, BODIES)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_requests_of_any_shape(
    served: Served,
    method: bytes,
    target: str,
    query: str,
    headers: list[tuple[bytes, bytes]],
    content_type: bytes,
    body: bytes,
) -> None:
    path = f"{target}?{query}" if query else target
    message = (
        b"%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: %s\r\n%sContent-Length: %d\r\n\r\n%s"
        % (
            method,
            path.encode(),
            content_type,
            b"".join(b"%s: %s\r\n" % pair for pair in headers),
            len(body),
            body,
        )
    )

    check(served, served.converse(message, ends=True))


@given(st.binary(max_size=200))
@settings(max_examples=60, deadline=None)
def test_any_bytes(served: Served, message: bytes) -> None:
    check(served, served.converse(message, ends=False))
