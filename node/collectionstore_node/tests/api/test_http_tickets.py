"""Writes that are answered before their outcome is known, and the fate of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from collectionstore_node.errors import NotLeader, OutcomeUnknown
from collectionstore_node.service import tickets
from collectionstore_node.service.tickets import Ticket, show_ticket
from collectionstore_node.statemachine import dedupe
from collectionstore_node.tests.api.http_clients import Client, Reply
from collectionstore_node.tests.api.memory_replica import MemoryReplica, RecordedMetrics

PEOPLE = "/api/v1/collections/people/documents"
ADA = f"{PEOPLE}/ada"
TICKETS = "/api/v1/tickets"

WRITES: list[Callable[[Client, str], Awaitable[Reply]]] = [
    lambda client, ack: client.put(f"{ADA}?ack={ack}", {"n": 1}),
    lambda client, ack: client.post(f"{PEOPLE}?ack={ack}", {"n": 1}),
    lambda client, ack: client.put(f"/api/v1/kv/b/k?ack={ack}", {"n": 1}),
    lambda client, ack: client.post(
        f"/api/v1/transactions?ack={ack}",
        {"then": [{"op": "put", "collection": "people", "id": "ada", "document": {}}]},
    ),
    lambda client, ack: client.post(
        f"/api/v1/transactions?ack={ack}",
        {"compare": [{"collection": "people", "field": "count", "operand": 0}]},
    ),
    lambda client, ack: client.post(f"/api/v1/transactions:commit?ack={ack}", {}),
    lambda client, ack: client.send(
        "PATCH", f"{ADA}?ack={ack}&upsert=true", b'{"$inc":{"n":1}}', {"Content-Type": "application/json"}
    ),
]


async def fate(client: Client, reply: Reply, method: str = "GET") -> dict[str, Any]:
    """Return the fate of the write that was answered so."""
    asked = await client.send(method, reply.headers["Location"])
    assert asked.status == 200, asked.body
    found: dict[str, Any] = asked.json
    assert found["ticket"] == reply.json["ticket"]
    return found


async def applied(metrics: RecordedMetrics, count: int = 1) -> None:
    """Return when so many queued writes have ended."""
    async with asyncio.timeout(10):
        while sum(metrics.queued_writes.values()) < count:
            await metrics.queued_write.wait()
            metrics.queued_write.clear()


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("ack", ["queued", "leader"])
async def test_an_early_answer_has_a_ticket(
    people: Client, metrics: RecordedMetrics, write: Callable[[Client, str], Awaitable[Reply]], ack: str
) -> None:
    reply = await write(people, ack)

    assert reply.status == 202, reply.body
    assert reply.json["ack"] == ack
    assert "may lose it" in reply.json["durable"]
    assert reply.headers["Location"] == f"{TICKETS}/{reply.json['ticket']}"
    if ack == "queued":
        await applied(metrics)
        assert metrics.queued_writes == {"applied": 1}
    found = await fate(people, reply)
    assert (found["state"], found["revision"]) == ("applied", 2)


async def test_the_default_is_a_majority(people: Client) -> None:
    assert (await people.put(f"{ADA}?ack=majority", {})).status == 201
    (await people.put(f"{ADA}?ack=none", {})).problem(400, "invalid_parameter")
    (await people.get(f"{ADA}?ack=leader")).problem(400, "unknown_parameter")


async def test_an_outcome_that_is_known_in_time_is_answered(people: Client, replica: MemoryReplica) -> None:
    replica.durable_first = False
    assert (await people.put(f"{ADA}?ack=leader", {})).status == 201
    reply = await people.send(
        "PUT", f"{ADA}?ack=leader", b"{}", {"If-None-Match": "*", "Content-Type": "application/json"}
    )
    reply.problem(412, "precondition_failed")
    (await people.delete(f"{PEOPLE}/none?ack=leader")).problem(404, "document_not_found")


async def test_a_refused_write_says_why(people: Client, metrics: RecordedMetrics) -> None:
    await people.put(ADA, {})
    reply = await people.send(
        "PUT", f"{ADA}?ack=queued", b"{}", {"If-Match": '"9"', "Content-Type": "application/json"}
    )
    await applied(metrics)
    assert metrics.queued_writes == {"refused": 1}
    found = await fate(people, reply)
    assert (found["state"], found["problem"]["code"]) == ("refused", "precondition_failed")
    assert found["problem"]["current_revision"] == 2


async def test_a_write_that_waits_is_pending_until_it_is_settled(people: Client, replica: MemoryReplica) -> None:
    replica.hold = asyncio.Event()
    reply = await people.put(f"{ADA}?ack=queued", {"n": 1})
    assert reply.json["id"] == "ada"
    assert (await fate(people, reply))["state"] == "pending"
    held, replica.hold = replica.hold, None
    assert (await fate(people, reply, "DELETE"))["state"] == "not_applied"
    # It comes late, and is not applied any more.
    held.set()
    assert (await fate(people, reply))["state"] == "not_applied"
    (await people.get(ADA)).problem(404, "document_not_found")


async def test_settling_what_was_applied_changes_nothing(people: Client, metrics: RecordedMetrics) -> None:
    reply = await people.put(f"{ADA}?ack=queued", {"n": 1})
    await applied(metrics)
    for _ in range(2):
        assert (await fate(people, reply, "DELETE"))["state"] == "applied"
    assert (await people.get(ADA)).status == 200


@pytest.mark.parametrize(("error", "result"), [(NotLeader(), "not_applied"), (OutcomeUnknown("no answer"), "unknown")])
async def test_a_write_that_was_lost_is_settled_once_its_time_is_up(
    people: Client,
    replica: MemoryReplica,
    metrics: RecordedMetrics,
    error: Exception,
    result: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    replica.write_error = error
    reply = await people.put(f"{ADA}?ack=queued&timeout=1s", {"n": 1})
    await applied(metrics)
    assert metrics.queued_writes == {result: 1}
    replica.write_error = None
    assert (await fate(people, reply))["state"] == "pending"
    later = replica.wall_ms() + 1_000 + tickets.SLACK_MS
    monkeypatch.setattr(MemoryReplica, "wall_ms", lambda self: later)
    assert (await fate(people, reply))["state"] == "not_applied"
    proposed = len(replica.proposed)
    assert (await fate(people, reply))["state"] == "not_applied"
    assert len(replica.proposed) == proposed  # settled once


async def test_an_outcome_that_may_have_been_forgotten_is_unknown(
    people: Client, replica: MemoryReplica, metrics: RecordedMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dedupe, "LIMITS", dedupe.LIMITS._replace(entries_max=1))
    reply = await people.put(f"{ADA}?ack=queued", {"n": 1})
    await applied(metrics)
    await people.put(ADA, {"n": 2}, Idempotency_Key="another")
    proposed = len(replica.proposed)
    for method in ("GET", "DELETE"):
        assert (await fate(people, reply, method))["state"] == "unknown"
    # Nothing was settled: it was applied, and no record may say otherwise.
    assert len(replica.proposed) == proposed


async def test_a_client_may_choose_the_key_and_repeat_the_write(
    people: Client, replica: MemoryReplica, metrics: RecordedMetrics
) -> None:
    first = await people.put(f"{ADA}?ack=queued", {"n": 1}, Idempotency_Key="mine")
    await applied(metrics)
    again = await people.put(ADA, {"n": 1}, Idempotency_Key="mine")
    assert again.headers["Idempotency-Replayed"] == "true"
    other = await people.put(f"{ADA}?ack=queued", {"n": 2}, Idempotency_Key="mine")
    await applied(metrics, 2)
    assert (await fate(people, first))["state"] == "applied"
    found = await fate(people, other)
    assert (found["state"], found["problem"]["code"]) == ("refused", "idempotency_key_reused")


async def test_an_unknown_outcome_has_its_ticket(people: Client, replica: MemoryReplica) -> None:
    replica.write_error = OutcomeUnknown("no answer")
    fields = (await people.put(f"{ADA}?ack=leader", {})).problem(504, "outcome_unknown")
    replica.write_error = None
    settled = await people.delete(f"{TICKETS}/{fields['ticket']}")
    assert settled.json["state"] == "not_applied"


async def test_they_wait_for_their_level(people: Client, replica: MemoryReplica) -> None:
    replica.level = 3
    for ack in ("queued", "leader"):
        (await people.put(f"{ADA}?ack={ack}", {})).problem(503, "upgrade_pending")
    assert len(replica.proposed) == 1


async def test_they_are_checked_and_bounded_as_others(people: Client, replica: MemoryReplica) -> None:
    (await people.put(f"{ADA}?ack=queued", {"t": "x" * (64 << 10)})).problem(413, "too_large")
    replica.hold = asyncio.Event()
    replies = [await people.put(f"{PEOPLE}/d{number}?ack=queued", {}) for number in range(8)]
    assert [one.status for one in replies] == [202] * 7 + [503]
    replies[-1].problem(503, "overloaded")
    replica.hold.set()


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "????",
        "a" * 600,
        "%00",
        show_ticket(Ticket(2, "k", b"f" * 32, 0, 0)),
        show_ticket(Ticket(1, "k", b"f", 0, 0)),
        show_ticket(Ticket(1, "a b", b"f" * 32, 0, 0)),
        show_ticket(Ticket(1, "k", b"f" * 32, -1, 0)),
    ],
)
async def test_what_is_no_ticket_is_refused(people: Client, text: str) -> None:
    for method in ("GET", "DELETE"):
        (await people.send(method, f"{TICKETS}/{text.replace('?', '%3F')}")).problem(400, "invalid_ticket")
