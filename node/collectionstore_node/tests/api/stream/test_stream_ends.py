"""How a stream ends: by the client, in the middle, and when the node stops."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from collectionstore_node.api import ApiServer
from collectionstore_node.api.stream import execution
from collectionstore_node.api.stream.flight import Flight
from collectionstore_node.api.stream.operations import Answer
from collectionstore_node.api.stream.rendering import put_answer
from collectionstore_node.api.stream.session import Session
from collectionstore_node.api.stream.websocket import Close
from collectionstore_node.service import StoreLimits
from collectionstore_node.statemachine.commands import Command, KeyRef, Put
from collectionstore_node.tests.api.http_clients import Client
from collectionstore_node.tests.api.in_memory_connection import TURNS, MemoryPort, turns
from collectionstore_node.tests.api.memory_replica import MemoryReplica, RecordedMetrics
from collectionstore_node.tests.api.stream.conftest import OpenRaw
from collectionstore_node.tests.api.stream.frames import BINARY, CLOSE, frame, handshake, until
from collectionstore_node.tests.api.stream.stream_clients import StreamClient

PUT = {"op": "put_document", "collection": "people"}


async def test_a_client_closes(stream: StreamClient, metrics: RecordedMetrics) -> None:
    await stream.close()

    assert stream.socket.close_code == 1000
    assert metrics.streams_closed == {"normal": 1}


async def test_writes_of_a_client_that_has_gone_run_to_their_end(
    people: Client, open_raw: OpenRaw, replica: MemoryReplica, metrics: RecordedMetrics
) -> None:
    """It cannot know their outcome; they are applied, or not, and give back their places."""
    replica.hold = asyncio.Event()
    stream = await open_raw()
    operation = b"\x91" + _packed(PUT | {"tag": 1, "id": "ada", "document": b'{"n":1}'})
    await stream.send(frame(BINARY, operation))
    await until(lambda: metrics.read_stream_operations())
    await stream.abort()
    await until(lambda: not metrics.read_streams())

    replica.hold.set()

    assert metrics.streams_closed == {"lost": 1}
    assert (await _document(people, "ada")) == {"n": 1}
    assert metrics.read_inflight() == 0
    assert ("/api/v1/stream", "put_document", 201) in metrics.finished


async def test_a_stopping_node_answers_what_it_has_taken(
    people_stream: StreamClient, replica: MemoryReplica, server: ApiServer, metrics: RecordedMetrics
) -> None:
    """And says how much that was: what a client sent behind it was not executed, and is safe to repeat."""
    replica.hold = asyncio.Event()
    replica.entered.clear()
    await people_stream.send(*(PUT | {"tag": tag, "id": f"p{tag}", "document": {}} for tag in range(2)))
    await replica.entered.wait()

    server.pre_shutdown()
    stopping = asyncio.ensure_future(server.shutdown(5.0))
    assert await people_stream.item() == {"event": "draining", "accepted": 2}
    await people_stream.send(PUT | {"tag": 9, "id": "late", "document": {}})
    replica.hold.set()

    assert set(await people_stream.answers(2)) == {0, 1}
    assert await people_stream.closed() == (1001, "the node is stopping")
    await stopping
    assert metrics.streams_closed == {"going_away": 1}
    assert {one.action.ref.id for one in replica.proposed[1:]} == {"p0", "p1"}  # type: ignore[union-attr]


async def test_a_stopping_node_closes_idle_streams_at_once(people_stream: StreamClient, server: ApiServer) -> None:
    server.pre_shutdown()
    stopping = asyncio.ensure_future(server.shutdown(60.0))

    assert await people_stream.item() == {"event": "draining", "accepted": 0}
    assert (await people_stream.closed())[0] == 1001
    await people_stream.close()
    await asyncio.wait_for(stopping, 10)


async def test_a_stopping_node_hears_the_answer_to_its_close_frame() -> None:
    """And closes the connection, as a server does first (RFC 6455 7.1.1), without waiting for `CLOSE_S`."""
    port = MemoryPort(hot=True, store_limits=StoreLimits())
    transport = await port.connect()
    await port.send(transport, [handshake()])

    stopping = asyncio.ensure_future(port.close())
    await turns(TURNS)
    assert _frames(transport.written) == ["hello", "draining", 1001]
    assert not transport.closing
    await port.send(transport, [frame(CLOSE, b"\x03\xe9")])

    assert transport.closing
    await stopping


async def test_a_slow_client_of_a_stopping_node_gets_its_answers_before_the_close_frame() -> None:
    """`draining` promises them, and what comes behind a close frame is not read."""
    port = MemoryPort(hot=True, store_limits=StoreLimits())
    await port.seed()
    await port.replica.propose(Command(Put(KeyRef("b", "large"), bytes(40 << 10))), timeout_s=1)
    port.replica.hold = asyncio.Event()
    transport = await port.connect(room=1 << 10)
    write = PUT | {"tag": 1, "id": "ada", "document": b"{}"}
    read = {"op": "get_value", "tag": 2, "bucket": "b", "key": "large"}
    await port.send(transport, [handshake(), frame(BINARY, b"\x91" + _packed(write)), frame(BINARY, _packed(read))])
    assert transport.paused

    stopping = asyncio.ensure_future(port.close())
    port.replica.hold.set()
    await turns(TURNS)
    transport.read(1 << 20)
    await turns(TURNS)
    transport.lose()
    await stopping

    assert _frames(transport.written) == ["hello", [2], "draining", [1], 1001]
    assert port.metrics.streams_closed == {"going_away": 1}


async def test_write_that_can_be_given_no_answer_ends_its_own_stream_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Step: two streams write, both outcomes come together, and a bug keeps the first from any answer."""
    port = MemoryPort(hot=True, store_limits=StoreLimits())
    await port.seed()
    port.replica.hold = asyncio.Event()
    broken, other = await port.connect(), await port.connect()
    for tag, transport in ((1, broken), (2, other)):
        write = PUT | {"tag": tag, "id": f"p{tag}", "document": b"{}"}
        await port.send(transport, [handshake(), frame(BINARY, b"\x91" + _packed(write))])
    render, problem = put_answer, Session._problem

    def rendered(tag: int, *outcome: Any) -> Answer:
        if tag == 1:
            raise RuntimeError("the answer cannot be made")
        return render(tag, *outcome)

    def refused(session: Session, flight: Flight, error: Exception) -> Answer:
        if flight.operation.tag == 1:
            raise RuntimeError("nor its problem")
        return problem(session, flight, error)

    monkeypatch.setattr(execution, "put_answer", rendered)
    monkeypatch.setattr(Session, "_problem", refused)
    port.replica.hold.set()
    await turns(TURNS)

    assert _frames(other.written) == ["hello", [2]]
    assert broken.closing
    assert _frames(broken.written) == ["hello"]
    assert port.metrics.read_inflight() == 0
    assert port.store.stream_writes.inflight == 0
    other.lose()
    await port.close()


async def test_nothing_follows_a_close_frame() -> None:
    """RFC 6455 5.5.1: what its client has not taken by then is unknown to it."""
    port = MemoryPort(hot=True, store_limits=StoreLimits())
    await port.replica.propose(Command(Put(KeyRef("b", "large"), bytes(40 << 10))), timeout_s=1)
    port.replica.hold = asyncio.Event()
    transport = await port.connect(room=1 << 10)
    write = {"op": "put_value", "tag": 1, "bucket": "b", "key": "k", "value": b"v"}
    read = {"op": "get_value", "tag": 2, "bucket": "b", "key": "large"}
    await port.send(transport, [handshake(), frame(BINARY, _packed(write)), frame(BINARY, _packed(read))])
    port.replica.hold.set()
    await turns(TURNS)
    session = transport.protocol._payload_parser  # type: ignore[attr-defined]
    assert session.waiting

    session.close(Close.POLICY, "a test")
    transport.read(1 << 20)
    await turns(TURNS)
    transport.lose()
    await port.close()

    assert _frames(transport.written) == ["hello", [2], 1008]
    assert port.metrics.read_unsent() == 0


async def test_a_stopping_node_does_not_wait_for_ever(
    open_raw: OpenRaw, replica: MemoryReplica, server: ApiServer, metrics: RecordedMetrics
) -> None:
    """For an operation that is not decided, of a client that does not close."""
    replica.hold = asyncio.Event()
    stream = await open_raw()
    await stream.send(frame(BINARY, b"\x91" + _packed({"op": "create_collection", "tag": 1, "collection": "c"})))
    await until(lambda: metrics.read_stream_operations())

    server.pre_shutdown()
    await asyncio.wait_for(server.shutdown(0.05), 10)

    await stream.ended()
    assert metrics.read_streams() == 0
    replica.hold.set()


async def test_the_code_of_the_client_is_answered(open_raw: OpenRaw) -> None:
    stream = await open_raw()
    await stream.send(frame(CLOSE, b"\x03\xe8bye"))

    assert await stream.closed() == (1000, "")
    await stream.ended()


async def _document(client: Client, name: str) -> object:
    while True:
        reply = await client.get(f"/api/v1/collections/people/documents/{name}")
        if reply.status != 404:
            return reply.json


def _frames(written: bytes) -> list[str | list[int] | int]:
    """Return what a server sent on a stream: names of events, tags of each message of answers, the code of its end."""
    _, _, data = written.partition(b"\r\n\r\n")
    found: list[str | list[int] | int] = []
    while data:
        size, head = data[1], 2
        if size >= 126:
            head = 4 if size == 126 else 10
            size = int.from_bytes(data[2:head])
        payload, data, opcode = data[head : head + size], data[head + size :], data[0] & 15
        if opcode == CLOSE:
            found.append(int.from_bytes(payload[:2]))
            continue
        items = msgspec.msgpack.decode(payload)
        found += [one["event"] for one in items if "event" in one]
        if tags := [one["tag"] for one in items if "tag" in one]:
            found.append(tags)
    return found


def _packed(operation: dict[str, object]) -> bytes:
    return msgspec.msgpack.encode(operation)
