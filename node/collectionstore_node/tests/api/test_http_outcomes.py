"""The client gets the outcome that the replica reports, and never a claim beyond it."""

from __future__ import annotations

import asyncio
import math

import pytest

from collectionstore_node.errors import (
    ChangePending,
    InvalidRequest,
    InvariantViolated,
    LeadershipTransferring,
    NotLeader,
    NotNow,
    OutcomeUnknown,
    Overloaded,
    ReadTimedOut,
    StorageFailed,
)
from collectionstore_node.tests.api.conftest import STORE_LIMITS
from collectionstore_node.tests.api.http_clients import Client, RawClient, read_head
from collectionstore_node.tests.api.memory_replica import OTHER, MemoryReplica, RecordedMetrics

ADA = "/api/v1/collections/people/documents/ada"


@pytest.mark.parametrize(
    ("error", "status", "code", "retryable", "outcome"),
    [
        (NotLeader(), 503, "no_leader", True, "not_applied"),
        (Overloaded("full"), 503, "overloaded", True, "not_applied"),
        (LeadershipTransferring("soon"), 503, "leadership_transferring", True, "not_applied"),
        (NotNow("stopping"), 503, "unavailable", True, "not_applied"),
        (ChangePending("joint"), 409, "change_pending", True, "not_applied"),
        (OutcomeUnknown("late"), 504, "outcome_unknown", False, "unknown"),
        (StorageFailed("disk"), 500, "storage_failed", False, "unknown"),
        (InvariantViolated("bug"), 500, "internal_error", False, "unknown"),
        (InvalidRequest("odd_wish", "no"), 400, "odd_wish", False, "not_applied"),
        (ZeroDivisionError("secret"), 500, "internal_error", False, "unknown"),
    ],
)
async def test_a_write_that_the_replica_refuses(
    people: Client,
    replica: MemoryReplica,
    error: Exception,
    status: int,
    code: str,
    retryable: bool,  # noqa: FBT001 - a table's column
    outcome: str,
) -> None:
    replica.write_error = error

    reply = await people.put(ADA, {})

    fields = reply.problem(status, code)
    assert (fields["retryable"], fields["outcome"]) == (retryable, outcome)
    assert "secret" not in fields["detail"]
    assert ("Retry-After" in reply.headers) == (status == 503)


async def test_an_unknown_outcome_may_be_repeated_with_a_key(people: Client, replica: MemoryReplica) -> None:
    replica.write_error = OutcomeUnknown("not committed within the deadline")

    reply = await people.put(ADA, {}, Idempotency_Key="k")

    fields = reply.problem(504, "outcome_unknown")
    assert (fields["retryable"], fields["outcome"]) == (True, "unknown")
    assert "Idempotency-Key" in fields["detail"]
    assert reply.headers["Retry-After"] == "1"


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (NotLeader(), 503, "no_leader"),
        (ReadTimedOut("late"), 504, "read_timeout"),
        (StorageFailed("disk"), 500, "storage_failed"),
        (ZeroDivisionError(), 500, "internal_error"),
    ],
)
async def test_a_read_never_leaves_anything_applied(
    people: Client, replica: MemoryReplica, error: Exception, status: int, code: str
) -> None:
    replica.read_error = error

    assert (await people.get(ADA)).problem(status, code)["outcome"] == "not_applied"


async def test_without_a_leader_writes_and_reads_are_503(people: Client, replica: MemoryReplica) -> None:
    replica.known_leader = None

    for reply in (await people.put(ADA, {}), await people.get(ADA), await people.get("/api/v1/collections")):
        assert reply.problem(503, "no_leader")["leader"] is None


async def test_not_leader_names_the_leader_it_knows(people: Client, replica: MemoryReplica) -> None:
    replica.known_leader = OTHER
    replica.write_error = NotLeader(OTHER.node_id)

    fields = (await people.put(ADA, {})).problem(503, "no_leader")

    assert fields["leader"] == {"node_id": "00000000000000b2", "name": "shop-1", "http_address": OTHER.http_address}


async def test_stale_reads_need_no_quorum(people: Client, replica: MemoryReplica) -> None:
    await people.put(ADA, {"n": 1})
    replica.known_leader = None
    barriers = replica.barriers

    reply = await people.get(f"{ADA}?consistency=stale")

    assert (reply.status, reply.body, reply.headers["X-Revision"]) == (200, b'{"n":1}', "2")
    assert replica.barriers == barriers


async def test_linearizable_is_the_default(people: Client, replica: MemoryReplica) -> None:
    before = replica.barriers
    await people.get(ADA)
    await people.get(f"{ADA}?consistency=linearizable")
    await people.get("/api/v1/kv/b")

    assert replica.barriers == before + 3


async def test_the_timeout_reaches_the_replica(people: Client, replica: MemoryReplica) -> None:
    await people.put(ADA, {})
    await people.put(f"{ADA}?timeout=500ms", {})
    await people.get(f"{ADA}?timeout=1.5s")

    assert replica.timeouts_s[-3:] == [5.0, 0.5, 1.5]


@pytest.mark.parametrize(
    ("address", "base"),
    [
        ("127.0.0.1:7410", "http://127.0.0.1:7410"),
        ("https://shop-1.example:7400/", "https://shop-1.example:7400"),
    ],
)
async def test_redirect_leads_to_the_leader_with_path_and_query(
    people: Client, replica: MemoryReplica, address: str, base: str
) -> None:
    """307 keeps method and body (RFC 9110 15.4.8). The leader itself does the work."""
    local = await people.put(f"{ADA}?redirect=true", {})
    replica.known_leader = type(OTHER)(OTHER.node_id, OTHER.name, OTHER.address, address)
    query = "redirect=true&timeout=2s"

    remote = await people.put(f"{ADA}%20x?{query}", {})
    read = await people.get(f"{ADA}?{query}")

    assert local.status == 201
    assert (remote.status, remote.headers["Location"]) == (307, f"{base}{ADA}%20x?{query}")
    assert (read.status, read.headers["Location"]) == (307, f"{base}{ADA}?{query}")


async def test_redirect_without_a_leader_is_503(people: Client, replica: MemoryReplica) -> None:
    replica.known_leader = None

    (await people.put(f"{ADA}?redirect=true", {})).problem(503, "no_leader")


async def test_the_request_id_is_the_clients_when_it_sends_one(people: Client) -> None:
    good = await people.get("/livez", X_Request_Id="req-7")
    bad = await people.get("/nothing", X_Request_Id="req-8")
    odd = await people.get("/nothing", X_Request_Id="no spaces")

    assert good.headers["X-Request-Id"] == "req-7"
    assert bad.problem(404, "unknown_route")["instance"] == "urn:collectionstore:request:req-8"
    assert odd.problem(404, "unknown_route")["request_id"] != "no spaces"


async def test_generated_request_ids_differ(client: Client) -> None:
    made = {(await client.get("/nothing")).headers["X-Request-Id"] for _ in range(3)}

    assert len(made) == 3


async def test_too_many_requests_at_once_are_503_and_probes_still_answer(
    people: Client, replica: MemoryReplica, metrics: RecordedMetrics
) -> None:
    """The limit counts writes being served; one more is refused at once, the others finish, reads keep their places."""
    replica.hold = asyncio.Event()
    replica.entered.clear()
    waiting = [asyncio.create_task(people.put(f"{ADA}{n}", {})) for n in range(STORE_LIMITS.inflight_writes_max)]
    while metrics.read_inflight() < STORE_LIMITS.inflight_writes_max:
        await replica.entered.wait()
        replica.entered.clear()

    refused = await people.put(ADA, {})
    read = await people.get(f"{ADA}?consistency=stale")
    alive = await people.get("/livez")
    replica.hold.set()

    problem = refused.problem(503, "overloaded")
    assert problem["retryable"] is True
    assert int(refused.headers["Retry-After"]) == math.ceil(problem["retry_after_ms"] / 1000) > 0
    read.problem(404, "document_not_found")
    assert alive.status == 200
    assert {(await one).status for one in waiting} == {201}
    assert metrics.read_inflight() == 0


async def test_a_write_without_a_place_is_refused_before_its_body(
    people: Client, replica: MemoryReplica, metrics: RecordedMetrics, raw: RawClient
) -> None:
    replica.hold = asyncio.Event()
    replica.entered.clear()
    waiting = [asyncio.create_task(people.put(f"{ADA}{n}", {})) for n in range(STORE_LIMITS.inflight_writes_max)]
    while metrics.read_inflight() < STORE_LIMITS.inflight_writes_max:
        await replica.entered.wait()
        replica.entered.clear()
    reader, writer = await raw.connect()

    writer.write(b"PUT /api/v1/kv/b/k HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n")

    # Nothing of the body was sent, and the answer is here.
    assert (await read_head(reader)).startswith(b"HTTP/1.1 503 ")
    replica.hold.set()
    assert {(await one).status for one in waiting} == {201}
    writer.transport.abort()


async def test_requests_are_counted_by_pattern_method_and_status(people: Client, metrics: RecordedMetrics) -> None:
    """Paths never become labels, or clients could create series without bound."""
    metrics.finished.clear()
    await people.put(ADA, {})
    await people.send("HEAD", ADA)
    await people.get("/api/v1/kv/b/a/b")
    await people.get("/nothing/here")
    await people.send("POST", ADA)

    documents = "/api/v1/collections/{collection}/documents/{id}"
    assert metrics.finished == [
        (documents, "PUT", 201),
        (documents, "HEAD", 200),
        ("/api/v1/kv/{bucket}/{key...}", "GET", 404),
        ("unmatched", "any", 404),
        ("unmatched", "any", 405),
    ]


async def test_refused_write_tells_its_own_revision_on_a_node_that_lags(people: Client, replica: MemoryReplica) -> None:
    """It was applied and refused on the leader; this node forwarded it and may not have applied it yet."""
    await people.put(ADA, {})
    replica.behind = 2

    refused = await people.put(ADA, {}, If_None_Match="*")
    absent = await people.delete("/api/v1/kv/b/none")

    assert refused.headers["X-Revision"] == str(refused.problem(412, "precondition_failed")["revision"]) == "3"
    assert absent.headers["X-Revision"] == str(absent.problem(404, "key_not_found")["revision"]) == "4"
