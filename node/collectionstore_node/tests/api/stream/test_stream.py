"""Operations, their answers, and the bounds of honest clients."""

from __future__ import annotations

import asyncio
from dataclasses import fields
from typing import Any

import pytest

from collectionstore_node.api import ApiServer, HttpLimits
from collectionstore_node.api.budgets.clients import Clients
from collectionstore_node.api.stream import flight, settings
from collectionstore_node.api.stream.admission import Admission
from collectionstore_node.errors import (
    LeadershipTransferring,
    NodeError,
    NotLeader,
    OutcomeUnknown,
    Overloaded,
    ReadTimedOut,
)
from collectionstore_node.ports import LOOPBACK
from collectionstore_node.replica.settings import ReplicaSettings
from collectionstore_node.service import Store, StoreLimits
from collectionstore_node.tests.api.http_clients import Client
from collectionstore_node.tests.api.memory_replica import MemoryReplica, RecordedMetrics
from collectionstore_node.tests.api.stream.conftest import Open
from collectionstore_node.tests.api.stream.stream_clients import JSON, MSGPACK, StreamClient


async def test_the_server_begins_with_its_limits(stream: StreamClient) -> None:
    hello = stream.hello

    assert (hello["event"], hello["protocol"], hello["node"], hello["cluster_id"]) == ("hello", 1, "shop-0", "shop")
    assert hello["limits"] == {
        "message_bytes": settings.MESSAGE_BYTES_MAX,
        "operations": settings.OPERATIONS_MAX,
        "operation_bytes": settings.OPERATION_BYTES_MAX,
        "document_bytes": 64 << 10,
        "value_bytes": 128 << 10,
        "transaction_bytes": 256 << 10,
        "timeout_ms": 60_000,
    }
    assert StoreLimits().value_bytes_max * 4 // 3 < settings.MESSAGE_BYTES_MAX
    assert HttpLimits().transaction_bytes_max < settings.MESSAGE_BYTES_MAX
    (waiting_max,) = (one.default for one in fields(ReplicaSettings) if one.name == "waiting_max")
    assert isinstance(waiting_max, int)
    assert settings.ALL_OPERATIONS_MAX + StoreLimits().inflight_requests_max < waiting_max


@pytest.mark.parametrize("protocol", [MSGPACK, JSON])
async def test_a_document_is_written_and_read(people: Client, open_stream: Open, protocol: str) -> None:
    stream = await open_stream(protocol)

    put = await stream.ask("put_document", collection="people", id="ada", document={"name": "Ada"})
    got = await stream.ask("get_document", collection="people", id="ada")

    assert put == {"tag": 7, "status": 201, "revision": 2}
    assert got == {"tag": 7, "status": 200, "revision": 2, "etag": 2, "body": {"name": "Ada"}}
    assert (await people.get("/api/v1/collections/people/documents/ada")).json == {"name": "Ada"}


async def test_a_document_keeps_its_text(people_stream: StreamClient, people: Client) -> None:
    """The digits of its numbers, its escapes and the order of its names; white space between tokens goes."""
    text = b'{ "b": 1234567890.12345678901234567890, "a": "\\u00e9" }'
    await people_stream.ask("put_document", collection="people", id="n", document=text)

    stored = await people.get("/api/v1/collections/people/documents/n")

    assert stored.body == b'{"b":1234567890.12345678901234567890,"a":"\\u00e9"}'


async def test_a_single_operation_needs_no_list(people_stream: StreamClient) -> None:
    message = people_stream.encode({"op": "get_collection", "tag": 3, "collection": "people"})
    assert message[0] == 0x91
    await people_stream.send_message(message[1:])

    assert await people_stream.item() == {"tag": 3, "status": 200, "revision": 1, "etag": 1}


async def test_answers_of_one_turn_share_a_message(people_stream: StreamClient) -> None:
    before = people_stream.messages
    await people_stream.send(
        *({"op": "put_document", "tag": n, "collection": "people", "id": f"p{n}", "document": {}} for n in range(8))
    )

    answers = await people_stream.answers(8)

    assert {one["status"] for one in answers.values()} == {201}
    assert people_stream.messages - before == 1


async def test_reads_of_a_message_share_one_confirmation(people_stream: StreamClient, replica: MemoryReplica) -> None:
    await people_stream.ask("put_document", collection="people", id="ada", document={"n": 1})
    before = replica.barriers

    await people_stream.send(
        *({"op": "get_document", "tag": tag, "collection": "people", "id": "ada"} for tag in range(6)),
        {"op": "get_document", "tag": 6, "collection": "people", "id": "ada", "consistency": "stale"},
    )
    answers = await people_stream.answers(7)

    assert {one["status"] for one in answers.values()} == {200}
    assert replica.barriers - before == 1


async def test_an_operation_does_not_wait_for_another(people_stream: StreamClient, replica: MemoryReplica) -> None:
    """A read overtakes a write that is not decided, whatever their order."""
    replica.hold = asyncio.Event()
    await people_stream.send(
        {"op": "put_document", "tag": 1, "collection": "people", "id": "ada", "document": {}},
        {"op": "get_collection", "tag": 2, "collection": "people"},
    )

    first = await people_stream.item()
    replica.hold.set()
    second = await people_stream.item()

    assert [(one["tag"], one["status"]) for one in (first, second)] == [(2, 200), (1, 201)]


async def test_operations_are_counted_by_kind(
    people_stream: StreamClient, replica: MemoryReplica, metrics: RecordedMetrics
) -> None:
    assert (metrics.read_streams(), metrics.read_stream_operations()) == (1, 0)
    replica.hold = asyncio.Event()
    replica.entered.clear()
    await people_stream.send({"op": "put_value", "tag": 1, "bucket": "b", "key": "k", "value": b"x"})
    await replica.entered.wait()
    assert metrics.read_stream_operations() == 1
    replica.hold.set()
    await people_stream.item()
    await people_stream.ask("get_value", bucket="b", key="other")

    counted = [one for one in metrics.finished if one[0] == "/api/v1/stream"]

    assert counted == [
        ("/api/v1/stream", "GET", 101),
        ("/api/v1/stream", "put_value", 201),
        ("/api/v1/stream", "get_value", 404),
    ]
    assert metrics.problems["key_not_found"] == 1
    await people_stream.close()
    assert metrics.streams_closed == {"normal": 1}
    assert (metrics.read_streams(), metrics.read_stream_operations()) == (0, 0)


async def test_operations_in_flight_are_bounded_apart_from_requests(
    people: Client, people_stream: StreamClient, replica: MemoryReplica, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ninth is refused by itself, with the time to wait; the stream goes on, and requests find their places."""
    monkeypatch.setattr(settings, "ALL_OPERATIONS_MAX", 8)
    replica.hold = asyncio.Event()
    await people_stream.send(
        *({"op": "put_value", "tag": tag, "bucket": "b", "key": f"k{tag}", "value": b""} for tag in range(9))
    )

    refused = await people_stream.item()
    assert (refused["tag"], refused["status"]) == (8, 503)
    assert (refused["body"]["code"], refused["body"]["retry_after_ms"]) == ("overloaded", 1000)
    assert (await people.get("/api/v1/collections/people")).status == 200
    replica.hold.set()
    assert {one["status"] for one in (await people_stream.answers(8)).values()} == {201}
    assert (await people_stream.ask("put_value", bucket="b", key="k8", value=b""))["status"] == 201


async def test_writes_beyond_their_bound_are_refused_by_tag_with_the_time_to_wait(
    people: Client, people_stream: StreamClient, replica: MemoryReplica, store: Store
) -> None:
    """Refused is not applied; reads and the writes of requests have other bounds; an outcome makes room again."""
    store.stream_writes.limit = 2
    replica.hold = asyncio.Event()
    await people_stream.send(
        *({"op": "put_value", "tag": tag, "bucket": "b", "key": f"k{tag}", "value": b""} for tag in range(3)),
        {"op": "get_value", "tag": 3, "bucket": "b", "key": "k2"},
    )

    refused = await people_stream.answers(2)
    assert {tag: one["status"] for tag, one in refused.items()} == {2: 503, 3: 404}
    problem = refused[2]["body"]
    assert (problem["code"], problem["outcome"], problem["retryable"]) == ("overloaded", "not_applied", True)
    assert problem["retry_after_ms"] >= 500
    assert store.stream_writes.inflight == 2
    assert not store.writes.full
    replica.hold.set()
    assert {one["status"] for one in (await people_stream.answers(2)).values()} == {201}
    assert store.stream_writes.inflight == 0
    assert (await people_stream.ask("put_value", bucket="b", key="k2", value=b""))["status"] == 201
    assert store.stream_writes.refused == {"queue": 1, "deadline": 0, "overdue": 0}


async def test_large_writes_of_streams_have_the_same_bound(
    people: Client, people_stream: StreamClient, store: Store
) -> None:
    """A large document is checked in steps first, and proposed by another call."""
    store.stream_writes.limit = 0
    large = b'{"a":[' + b"1," * 20_000 + b"1]}"

    answer = await people_stream.ask("put_document", collection="people", id="a", document=large)

    assert (answer["status"], answer["body"]["code"]) == (503, "overloaded")
    assert store.stream_writes.inflight == 0


@pytest.mark.parametrize("error", [OutcomeUnknown("it is"), NotLeader(1)])
async def test_a_write_that_fails_makes_room_for_another_one(
    people: Client, people_stream: StreamClient, replica: MemoryReplica, store: Store, error: NodeError
) -> None:
    replica.write_error = error

    answer = await people_stream.ask("put_value", bucket="b", key="k", value=b"")

    assert answer["status"] in (503, 504)
    assert store.stream_writes.inflight == 0


def test_one_address_has_a_share_of_the_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "ADDRESS_OPERATIONS_MAX", 2)
    admission, one, other = Admission(), Clients(8).connected("192.0.2.1"), Clients(8).connected("192.0.2.2")
    local = Clients(8).connected(LOOPBACK)
    for client in (one, one, other, local, local, local):
        admission.enter(client)

    with pytest.raises(Overloaded, match="2 operations of your address"):
        admission.enter(one)

    with pytest.raises(Overloaded, match="2 operations of your address"):
        admission.enter(Clients(8).connected("192.0.2.1"))

    assert admission.inflight == 6
    admission.leave(one)
    admission.enter(one)


@pytest.mark.parametrize("error", [NotLeader(), LeadershipTransferring("moving")])
async def test_a_write_waits_for_the_next_leader(
    people_stream: StreamClient, replica: MemoryReplica, error: Exception
) -> None:
    """What was certainly not applied is proposed again, within the time of the operation."""
    replica.submit_errors = [error]

    answer = await people_stream.ask("put_document", collection="people", id="ada", document={}, timeout_ms=3000)

    assert answer["status"] == 201
    assert 2.0 < replica.timeouts_s[-1] <= 3.0


async def test_a_write_that_loses_its_leader_later_waits_for_the_next_one(
    people_stream: StreamClient, replica: MemoryReplica
) -> None:
    failed = asyncio.get_running_loop().create_future()
    failed.set_exception(NotLeader())
    replica.submitted = [failed]

    answer = await people_stream.ask("put_document", collection="people", id="ada", document={})

    assert answer["status"] == 201
    assert replica.proposed[-2:] == [replica.proposed[-1]] * 2


@pytest.mark.parametrize(
    ("error", "key", "status", "code", "retryable", "outcome"),
    [
        (OutcomeUnknown("late"), None, 504, "outcome_unknown", False, "unknown"),
        (OutcomeUnknown("late"), "key-1", 504, "outcome_unknown", True, "unknown"),
        (Overloaded("full"), None, 503, "overloaded", True, "not_applied"),
        (RuntimeError("a bug"), None, 500, "internal_error", False, "unknown"),
    ],
)
async def test_problems_say_what_is_known_of_the_outcome(
    people_stream: StreamClient,
    replica: MemoryReplica,
    error: Exception,
    key: str | None,
    status: int,
    code: str,
    retryable: bool,  # noqa: FBT001 - a column of the table
    outcome: str,
) -> None:
    replica.write_error = error
    fields = {} if key is None else {"idempotency_key": key}

    answer = await people_stream.ask("delete_value", bucket="b", key="k", request_id="mine", **fields)

    problem = answer["body"]
    assert (answer["status"], problem["status"], problem["code"]) == (status, status, code)
    assert (problem["retryable"], problem["outcome"], problem["request_id"]) == (retryable, outcome, "mine")


async def test_a_read_that_is_not_confirmed_reads_nothing(people_stream: StreamClient, replica: MemoryReplica) -> None:
    replica.read_error = ReadTimedOut("late")

    await people_stream.send(
        {"op": "get_document", "tag": 1, "collection": "people", "id": "a"},
        {"op": "get_value", "tag": 2, "bucket": "b", "key": "k"},
        {"op": "get_value", "tag": 3, "bucket": "b", "key": "k", "consistency": "stale"},
    )

    answers = await people_stream.answers(3)
    assert [answers[tag]["body"]["code"] for tag in (1, 2, 3)] == ["read_timeout", "read_timeout", "key_not_found"]


async def test_the_budget_of_an_operation_reaches_the_replica(
    people_stream: StreamClient, replica: MemoryReplica
) -> None:
    await people_stream.ask("put_value", bucket="b", key="k", value=b"", timeout_ms=250)
    await people_stream.ask("put_value", bucket="b", key="k", value=b"")

    assert replica.timeouts_s[-2:] == [0.25, 5.0]


async def test_a_large_document_is_checked_in_steps(people_stream: StreamClient, people: Client) -> None:
    """And the operation behind it overtakes it."""
    large = {"list": list(range(9_000))}
    await people_stream.send(
        {"op": "put_document", "tag": 1, "collection": "people", "id": "large", "document": large},
        {"op": "put_document", "tag": 2, "collection": "people", "id": "small", "document": {}},
    )

    assert [(await people_stream.item())["tag"] for _ in range(2)] == [2, 1]
    assert (await people.get("/api/v1/collections/people/documents/large")).json == large


async def test_a_write_that_waits_for_a_leader_is_not_refused_for_the_writes_of_requests(
    people_stream: StreamClient, replica: MemoryReplica, server: ApiServer
) -> None:
    """The stream has counted it already, as all of its operations."""
    writes = server._around.exchange._store.writes  # type: ignore[attr-defined]
    writes.limit = 0
    replica.submit_errors = [NotLeader()]

    answer = await people_stream.ask("put_document", collection="people", id="ada", document={})

    assert answer["status"] == 201
    assert writes.inflight == 0


async def test_the_check_of_a_large_document_is_counted_once(
    people_stream: StreamClient, replica: MemoryReplica, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 0.0
    in_steps = Store.in_steps

    async def slow(self: Store, *given: Any, **named: Any) -> Any:
        nonlocal now_s
        result = await in_steps(self, *given, **named)
        now_s += 2.0
        return result

    monkeypatch.setattr(flight, "perf_counter", lambda: now_s)
    monkeypatch.setattr(Store, "in_steps", slow)
    large = {"list": list(range(9_000))}

    answer = await people_stream.ask("put_document", collection="people", id="large", document=large, timeout_ms=5_000)

    assert (answer["status"], replica.timeouts_s[-1]) == (201, 3.0)


async def test_more_operations_than_one_turn_takes(
    people_stream: StreamClient, replica: MemoryReplica, metrics: RecordedMetrics
) -> None:
    """All credits at once: every operation is answered."""
    count = settings.OPERATIONS_MAX
    await people_stream.send(
        *({"op": "get_value", "tag": tag, "bucket": "b", "key": "k", "consistency": "stale"} for tag in range(count))
    )

    answers = await people_stream.answers(count)

    assert {one["status"] for one in answers.values()} == {404}
    assert metrics.read_stream_operations() == 0


async def test_one_answer_is_no_larger_than_it_is(people_stream: StreamClient) -> None:
    """Large answers leave one by one, each in a message of its own."""
    value = b"x" * (120 << 10)
    for key in "abcdef":
        assert (await people_stream.ask("put_value", bucket="b", key=key, value=value))["status"] == 201
    before = people_stream.messages

    await people_stream.send(
        *({"op": "get_value", "tag": tag, "bucket": "b", "key": key} for tag, key in enumerate("abcdef"))
    )

    assert {len(one["value"]) for one in (await people_stream.answers(6)).values()} == {len(value)}
    assert people_stream.messages - before >= 2
