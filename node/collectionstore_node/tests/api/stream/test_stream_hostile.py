"""Clients that break the rules: each is closed with a code, or answered, and holds nothing afterwards."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import msgspec
import pytest
from aiohttp.base_protocol import BaseProtocol

from collectionstore_node.api.budgets.clients import Clients
from collectionstore_node.api.budgets.uploads import Uploads
from collectionstore_node.api.stream import settings
from collectionstore_node.api.stream.codec import CODECS
from collectionstore_node.api.stream.endpoint import StreamEndpoint
from collectionstore_node.api.stream.incoming import Incoming
from collectionstore_node.api.stream.operations import (
    JsonInsertDocument,
    JsonPutDocument,
    JsonTransaction,
    payload_bytes,
)
from collectionstore_node.tests.api.memory_replica import MemoryReplica, RecordedMetrics
from collectionstore_node.tests.api.stream.conftest import Open, OpenRaw
from collectionstore_node.tests.api.stream.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    FIN,
    PING,
    PONG,
    RSV1,
    TEXT,
    frame,
    until,
)
from collectionstore_node.tests.api.stream.stream_clients import JSON, MSGPACK, StreamClient

GET = {"op": "get_value", "bucket": "b", "key": "k"}
PUT = {"op": "put_value", "bucket": "b", "key": "k"}


def packed(*operations: Any) -> bytes:
    return msgspec.msgpack.encode(list(operations))


@pytest.fixture
async def endpoint(monkeypatch: pytest.MonkeyPatch) -> list[StreamEndpoint]:
    """The endpoints of the servers that are made after this."""
    made: list[StreamEndpoint] = []
    original = StreamEndpoint.__init__

    def noted(self: StreamEndpoint, *given: Any) -> None:
        original(self, *given)
        made.append(self)

    monkeypatch.setattr(StreamEndpoint, "__init__", noted)
    return made


# Messages


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\xc1",
        b"\x91",
        b"\x91\xc0",
        b"\xdd\x00\x00",
        packed(1),
        packed([]),
        packed({"op": "get_value"}),
        packed({"tag": "1"}),
        packed({"tag": -(1 << 63), "tag2": 1}, 7),
        packed(GET | {"tag": 1}) + b"\x00",
        b"\x91" * 100_000,
        msgspec.msgpack.encode("put"),
        b"\xff" * 1000,
    ],
)
async def test_a_message_without_tags_ends_the_stream(
    stream: StreamClient, message: bytes, metrics: RecordedMetrics
) -> None:
    await stream.send_message(message)

    code, reason = await stream.closed()

    assert (code, bool(reason)) == (1007, True)
    assert metrics.streams_closed == {"invalid_payload": 1}
    assert metrics.read_stream_operations() == 0


@pytest.mark.parametrize(
    "message", [b"", b"{", b"[]", b'{"op":"get_value"}', b"\n\n", b'{"tag":1}x', b"7", b"[" * 9999]
)
async def test_text_without_tags_ends_the_stream(open_stream: Open, message: bytes) -> None:
    stream = await open_stream(JSON)
    await stream.send_message(message)

    assert (await stream.closed())[0] == 1007


@pytest.mark.parametrize(
    ("operation", "hint"),
    [
        ({"op": "get_value", "bucket": "b"}, "key"),
        (GET | {"id": "k"}, "id"),
        (GET | {"idempotency_key": "k"}, "idempotency_key"),
        ({"op": "nonsense"}, "op"),
        ({}, "op"),
        (GET | {"consistency": "eventual"}, "consistency"),
        (GET | {"timeout_ms": "5s"}, "timeout_ms"),
        (PUT | {"value": "text"}, "value"),
        (GET | {"request_id": "x" * (settings.LABEL_MAX + 1)}, "request_id"),
        (GET | {"traceparent": "x" * (settings.LABEL_MAX + 1)}, "traceparent"),
        (PUT | {"value": b"", "if_revision": 0}, "if_revision"),
        (PUT | {"value": b"", "if_revision": []}, "if_revision"),
        (PUT | {"value": b"", "if_revision": list(range(1, 99))}, "if_revision"),
        (PUT | {"value": b"", "if_revision": 1, "if_exists": True}, "if_exists"),
        (GET | {"if_revision": 1 << 63}, "if_revision"),
    ],
)
async def test_a_wrong_operation_is_answered_and_the_others_run(
    stream: StreamClient, operation: dict[str, Any], hint: str, metrics: RecordedMetrics
) -> None:
    """Also a field that another operation has: it is not ignored."""
    await stream.send_message(packed(GET | {"tag": 1}, operation | {"tag": 2}, GET | {"tag": 3}))

    answers = await stream.answers(3)

    assert [answers[tag]["status"] for tag in (1, 2, 3)] == [404, 400, 404]
    problem = answers[2]["body"]
    assert problem["code"] in ("invalid_body", "invalid_precondition")
    assert hint in problem["detail"]
    assert (problem["outcome"], problem["retryable"]) == ("not_applied", False)


@pytest.mark.parametrize("timeout_ms", [b"0", b"-1", b"60001", b"9" * 400])
async def test_a_timeout_out_of_range_is_answered(open_stream: Open, timeout_ms: bytes) -> None:
    """Integers of JSON have no bound of their own."""
    stream = await open_stream(JSON)
    await stream.send_message(b'{"op":"get_value","tag":1,"bucket":"b","key":"k","timeout_ms":%s}' % timeout_ms)

    answer = await stream.item()

    assert (answer["status"], answer["body"]["code"]) == (400, "invalid_parameter")


@pytest.mark.parametrize("tag", [-1, (1 << 53), (1 << 62)])
async def test_a_tag_out_of_range_is_answered(stream: StreamClient, tag: int) -> None:
    await stream.send(GET | {"tag": tag})

    answer = await stream.item()

    assert (answer["tag"], answer["body"]["code"]) == (tag, "invalid_body")


async def test_a_document_in_the_other_form_is_refused(people_stream: StreamClient) -> None:
    """In msgpack a document is JSON text, not a map: the store would have to choose its text."""
    await people_stream.send_message(
        packed({"op": "put_document", "tag": 1, "collection": "people", "id": "a", "document": {"n": 1}})
    )

    assert (await people_stream.item())["body"]["code"] == "invalid_body"


@pytest.mark.parametrize(("protocol", "opcode"), [(MSGPACK, TEXT), (JSON, BINARY)])
async def test_the_other_kind_of_message_ends_the_stream(open_raw: OpenRaw, protocol: str, opcode: int) -> None:
    stream = await open_raw(protocol)
    await stream.send(frame(opcode, packed(GET | {"tag": 1}) if protocol == JSON else b"{}"))

    assert (await stream.closed())[0] == 1003


# Credits


async def test_more_operations_than_credits_end_the_stream(
    stream: StreamClient, replica: MemoryReplica, metrics: RecordedMetrics
) -> None:
    count = settings.OPERATIONS_MAX + 1
    await stream.send(*(GET | {"tag": tag} for tag in range(count)))

    assert await stream.closed() == (4000, "at most 1024 operations may be in flight")
    assert replica.barriers == 0
    assert metrics.read_stream_operations() == 0


@pytest.mark.parametrize("protocol", [MSGPACK, JSON])
async def test_a_hundred_thousand_operations_are_not_decoded(open_stream: Open, protocol: str) -> None:
    stream = await open_stream(protocol)
    await stream.send_message(b"\xdd\x00\x01\x86\xa0" + b"\x80" * 100_000 if protocol == MSGPACK else b"{}\n" * 100_000)

    assert (await stream.closed())[0] == 4000


@pytest.mark.parametrize(
    ("op", "field"),
    [
        (b'"put_document","collection":"c","id":"i"', b"document"),
        (b'"insert_document","collection":"c"', b"document"),
        (b'"transaction"', b"transaction"),
    ],
)
def test_an_operation_in_flight_keeps_no_more_than_is_counted(op: bytes, field: bytes) -> None:
    """White space around a document takes no credit: a thousand operations could hold two gibibytes of it."""
    line = b'{"op":%s,"tag":1,%s"%s":{"a":1}}' % (op, b" " * (1 << 20), field)
    before = sys.getrefcount(line)

    (part,) = CODECS[JSON].decode(line, 1)
    assert isinstance(part, bytes)
    operation = CODECS[JSON].complete(part)
    del part

    assert isinstance(operation, JsonPutDocument | JsonInsertDocument | JsonTransaction)
    assert payload_bytes(operation) == len(b'{"a":1}')
    assert sys.getrefcount(line) == before


async def test_more_bytes_than_credits_end_the_stream(
    open_stream: Open, replica: MemoryReplica, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "OPERATION_BYTES_MAX", 100_000)
    replica.hold = asyncio.Event()
    stream = await open_stream()
    await stream.send(*(PUT | {"tag": tag, "value": b"x" * 60_000} for tag in range(2)))

    assert await stream.closed() == (4000, "at most 100000 bytes may be in flight")
    replica.hold.set()


async def test_a_tag_in_flight_ends_the_stream(
    stream: StreamClient, replica: MemoryReplica, metrics: RecordedMetrics
) -> None:
    """What was taken before runs to its end; the client does not hear of it."""
    replica.hold = asyncio.Event()
    await stream.send(PUT | {"tag": 5, "value": b"1"}, PUT | {"tag": 5, "value": b"2"})

    assert (await stream.closed())[0] == 4001
    assert metrics.read_stream_operations() == 1
    replica.hold.set()
    await until(lambda: not metrics.read_stream_operations())
    assert [one.action.value for one in replica.proposed] == [b"1"]  # type: ignore[union-attr]


# Frames


@pytest.mark.parametrize(
    "data",
    [
        frame(BINARY, packed(GET | {"tag": 1}), first=FIN | RSV1),
        frame(3, b"reserved"),
        frame(CONTINUATION, b"of nothing"),
        frame(BINARY, b"a", first=0) + frame(BINARY, b"b"),
        frame(PING, b"x" * 126),
        frame(PING, b"x", first=0),
        b"\x00" * 64,
        b"GET / HTTP/1.1\r\n\r\n",
    ],
    ids=["compressed", "reserved opcode", "continuation", "two messages", "long ping", "cut ping", "zeros", "http"],
)
async def test_bytes_that_are_no_frames_end_the_stream(
    open_raw: OpenRaw, data: bytes, metrics: RecordedMetrics
) -> None:
    stream = await open_raw()
    await stream.send(data)

    assert (await stream.closed())[0] == 1002
    await stream.send(frame(CLOSE, b"\x03\xea"))
    await stream.ended()
    assert metrics.streams_closed == {"protocol_error": 1}


async def test_a_message_that_is_announced_too_large_ends_the_stream(open_raw: OpenRaw) -> None:
    stream = await open_raw()
    await stream.send(frame(BINARY, b"x" * 10, size=settings.MESSAGE_BYTES_MAX + 1))

    assert (await stream.closed())[0] == 1009


async def test_fragments_become_one_message(open_raw: OpenRaw) -> None:
    message = packed(GET | {"tag": 1})
    stream = await open_raw()
    await stream.send(
        frame(BINARY, message[:5], first=0), frame(PING, b"between"), *(
            frame(CONTINUATION, bytes((byte,)), first=0) for byte in message[5:-1]
        ), frame(CONTINUATION, message[-1:]),
    )  # fmt: skip

    assert await stream.frame() == (PONG, b"between")
    assert msgspec.msgpack.decode((await stream.frame())[1])[0]["status"] == 404


async def test_fragments_without_end_end_the_stream(open_raw: OpenRaw) -> None:
    stream = await open_raw()
    piece = frame(CONTINUATION, b"x" * 60_000, first=0)

    await stream.send(frame(BINARY, b"x", first=0))
    task = asyncio.ensure_future(stream.closed())
    while not task.done():
        stream.writer.write(piece)
        await asyncio.sleep(0)

    # The receiving budget of these tests is smaller than a message may be.
    assert (await task)[0] == 1013


async def test_empty_fragments_without_end_end_the_stream(open_raw: OpenRaw, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "MESSAGE_BYTES_MAX", 32 << 10)
    stream = await open_raw()
    await stream.send(frame(BINARY, b"", first=0))

    task = asyncio.ensure_future(stream.closed())
    while not task.done():
        stream.writer.write(frame(CONTINUATION, b"", first=0) * 1000)
        await asyncio.sleep(0)

    assert await task == (1009, "more framing than message")


async def test_of_thousands_of_pings_in_one_read_the_newest_are_answered(open_raw: OpenRaw) -> None:
    """RFC 6455 5.5.3: one pong may answer several pings."""
    stream = await open_raw()
    await stream.send(frame(PING) * 5_000 + frame(PING, b"last"))

    pongs = 0
    while await stream.frame() != (PONG, b"last"):
        pongs += 1
    assert pongs < 500


async def test_a_wrong_operation_in_a_large_message_ends_the_stream(
    stream: StreamClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To look at each of its operations would hold the event loop for as long again."""
    monkeypatch.setattr(settings, "LENIENT_BYTES_MAX", 50_000)
    message = packed(PUT | {"tag": 1, "value": bytes(settings.LENIENT_BYTES_MAX)}, {"op": "nonsense", "tag": 2})
    await stream.send_message(message)

    assert (await stream.closed())[0] == 1007


def lines(count: int, *last: bytes) -> bytes:
    """Return a large message in JSON of that many writes, and the `last` lines."""
    values = (
        b'{"op":"put_value","tag":%d,"bucket":"b","key":"k%d","value":"%s"}' % (at, at, b"A" * 1024)
        for at in range(count)
    )
    return b"\n".join([*values, *last])


async def test_nothing_of_a_large_message_is_executed_when_its_last_line_is_none(
    open_stream: Open, replica: MemoryReplica
) -> None:
    """It is decoded in several turns of the loop, and none of its operations is taken before the last one."""
    stream = await open_stream(JSON)
    before = replica.revision
    message = lines(200, b"no operation")
    assert len(message) > 3 * settings.DECODED_AT_ONCE_BYTES

    await stream.send_message(message)

    assert (await stream.closed())[0] == 1007
    assert replica.revision == before


async def test_a_large_message_of_lines_is_answered_line_by_line(open_stream: Open) -> None:
    """Those behind it wait, in order; a wrong line with a tag is the answer to that one."""
    stream = await open_stream(JSON)
    await stream.send_message(lines(200, b'{"op":"nonsense","tag":500}'))
    await stream.send({"op": "get_value", "tag": 501, "bucket": "b", "key": "absent"})

    answers = await stream.answers(202)

    assert {answers[tag]["status"] for tag in range(200)} == {201}
    assert (answers[500]["status"], answers[501]["status"]) == (400, 404)


class Reading:
    """The stream as its `Incoming` needs it, with nothing in flight."""

    operations = 0
    closing = draining = False

    def __init__(self) -> None:
        self.closed: list[tuple[int, str]] = []

    def close(self, code: int, reason: str) -> None:
        self.closed.append((code, reason))

    def ping(self, payload: bytes) -> None:
        raise AssertionError

    client_closed = hang_up = ping


async def test_a_step_of_a_large_message_is_one_line() -> None:
    loop = asyncio.get_running_loop()
    owner, client = Reading(), Clients(8).connected("192.0.2.1")
    uploads = Uploads(1 << 30, 8, loop.time)
    incoming = Incoming(owner, BaseProtocol(loop), CODECS[JSON], client, uploads, loop)  # type: ignore[arg-type]
    message = lines(300)
    incoming.add(frame(TEXT, message))

    worked: list[int] = []
    while (step := incoming.work()) is not None:
        worked.append(step)
        assert not incoming.pending or sum(worked) >= len(message) - 300

    assert sum(one > 0 for one in worked) == 300
    assert max(worked) < 2048
    assert [one.tag for one in incoming.pending] == list(range(300))
    assert incoming.accepted == 300
    assert not owner.closed


async def test_a_stopping_node_takes_nothing_of_a_message_that_it_is_decoding() -> None:
    loop = asyncio.get_running_loop()
    owner, client = Reading(), Clients(8).connected("192.0.2.1")
    incoming = Incoming(
        owner,  # type: ignore[arg-type]
        BaseProtocol(loop),
        CODECS[JSON],
        client,
        Uploads(1 << 30, 8, loop.time),
        loop,
    )
    incoming.add(frame(TEXT, lines(300)))
    while not incoming.work():
        pass

    incoming.refuse_messages()

    assert incoming.work() is None
    assert (incoming.accepted, len(incoming.pending), incoming.waits) == (0, 0, False)


# Slow clients


async def test_a_message_that_arrives_too_slowly_ends_the_stream(
    endpoint: list[StreamEndpoint], open_raw: OpenRaw, metrics: RecordedMetrics
) -> None:
    stream = await open_raw()
    await stream.send(frame(BINARY, b"x" * 20_000, size=100_000))
    await until(lambda: not metrics.read_arriving() < 20_000)
    assert metrics.read_uploads() == 1

    _sweep(endpoint, 6.0)
    assert metrics.read_uploads() == 1
    _sweep(endpoint, 12.0)

    assert (await stream.closed())[0] == 1008
    assert (metrics.read_arriving(), metrics.read_uploads()) == (0, 0)
    assert metrics.streams_closed == {"policy": 1}


async def test_messages_that_arrive_have_a_budget(open_raw: OpenRaw, metrics: RecordedMetrics) -> None:
    """The receiving budget of these tests is 300,000 bytes, for all connections."""
    streams = [await open_raw() for _ in range(4)]
    for one in streams:
        await one.send(frame(BINARY, b"x" * 90_000, size=1 << 20))

    closed = [asyncio.ensure_future(one.closed()) for one in streams]
    done, _ = await asyncio.wait(closed, return_when=asyncio.FIRST_COMPLETED, timeout=10)

    assert [one.result()[0] for one in done] == [1013]
    assert metrics.read_arriving() <= 300_000
    for one in streams:
        await one.abort()
    await asyncio.gather(*closed, return_exceptions=True)


async def test_a_silent_client_is_pinged_and_then_closed(
    endpoint: list[StreamEndpoint], open_raw: OpenRaw, metrics: RecordedMetrics
) -> None:
    stream = await open_raw()

    _sweep(endpoint, settings.PING_S)
    assert await stream.frame() == (PING, b"")
    await stream.send(frame(PONG))
    await stream.send(frame(PING, b"!"))
    assert await stream.frame() == (PONG, b"!")
    _sweep(endpoint, settings.SILENCE_S - 1)
    assert await stream.frame() == (PING, b"")
    _sweep(endpoint, settings.SILENCE_S)
    assert (await stream.closed())[0] == 1008
    _sweep(endpoint, settings.SILENCE_S + settings.CLOSE_S + 1)
    await stream.ended()
    assert metrics.streams_closed == {"policy": 1}


async def test_a_client_that_does_not_read_is_not_read_from(
    endpoint: list[StreamEndpoint], open_raw: OpenRaw, metrics: RecordedMetrics
) -> None:
    """Its answers are counted, its operations wait, and it is cut when it takes nothing for ten seconds."""
    stream = await open_raw()
    value = b"x" * (120 << 10)
    await stream.send(frame(BINARY, packed(PUT | {"tag": 1, "value": value})))
    await stream.frame()
    stream.writer.transport.pause_reading()  # type: ignore[attr-defined]

    (session,) = endpoint[-1].streams.sessions
    for first in range(0, 4_000, 8):
        many = packed(*(GET | {"tag": first + tag, "consistency": "stale"} for tag in range(8)))
        stream.writer.write(frame(BINARY, many))
        await asyncio.sleep(0)
        if session.waiting and metrics.read_unsent():
            break
    assert 0 < metrics.read_unsent() < 3 << 20
    assert session.operations <= settings.OPERATIONS_MAX

    _budgets(endpoint, 11.0)

    assert metrics.cuts["slow_read"] + metrics.cuts["evicted_read"] == 1
    await until(lambda: not metrics.read_streams() and not metrics.read_stream_operations())
    assert metrics.read_unsent() == 0
    assert metrics.streams_closed == {"lost": 1}


def _sweep(endpoints: list[StreamEndpoint], later_s: float) -> None:
    """Let every stream and every budget believe that `later_s` have passed."""
    now = asyncio.get_running_loop().time() + later_s
    for one in endpoints:
        one.sweep(now)
    _budgets(endpoints, later_s)


def _budgets(endpoints: list[StreamEndpoint], later_s: float) -> None:
    for one in endpoints:
        one.streams.api.budgets.sweep(asyncio.get_running_loop().time() + later_s)
