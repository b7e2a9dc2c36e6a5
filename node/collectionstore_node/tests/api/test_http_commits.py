"""The ends of interactive transactions over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from collectionstore_node.tests.api.http_clients import Client
from collectionstore_node.tests.api.memory_replica import MemoryReplica, RecordedMetrics

COMMIT = "/api/v1/transactions:commit"
PEOPLE = "/api/v1/collections/people/documents"
ADA = {"collection": "people", "id": "ada"}
BOB = {"collection": "people", "id": "bob"}
KEY = {"bucket": "b", "key": "k"}


@pytest.fixture
async def filled(people: Client) -> Client:
    """Revision 2 puts `ada`, 3 puts `bob`."""
    await people.put(f"{PEOPLE}/ada", {"age": 36})
    await people.put(f"{PEOPLE}/bob", {"age": 17})
    return people


def body(*reads: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {"reads": list(reads), "writes": [{"op": "put", **KEY, "value": ""}], **members}


async def test_a_transaction_commits_while_its_reads_are_so(filled: Client, metrics: RecordedMetrics) -> None:
    adults = {"collection": "people", "filter": {"age": {"$gte": 18}}}
    reads = (
        {**ADA, "revision": 2},
        {**KEY, "revision": 0},
        adults,
        {**adults, "revision": 2},
        {**adults, "seen": [{"id": "ada", "revision": 2}]},
        {**adults, "id": "bob"},
    )
    writes = [
        {"op": "update", **ADA, "update": {"$inc": {"age": 1}}},
        {"op": "get", **ADA},
        {"op": "put", **KEY, "value": ""},
        {"op": "delete", **BOB},
    ]

    reply = await filled.post(COMMIT, {"read_revision": 3, "reads": reads, "writes": writes})

    assert reply.status == 200, reply.body
    assert reply.json == {
        "revision": 4,
        "results": [
            {"revision": 4, "created": False, "modified": True},
            {"revision": 4, "document": {"age": 37}},
            {"revision": 4, "created": True},
            {"revision": 0, "deleted": True},
        ],
    }
    assert reply.headers["X-Revision"] == "4"
    assert metrics.transactions == {"then": 1}


@pytest.mark.parametrize(
    ("read", "conflict"),
    [
        ({**ADA, "revision": 1}, {**ADA, "current_revision": 2}),
        ({**KEY, "revision": 7}, {**KEY, "current_revision": 0}),
        ({"collection": "people", "filter": {"age": 17}, "revision": 2}, {**BOB, "current_revision": 3}),
        ({"collection": "people", "filter": {"age": 17}, "seen": []}, {**BOB, "current_revision": 3}),
        (
            {"collection": "people", "filter": {"age": 1}, "seen": [{"id": "old", "revision": 2}]},
            {"collection": "people", "id": "old", "current_revision": 0},
        ),
    ],
)
async def test_a_conflict_names_what_has_changed(
    filled: Client, metrics: RecordedMetrics, read: dict[str, Any], conflict: dict[str, Any]
) -> None:
    # Before a read of a target, which is asked first.
    reply = await filled.post(COMMIT, body(read, {**BOB, "revision": 3}))

    fields = reply.problem(409, "transaction_conflict")
    assert (fields["outcome"], fields["retryable"]) == ("not_applied", True)
    assert (fields["operation"], fields["conflict"]) == ("reads[0]", conflict)
    assert metrics.transactions == {"conflict": 1}
    (await filled.get("/api/v1/kv/b/k")).problem(404, "key_not_found")


@pytest.mark.parametrize(
    ("sent", "code", "hint"),
    [
        ({"read": []}, "invalid_body", "read"),
        (body({**ADA}), "invalid_body", "reads[0]"),
        (body({**ADA, "revision": -1}), "invalid_body", "revision"),
        (body({**ADA, "revision": 1.5}), "invalid_body", "revision"),
        (body({"collection": "people", "revision": 1}), "invalid_body", "reads[0]"),
        (body({**ADA, **KEY, "revision": 1}), "invalid_body", "reads[0]"),
        (body({**ADA, "revision": 1, "seen": []}), "invalid_body", "reads[0].seen"),
        (body({"collection": "people", "filter": {}}), "invalid_body", "reads[0]"),
        (body({"collection": "people", "filter": {}, "revision": 1, "seen": []}), "invalid_body", "not both"),
        (
            body({"collection": "people", "filter": {}, "seen": [{"id": "a", "revision": 0}]}),
            "invalid_body",
            "revision",
        ),
        (body({"collection": "people", "filter": {}, "seen": [{"id": "", "revision": 1}]}), "invalid_name", "seen[0]"),
        (
            body({"collection": "people", "filter": {}, "seen": [{"id": "a", "revision": 1}] * 2}),
            "invalid_body",
            "reads[0].seen",
        ),
        (body({**KEY, "filter": {}, "revision": 1}), "invalid_body", "reads[0]"),
        (body({"collection": "people", "filter": 5, "revision": 1}), "invalid_filter", "object"),
        (body({"collection": "people", "filter": {"$expr": {}}, "revision": 1}), "invalid_filter", "$expr"),
        (body(*[{**ADA, "revision": 1}] * 129), "invalid_body", "128"),
        (body(*[{"collection": "people", "filter": {}, "revision": 1}] * 17), "invalid_body", "16"),
        (
            body(
                {
                    "collection": "people",
                    "filter": {},
                    "seen": [{"id": f"a{number}", "revision": 1} for number in range(1001)],
                }
            ),
            "invalid_body",
            "1000",
        ),
        (body(writes=[{"op": "delete", **ADA}, {"op": "delete", **ADA}]), "invalid_body", "twice"),
        (body(writes=[{"op": "put", **ADA, "document": {"_id": 1}}]), "reserved_field", "writes[0]"),
        (body(writes=[{"op": "update", **ADA, "update": {"$no": 1}}]), "invalid_update", "unknown operator"),
    ],
)
async def test_what_makes_no_sense_is_refused_before_it_is_proposed(
    client: Client, replica: MemoryReplica, sent: dict[str, Any], code: str, hint: str
) -> None:
    reply = await client.post(COMMIT, sent)

    assert hint in reply.problem(400, code)["detail"]
    assert replica.proposed == []


async def test_a_revision_that_is_not_there_yet_is_a_mistake(filled: Client) -> None:
    read = {"collection": "people", "filter": {}, "revision": 99}
    fields = (await filled.post(COMMIT, body(read))).problem(400, "invalid_body")
    assert fields["operation"] == "reads[0]"


async def test_mistakes_are_placed(filled: Client) -> None:
    query = {"collection": "people", "filter": {"a": {"$no": 1}}, "revision": 3}
    fields = (await filled.post(COMMIT, body(query, {**ADA, "revision": 2}))).problem(400, "invalid_filter")
    assert fields["errors"][0]["pointer"] == "/reads/0/filter/a/$no"
    missing = {"collection": "none", "filter": {}, "revision": 3}
    fields = (await filled.post(COMMIT, body(missing, {**ADA, "revision": 2}))).problem(404, "collection_not_found")
    assert fields["operation"] == "reads[0]"
    writes = [{"op": "put", **KEY, "value": ""}, {"op": "put", **ADA, "document": {}, "if_exists": False}]
    fields = (await filled.post(COMMIT, body(writes=writes))).problem(412, "precondition_failed")
    assert fields["operation"] == "writes[1]"


async def test_it_takes_no_preconditions_in_headers(filled: Client) -> None:
    (await filled.post(COMMIT, body(), If_Match='"1"')).problem(400, "invalid_precondition")


async def test_a_repeated_commit_is_replayed(filled: Client) -> None:
    sent = body({**ADA, "revision": 2}, writes=[{"op": "put", **ADA, "document": {"age": 1}}])
    first = await filled.post(COMMIT, sent, Idempotency_Key="c")
    again = await filled.post(COMMIT, sent, Idempotency_Key="c")
    assert (first.status, again.status) == (200, 200)
    assert again.json == first.json
    assert again.headers["Idempotency-Replayed"] == "true"
    conflict = [await filled.post(COMMIT, sent, Idempotency_Key="d") for _ in range(2)]
    assert [one.problem(409, "transaction_conflict")["conflict"] for one in conflict] == [
        {**ADA, "current_revision": 4}
    ] * 2


async def test_an_empty_transaction_commits(filled: Client) -> None:
    assert (await filled.post(COMMIT, {})).json == {"revision": 4, "results": []}
