"""No input leads to a 500, or to an answer that is not one of the API's."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Iterator
from random import Random

import orjson
import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from collectionstore_node.api import make_client_server
from collectionstore_node.api.url_table import CLIENT, PROBES
from collectionstore_node.service import Store
from collectionstore_node.statemachine.commands import Action, Command, CreateCollection, DocumentRef, KeyRef, Put
from collectionstore_node.tests.api.conftest import LIMITS, STORE_LIMITS
from collectionstore_node.tests.api.memory_replica import Admins, MemoryReplica, RecordedMetrics, render_nothing

PATIENCE_S = 20.0
SEED: tuple[Action, ...] = (
    CreateCollection("people"),
    Put(DocumentRef("people", "a"), b'{"n":1}'),
    Put(KeyRef("b", "k"), b"\x00", content_type="image/png"),
)

METHODS = ["GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"]
NAMES = ["people", "a", "b", "k"] * 6 + ["x/y", "%2F", "%00", "%ff", "%", "..", "A", "%C3%A9"]
PARAMETERS = ["limit=1", "cursor=AQ", "prefix=k", "values=true", "timeout=900ms", "redirect=true", "consistency=stale"]
PARAMETERS += ["limit=0", "timeout=x", "prefix=", "=", "&", "#", "%ff=1"]
HEADERS = [b"If-Match", b"If-None-Match", b"Idempotency-Key", b"X-Request-Id", b"Expect", b"Content-Encoding"]
VALUES = [b"*", b'"1"', b'W/"2", "3"', b"k", b"identity", b"100-continue", b"\xff", b""]
CONTENT_TYPES = [b"application/json"] * 8 + [b"text/plain", b"x", b"\xff"]
FIELDS = ["then", "else", "compare", "op", "collection", "id", "bucket", "key", "value", "document", "field", "operand"]
FIELDS += ["operator", "if_revision", "if_exists", "content_type", "changes", "action", "node_id", "epoch", "replaces"]
FIELDS += ["expected_index", "name", "_a"]
WORDS = ["", "people", "a", "b", "k", "put", "get", "delete", "==", "exists", "revision", "AA==", "add", "0" * 15 + "7"]
BYTES = b'{}[]",:0123456789.eE+-\\u_ nulltruefasNI\xff\0'


def any_value(random: Random, depth: int) -> object:
    """Return JSON made of the words that requests are made of."""
    match random.randrange(4 if depth > 3 else 7):
        case 0:
            return random.choice([None, True, False, 0, 1, -1, 2**63, 2**64 - 1, 0.5])
        case 1 | 2 | 3:
            return random.choice(WORDS)
        case 4:
            return [any_value(random, depth + 1) for _ in range(random.randrange(3))]
        case _:
            return {random.choice(FIELDS): any_value(random, depth + 1) for _ in range(random.randrange(4))}


def any_step(random: Random) -> dict[str, object]:
    """Return an operation or a guard; about half of them are valid."""
    step: dict[str, object] = {}
    step |= random.choice([{"collection": "people", "id": "a"}, {"bucket": "b", "key": "k"}])
    step |= random.choice([{"op": "get"}, {"op": "delete"}, {"op": "put", "document": {}}, {"op": "put", "value": ""}])
    if random.random() < 0.3:
        step[random.choice(FIELDS)] = any_value(random, 2)
    return step


def any_body(random: Random) -> bytes:
    """Return bytes, nearly JSON, a transaction, a membership change, or a document."""
    match random.randrange(6):
        case 0:
            return bytes(random.choices(BYTES, k=random.randrange(40)))
        case 1:
            text = orjson.dumps(any_value(random, 0))
            at = random.randrange(len(text))
            return text[:at] + bytes(random.choices(BYTES, k=random.randrange(3))) + text[at + random.randrange(2) :]
        case 2:
            guard = {"bucket": "b", "key": "k", "field": "exists", "operand": random.choice([True, False, 1, ""])}
            body = {name: [any_step(random) for _ in range(random.randrange(3))] for name in ("then", "else")}
            return orjson.dumps({**body, "compare": [guard] * random.randrange(2)})
        case 3:
            action = random.choice(["add", "remove", "promote", "demote", "replace", "x"])
            return orjson.dumps(
                {"action": action, "node_id": "0" * 15 + "7", random.choice(FIELDS): random.choice(WORDS)}
            )
        case 4:
            return orjson.dumps({random.choice(["name", "node_id", "_a", "n"]): random.choice(WORDS)})
        case _:
            return b"{}"


def any_request(random: Random) -> bytes:
    """Return a request whose method and path nearly always belong together."""
    route = random.choice((*CLIENT, *PROBES))
    path = re.sub(r"\{[^}]*\}", lambda _: random.choice(NAMES), route.pattern)
    method = random.choice([route.method] * 20 + METHODS)
    query = "&".join(random.choices(PARAMETERS, k=random.randrange(1, 3))) if random.random() < 0.3 else ""
    headers = [(random.choice(HEADERS), random.choice(VALUES)) for _ in range(random.choice([0, 0, 0, 1, 2]))]
    lines = b"".join(b"%s: %s\r\n" % pair for pair in [(b"Content-Type", random.choice(CONTENT_TYPES)), *headers])
    body = any_body(random)
    head = f"{method} {path}{'?' if query else ''}{query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    return head.encode() + lines + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)


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
            Store(self.replica, STORE_LIMITS),
            LIMITS,
            self.metrics,
            render_metrics=render_nothing,
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
    """Check that the server did not fail, and that errors are problem details."""
    assert 500 not in [status for _, _, status in served.metrics.finished]
    answer = answer.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
    if answer:
        assert answer.startswith(b"HTTP/1.1 ")
        status = int(answer.split()[1])
        assert status != 500
        assert status < 400 or b"Content-Type: application/problem+json\r\n" in answer


@given(st.integers(0, 2**64))
@settings(max_examples=400, deadline=None)
def test_requests_of_any_shape(served: Served, seed: int) -> None:
    """Made from a seed, because generating JSON piece by piece would take longer than serving it."""
    check(served, served.converse(any_request(Random(seed)), ends=True))


@given(st.binary(max_size=200))
@settings(max_examples=60, deadline=None)
def test_any_bytes(served: Served, message: bytes) -> None:
    check(served, served.converse(message, ends=False))
