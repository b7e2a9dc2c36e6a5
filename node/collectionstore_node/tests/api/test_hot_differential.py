"""The hot path and the general path answer the same bytes with the same bytes, however they are cut."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from random import Random

import pytest

from collectionstore_node.access.callers import Caller
from collectionstore_node.api.budgets import uploads
from collectionstore_node.api.connections.connection import EMPTY_LINE, HEADERS_MAX, Connection
from collectionstore_node.api.hot.heads import Head, Headers
from collectionstore_node.api.hot.pipeline import Pipeline
from collectionstore_node.api.http.direct import Place
from collectionstore_node.api.http.limits import HttpLimits
from collectionstore_node.tests.api.conftest import STORE_LIMITS
from collectionstore_node.tests.api.in_memory_connection import MemoryPort
from collectionstore_node.tests.fuzz.http_grammar import any_conversation, mutated

DOCUMENT = b"/api/v1/collections/people/documents/"
HOST = b" HTTP/1.1\r\nHost: x\r\n"
JSON = b"Content-Type: application/json\r\n"


def put(path: bytes, body: bytes, lines: bytes = b"") -> bytes:
    return b"PUT %s%s%sContent-Length: %d\r\n%s\r\n%s" % (path, HOST, JSON, len(body), lines, body)


def post(path: bytes, body: bytes, lines: bytes = b"") -> bytes:
    return b"POST" + put(path, body, lines).removeprefix(b"PUT")


TRANSACTION = (
    b'{"compare":[{"collection":"people","id":"a","field":"exists","operand":true}],'
    b'"then":[{"op":"put","collection":"people","id":"a","document":{"n":9}},{"op":"get","bucket":"b","key":"k"}]}'
)


def get(path: bytes, lines: bytes = b"", method: bytes = b"GET") -> bytes:
    return b"%s %s%s%s\r\n" % (method, path, HOST, lines)


CORPUS = {
    "document": put(DOCUMENT + b"a", b'{"n": 2}') + get(DOCUMENT + b"a"),
    "conditions": put(DOCUMENT + b"a", b"{}", b'If-Match: "2"\r\n')
    + put(DOCUMENT + b"a", b"{}", b"If-None-Match: *\r\n")
    + get(DOCUMENT + b"a", b'If-None-Match: "4"\r\n')
    + get(DOCUMENT + b"a", b'If-Match: "1"\r\n'),
    "keys": put(DOCUMENT + b"i", b"{}", b"Idempotency-Key: k\r\n") * 2
    + put(DOCUMENT + b"i", b'{"a":1}', b"Idempotency-Key: k\r\nX-Request-Id: mine\r\n"),
    "keys of every form": put(DOCUMENT + b"k", b"{}", b"Idempotency-Key: a\r\n")
    + put(DOCUMENT + b"k", b"{}", b"idempotency-key: a\r\n")
    + put(DOCUMENT + b"k", b"{}", b"IDEMPOTENCY-KEY: a\r\n")
    + put(DOCUMENT + b"k", b"{}", b"Idempotency-Key: a\r\nidempotency-key: b\r\n")
    + put(DOCUMENT + b"k", b"{}", b"Idempotency-Key: a\r\n b\r\n")
    + put(DOCUMENT + b"k", b"{}", b"Idempotency-Key: %s\r\n" % (b"k" * 255))
    + put(DOCUMENT + b"k", b"{}", b"Idempotency-Key: %s\r\n" % (b"k" * 256))
    + put(DOCUMENT + b"k", b"{}", b"X-Y: Idempotency-Key: a\r\n")
    + put(DOCUMENT + b"k", b'{"a":1}', b"Idempotency-Key: a\r\n")
    + get(DOCUMENT + b"k", b"Idempotency-Key: a\r\n"),
    "changing headers": put(DOCUMENT + b"i", b"{}", b"Idempotency-Key: a\r\n\tb\r\n")
    + put(DOCUMENT + b"i", b"{}", b"idempotency-key: a\r\nIDEMPOTENCY-KEY: b\r\n")
    + put(DOCUMENT + b"i", b"{}", b"Idempotency-Key:a\r\nX-Request-Id:  b\r\n")
    + get(DOCUMENT + b"none", b"X-Request-Id: first\r\nX-Request-Id:second\r\n")
    + get(DOCUMENT + b"none", b"X-Request-Id:first\r\nX-Request-Id: second\r\nx-request-id: third\r\n")
    + put(DOCUMENT + b"i", b"{}", b"Idempotency-Key: a b\r\nX-Request-Id: \r\n")
    + get(DOCUMENT + b"a", b'If-None-Match: "1",\r\nIf-None-Match: W/"2"\r\n')
    + get(DOCUMENT + b"a", b'X: y\nIf-Match: "1"\r\n'),
    "posted": post(b"/api/v1/collections/people/documents", b'{"n":3}', b"Idempotency-Key: p\r\n") * 2
    + post(b"/api/v1/collections/people/documents", b'{"_n":3}')
    + post(b"/api/v1/collections/people/documents", b"", b'If-Match: "1"\r\n')
    + post(b"/api/v1/collections", b'{"name":"new"}'),
    "transactions": post(b"/api/v1/transactions", TRANSACTION) * 2
    + post(b"/api/v1/transactions?timeout=2s", TRANSACTION, b"Idempotency-Key: t\r\n")
    + post(b"/api/v1/transactions?x=1", TRANSACTION)
    + post(b"/api/v1/transactions", b'{"then":1}')
    + post(b"/api/v1/transactionsx", TRANSACTION)
    + get(b"/api/v1/transactions"),
    "raw": put(b"/api/v1/kv/b/x/y", b"\x00\r\n\r\nGET / HTTP/1.1\r\n\r\n") + get(b"/api/v1/kv/b/x/y"),
    "raw, in halves": put(b"/api/v1/kv/b/k", b"\x00\r\n\r\n") + get(b"/api/v1/kv/b/k") + get(b"/api/v1/kv/b/none"),
    "stale": get(DOCUMENT + b"a?consistency=stale") * 3 + get(DOCUMENT + b"none?consistency=stale") * 2,
    "options": get(DOCUMENT + b"a?consistency=stale&timeout=10ms") * 3
    + get(DOCUMENT + b"a?x=1")
    + get(b"/api/v1/kv/b"),
    "delete": get(DOCUMENT + b"a", method=b"DELETE") * 2 + get(DOCUMENT + b"a", method=b"HEAD"),
    "absent": get(DOCUMENT + b"none") + get(b"/api/v1/collections/no/documents/a") + get(b"/api/v1/kv/B/k"),
    "bodies": put(DOCUMENT + b"a", b"[]") + put(DOCUMENT + b"a", b'{"a":1,"a":2}') + put(DOCUMENT + b"a", b""),
    "no length": b"PUT /api/v1/kv/b/k" + HOST + b"\r\n" + get(b"/api/v1/kv/b/k"),
    "body of a get": b"GET /api/v1/kv/b/k" + HOST + b"Content-Length: 3\r\n\r\nabc" + get(b"/api/v1/kv/b/k"),
    "chunks": b"PUT /api/v1/kv/b/k" + HOST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    + get(DOCUMENT + b"a"),
    "expect": put(DOCUMENT + b"a", b"{}", b"Expect: 100-continue\r\n") + get(DOCUMENT + b"a"),
    "close": get(DOCUMENT + b"a") + get(DOCUMENT + b"a", b"Connection: close\r\n") + get(DOCUMENT + b"a"),
    "probe": get(DOCUMENT + b"a") + get(b"/livez") + get(DOCUMENT + b"a") + get(b"/livez") + get(DOCUMENT + b"a"),
    "garbage": get(DOCUMENT + b"a") + b"nonsense\r\n\r\n" + get(DOCUMENT + b"a"),
    "two lengths": b"PUT /api/v1/kv/b/k" + HOST + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\n1",
    "hidden in a header": get(b"/livez") + b"GET /livez" + HOST + b"X: " + get(DOCUMENT + b"a"),
    "hidden in a body": put(b"/api/v1/kv/b/k", get(DOCUMENT + b"a") + get(DOCUMENT + b"a", method=b"DELETE")),
    "empty lines": b"\r\n\r\n" + get(DOCUMENT + b"a") + b"\r\n\r\n" + get(DOCUMENT + b"a"),
    "old": b"GET /api/v1/kv/b/k HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + get(DOCUMENT + b"a"),
    "encoded": put(DOCUMENT + b"%C3%A9%2F", b"{}")
    + get(DOCUMENT + b"%c3%a9%2f")
    + get(DOCUMENT + b"%zz")
    + get(DOCUMENT + b".."),
    "upgrade": get(DOCUMENT + b"a", b"Connection: Upgrade\r\nUpgrade: x\r\n") + get(DOCUMENT + b"a"),
    "encoding": put(b"/api/v1/kv/b/k", b"1", b"Content-Encoding: gzip\r\n") + get(b"/api/v1/kv/b/k"),
    "two hosts": get(DOCUMENT + b"a", b"Host: y\r\n"),
    "no host": b"GET /api/v1/kv/b/k HTTP/1.1\r\n\r\n",
}  # fmt: skip


CUTS_MAX = 400
"""Places in a message at which it is cut; in a longer one not at every byte."""

_MADE_ID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")


class Recorder:
    """Notes in which pieces the hot path divided what arrived: requests it served, and what the general path got."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.conversations: list[list[bytes]] = []
        self.hot = self.direct = 0
        self._data = b""
        self._at = 0
        take, start, begin, receive = Pipeline.take, Pipeline._start, Pipeline._begin, Connection.receive

        def taking(pipeline: Pipeline, data: bytes) -> bytes:
            self._data, self._at = pipeline._held + data, 0
            return take(pipeline, data)

        def starting(pipeline: Pipeline, head: Head, body: bytes, *, alone: bool) -> None:
            self._note(head.end + len(body))
            start(pipeline, head, body, alone=alone)

        def beginning(
            pipeline: Pipeline,
            place: Place,
            last: str,
            headers: Headers,
            key: str | None,
            body: bytes,
            caller: Caller | None,
        ) -> None:
            self._note(self._data.index(EMPTY_LINE, self._at) + len(EMPTY_LINE) + len(body))
            self.direct += 1
            begin(pipeline, place, last, headers, key, body, caller)

        def receiving(connection: Connection, data: bytes) -> None:
            if data:
                self.conversations[-1].append(data)
            receive(connection, data)

        def made(connection: Connection, transport: asyncio.BaseTransport) -> None:
            self.conversations.append([])
            connection_made(connection, transport)

        connection_made = Connection.connection_made
        patch.setattr(Connection, "connection_made", made)
        patch.setattr(Pipeline, "take", taking)
        patch.setattr(Pipeline, "_start", starting)
        patch.setattr(Pipeline, "_begin", beginning)
        patch.setattr(Connection, "receive", receiving)

    def _note(self, end: int) -> None:
        self.conversations[-1].append(self._data[self._at : end])
        self._at = end
        self.hot += 1


CLOSING = re.compile(rb"Connection: close\r\n")


async def results(conversations: Sequence[Sequence[bytes]], *, hot: bool) -> tuple[bytes, *tuple[object, ...]]:
    """Return answers, effects and counts of one conversation after the other, each on a connection of its own."""
    port = MemoryPort(hot=hot, store_limits=STORE_LIMITS)
    await port.seed()
    answer = b"".join([await port.converse(pieces) for pieces in conversations])
    metrics = port.metrics
    assert (metrics.read_inflight(), port.store.inflight, metrics.read_unsent()) == (0, 0, 0)
    await port.close()
    answer, proposed = _MADE_ID.sub(b"ID", answer), _MADE_ID.sub(b"ID", repr(port.replica.proposed).encode())
    # Reads that run beside one another end in any order: what is counted is the same.
    return answer, proposed, sorted(metrics.finished), metrics.problems


async def both(pieces: Sequence[bytes], *, times: int = 1, closing: bool = True) -> int:
    """Send `pieces` to a port with the hot path and to one without, compare, and return how many requests were hot.

    The second of two `times` finds everything remembered: requests are served in halves that can be.
    The general path gets each hot request in a piece of its own: where aiohttp's parser finds something broken, it
    drops what was complete before it in the same piece, so there the answer depends on how bytes are cut.
    """
    with pytest.MonkeyPatch.context() as outer:
        # A body that never ends would be refused for its rate as soon as for its deadline, and by chance for either.
        outer.setattr(uploads, "WINDOW_S", 2 * HttpLimits().timeout_default_s)
        with pytest.MonkeyPatch.context() as patch:
            recorder = Recorder(patch)
            given = await results(times * [pieces], hot=True)
        other = await results(recorder.conversations, hot=False)
        for served in recorder.conversations:
            assert b"".join(served) == b"".join(pieces)[: len(b"".join(served))]
        if not closing:
            given, other = ((CLOSING.sub(b"", one[0]), *one[1:]) for one in (given, other))
        assert given == other, pieces
    assert recorder.direct <= recorder.hot
    return recorder.hot


@pytest.mark.parametrize("name", CORPUS)
async def test_the_same_answers_however_the_bytes_are_cut(name: str) -> None:
    message = CORPUS[name]
    await both([message], times=2)
    for at in range(1, len(message), 1 + len(message) // CUTS_MAX):
        await both([message[:at], message[at:]])
    await both([message[at : at + 1] for at in range(len(message))])


async def test_the_same_answers_to_any_conversation() -> None:
    random = Random(13)
    messages = list(CORPUS.values())
    hot = 0
    for _ in range(400):
        pieces, _clean = any_conversation(random)
        # Pages that list this test's own tasks; and streams and watches, whose heads are sent when a thread has read
        # something, before or behind the end of the client's side, which they tell.
        if not any(text in b"".join(pieces) for text in (b"/debug", b":export", b":watch")):
            # An answer that a thread has part in is made before or behind the end of the client's side, by chance.
            hot += await both(pieces, times=random.choice([1, 2]), closing=False)
        data = b"".join(random.choices(messages, k=random.choice([1, 2, 3])))
        if random.random() < 0.6:
            data = mutated(random, data)
        cuts = sorted(random.randrange(len(data) + 1) for _ in range(random.randrange(4)))
        cut = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True) if a < b]
        hot += await both(cut, times=random.choice([1, 2]))
    assert hot > 200


@pytest.mark.parametrize("name", ["document", "raw, in halves", "absent", "bodies", "probe", "keys"])
async def test_what_is_known_is_served_in_halves_with_the_same_answers(name: str) -> None:
    """Behind one more of the same conversation, cut wherever there is a request behind the cut."""
    message = CORPUS[name] * 2
    with pytest.MonkeyPatch.context() as patch:
        recorder = Recorder(patch)
        given = await results([[message], [message]], hot=True)
    assert recorder.direct >= 1
    assert given == await results(recorder.conversations, hot=False)
    for at in range(1, len(message), 41):
        await both([message[:at], message[at:]], times=2)


async def test_a_key_counts_among_the_header_lines() -> None:
    lines = b"".join(b"X-%d: y\r\n" % number for number in range(HEADERS_MAX - 3))
    key = b"Idempotency-Key: k\r\n"
    for some in (lines, lines.removesuffix(b"X-%d: y\r\n" % (HEADERS_MAX - 4))):
        await both([put(DOCUMENT + b"a", b"{}", some) + put(DOCUMENT + b"a", b"{}", some + key)], times=2)
