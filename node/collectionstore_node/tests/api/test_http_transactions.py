"""Transactions over HTTP."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from collectionstore_node.statemachine import searching
from collectionstore_node.statemachine.commands import GuardedTransaction
from collectionstore_node.tests.api.http_clients import Client
from collectionstore_node.tests.api.memory_replica import MemoryReplica, RecordedMetrics
from collectionstore_node.tests.statemachine.indexed import build

TRANSACTIONS = "/api/v1/transactions"
PEOPLE = "/api/v1/collections/people/documents"
ADA = {"collection": "people", "id": "ada"}
KEY = {"bucket": "b", "key": "k"}


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


async def test_the_branch_that_the_compares_choose_runs_at_one_revision(people: Client) -> None:
    body = {
        "compare": [{**ADA, "field": "exists", "operand": False}],
        "then": [
            {"op": "put", **ADA, "document": {"name": "Ada"}},
            {"op": "put", **KEY, "value": b64(b"\x00"), "content_type": "image/png"},
            {"op": "get", **ADA},
            {"op": "get", **KEY},
        ],
        "else": [{"op": "get", **ADA}, {"op": "delete", **ADA}, {"op": "delete", **KEY}, {"op": "get", **KEY}],
    }

    first = await people.post(TRANSACTIONS, body)
    second = await people.post(TRANSACTIONS, body)

    assert first.json == {
        "succeeded": True,
        "revision": 2,
        "results": [
            {"revision": 2, "created": True},
            {"revision": 2, "created": True},
            {"revision": 2, "document": {"name": "Ada"}},
            {"revision": 2, "value": b64(b"\x00")},
        ],
    }
    assert second.json == {
        "succeeded": False,
        "revision": 3,
        "results": [
            {"revision": 2, "document": {"name": "Ada"}},
            {"revision": 0, "deleted": True},
            {"revision": 0, "deleted": True},
            {"revision": 0, "value": None},
        ],
    }
    assert second.headers["X-Revision"] == "3"


@pytest.mark.parametrize(
    ("compare", "holds"),
    [
        ({**KEY, "field": "revision", "operand": 2}, True),
        ({**KEY, "field": "revision", "operator": ">", "operand": 2}, False),
        ({**KEY, "field": "revision", "operator": "<", "operand": 3}, True),
        ({**KEY, "field": "revision", "operator": "!=", "operand": 2}, False),
        ({**KEY, "field": "value", "operand": b64(b"v")}, True),
        ({**KEY, "field": "value", "operator": ">", "operand": b64(b"u")}, True),
        ({**KEY, "field": "exists", "operator": "!=", "operand": False}, True),
        ({**ADA, "field": "revision", "operand": 0}, True),
    ],
)
async def test_compares(people: Client, compare: dict[str, Any], holds: bool) -> None:  # noqa: FBT001 - a table's column
    await people.send("PUT", "/api/v1/kv/b/k", b"v")

    assert (await people.post(TRANSACTIONS, {"compare": [compare]})).json["succeeded"] is holds


async def test_a_failing_precondition_names_the_operation_and_changes_nothing(people: Client) -> None:
    await people.put(f"{PEOPLE}/ada", {})
    body = {"then": [{"op": "put", **KEY, "value": ""}, {"op": "delete", **ADA, "if_revision": 9}]}

    reply = await people.post(TRANSACTIONS, body)

    fields = reply.problem(412, "precondition_failed")
    assert (fields["operation"], fields["current_revision"]) == ("then[1]", 2)
    (await people.get("/api/v1/kv/b/k")).problem(404, "key_not_found")


async def test_a_missing_collection_names_the_operation(client: Client) -> None:
    reply = await client.post(TRANSACTIONS, {"then": [{"op": "get", **ADA}]})

    assert reply.problem(404, "collection_not_found")["operation"] == "then[0]"


async def test_a_repeated_transaction_is_replayed(people: Client) -> None:
    body = {"then": [{"op": "put", **ADA, "document": {"n": 1}, "if_exists": False}]}

    first = await people.post(TRANSACTIONS, body, Idempotency_Key="t")
    again = await people.post(TRANSACTIONS, body, Idempotency_Key="t")

    assert again.json == first.json
    assert again.headers["Idempotency-Replayed"] == "true"


async def test_transactions_are_counted_by_what_came_of_them(people: Client, metrics: RecordedMetrics) -> None:
    write = {"op": "put", **KEY, "value": ""}
    missing = {"collection": "nobody-made-it", "id": "x"}
    await people.post(TRANSACTIONS, {"then": [write]})
    await people.post(TRANSACTIONS, {"compare": [{**KEY, "field": "exists", "operand": False}], "else": [write]})
    await people.post(TRANSACTIONS, {"then": [{**write, "if_exists": False}]})
    await people.post(TRANSACTIONS, {"then": [{"op": "get", **missing}]})
    await people.post(TRANSACTIONS, {"than": []})
    assert metrics.transactions == {"then": 1, "else": 1, "conflict": 1, "refused": 1}
    assert metrics.problems == {"precondition_failed": 1, "collection_not_found": 1, "invalid_body": 1}


@pytest.mark.parametrize(
    ("body", "code", "hint"),
    [
        ({"than": []}, "invalid_body", "than"),
        ({"then": {}}, "invalid_body", "$.then"),
        ({"then": [{"op": "move", **ADA}]}, "invalid_body", "move"),
        ({"then": [{**ADA}]}, "invalid_body", "op"),
        ({"then": [{"op": "get", "collection": "people"}]}, "invalid_body", "then[0]"),
        ({"then": [{"op": "get", **ADA, **KEY}]}, "invalid_body", "then[0]"),
        ({"then": [{"op": "get", **ADA, "if_revision": 1}]}, "invalid_body", "if_revision"),
        ({"then": [{"op": "put", **ADA}]}, "invalid_body", "then[0]"),
        ({"then": [{"op": "put", **ADA, "value": ""}]}, "invalid_body", "document"),
        ({"then": [{"op": "put", **ADA, "document": []}]}, "invalid_body", "document"),
        ({"then": [{"op": "put", **ADA, "document": {"_id": 1}}]}, "reserved_field", "then[0].document"),
        ({"then": [{"op": "put", **KEY}]}, "invalid_body", "value"),
        ({"then": [{"op": "put", **KEY, "value": "?"}]}, "invalid_body", "base64"),
        ({"then": [{"op": "put", **KEY, "value": "", "document": {}}]}, "invalid_body", "document"),
        ({"then": [{"op": "put", **KEY, "value": "", "content_type": "a\nb/c"}]}, "invalid_header", "Content-Type"),
        ({"then": [{"op": "put", **ADA, "document": {}, "if_revision": 0}]}, "invalid_body", "if_revision"),
        ({"then": [{"op": "delete", **ADA}, {"op": "delete", **ADA}]}, "invalid_body", "then 1"),
        ({"else": [{"op": "delete", **ADA}, {"op": "delete", **ADA}]}, "invalid_body", "else 1"),
        ({"then": [{"op": "get", "collection": "People", "id": "x"}]}, "invalid_name", "People"),
        ({"then": [{"op": "get", "collection": "people", "id": ""}]}, "invalid_name", "1 to"),
        ({"then": [{"op": "get", "bucket": "b", "key": "a/../b"}]}, "invalid_name", ".."),
        ({"then": [{"op": "get", **KEY}] * 129}, "invalid_body", "129"),
        ({"compare": [{**ADA, "field": "revision", "operand": -1}]}, "invalid_body", "compare[0]"),
        ({"compare": [{**ADA, "field": "revision", "operand": True}]}, "invalid_body", "compare[0]"),
        ({"compare": [{**ADA, "field": "exists", "operator": ">", "operand": True}]}, "invalid_body", "compare[0]"),
        ({"compare": [{**ADA, "field": "value", "operand": ""}]}, "invalid_body", "compare[0]"),
        ({"compare": [{**ADA, "field": "age", "operand": 1}]}, "invalid_body", "field"),
        ({"compare": [{**ADA, "field": "revision", "operator": ">=", "operand": 1}]}, "invalid_body", "operator"),
        ({"compare": [{**ADA, "field": "count", "operand": True}]}, "invalid_body", "compare[0]"),
        ({"compare": [{**ADA, "field": "count", "operand": -1}]}, "invalid_body", "compare[0]"),
        ({"compare": [{**ADA, "filter": {}, "field": "revision", "operand": 1}]}, "invalid_body", "compare[0]"),
        ({"compare": [{**ADA, "filter": {}, "field": "exists", "operand": 1}]}, "invalid_body", "compare[0]"),
        ({"compare": [{**KEY, "filter": {}, "field": "exists", "operand": True}]}, "invalid_body", "compare[0]"),
        ({"compare": [{**ADA, "filter": [], "field": "exists", "operand": True}]}, "invalid_filter", "filter"),
        ({"compare": [{"collection": "P", "filter": {}, "field": "count", "operand": 1}]}, "invalid_name", "P"),
    ],
)
async def test_what_makes_no_sense_is_refused_before_it_is_proposed(
    client: Client, replica: MemoryReplica, body: dict[str, Any], code: str, hint: str
) -> None:
    reply = await client.post(TRANSACTIONS, body)

    assert hint in reply.problem(400, code)["detail"]
    assert replica.proposed == []


async def test_an_operation_is_bounded_like_a_single_write(client: Client) -> None:
    big = {"then": [{"op": "put", **ADA, "document": {"text": "x" * (64 << 10)}}]}

    reply = await client.post(TRANSACTIONS, big)

    assert reply.problem(413, "too_large")["detail"].startswith("then[0]")


async def test_a_query_decides_the_branch(people: Client) -> None:
    for name, age in (("ada", 36), ("bob", 17), ("eve", 70)):
        await people.put(f"{PEOPLE}/{name}", {"age": age})

    async def holds(**members: Any) -> bool:
        reply = await people.post(TRANSACTIONS, {"compare": [{"collection": "people", **members}]})
        assert reply.status == 200, reply.body
        succeeded: bool = reply.json["succeeded"]
        return succeeded

    adults = {"age": {"$gte": 18}}
    assert await holds(filter=adults, field="count", operand=2)
    assert not await holds(filter=adults, field="count", operator=">", operand=2)
    assert await holds(field="count", operator="<", operand=4)
    assert await holds(filter=adults, field="exists", operand=True)
    assert await holds(filter={"age": 1}, field="exists", operand=False)
    assert await holds(filter={"age": 1}, field="exists", operator="!=", operand=True)
    assert await holds(id="bob", filter={"age": {"$lt": 18}}, field="exists", operand=True)
    assert not await holds(id="ada", filter={"age": {"$lt": 18}}, field="exists", operand=True)
    assert await holds(filter={"_id": {"$in": ["ada", "none"]}}, field="count", operand=1)
    assert await holds(filter={"_id": {"$gte": "b", "$lt": "f"}}, field="count", operand=2)


async def test_a_query_uses_an_index_and_finds_the_same(people: Client, replica: MemoryReplica) -> None:
    for number in range(20):
        await people.put(f"{PEOPLE}/p{number}", {"age": number})
    body = {
        "compare": [{"collection": "people", "filter": {"age": {"$gt": 4, "$lt": 8}}, "field": "count", "operand": 3}]
    }
    assert (await people.post(TRANSACTIONS, body)).json["succeeded"]
    await people.post("/api/v1/collections/people/indexes", {"name": "by_age", "fields": {"age": 1}})
    build(replica.view, "people")
    assert (await people.post(TRANSACTIONS, body)).json["succeeded"]
    scanned, indexed = (one.action for one in replica.proposed if isinstance(one.action, GuardedTransaction))
    assert (scanned.guards[0].query.plan.index, len(indexed.guards[0].query.plan.ranges)) == (0, 1)
    assert indexed.guards[0].query.plan.index > 0


async def test_a_repeated_transaction_with_a_query_is_replayed_however_it_is_planned(
    people: Client, replica: MemoryReplica
) -> None:
    body = {
        "compare": [{"collection": "people", "filter": {"age": 1}, "field": "exists", "operand": False}],
        "then": [{"op": "put", **ADA, "document": {"age": 1}}],
    }
    first = await people.post(TRANSACTIONS, body, Idempotency_Key="q")
    await people.post("/api/v1/collections/people/indexes", {"name": "by_age", "fields": {"age": 1}})
    build(replica.view, "people")
    again = await people.post(TRANSACTIONS, body, Idempotency_Key="q")
    assert again.json == first.json
    assert again.headers["Idempotency-Replayed"] == "true"


async def test_mistakes_of_queries_are_placed(people: Client) -> None:
    plain = {**ADA, "field": "exists", "operand": False}
    query = {"collection": "people", "filter": {"a": {"$where": 1}}, "field": "count", "operand": 1}
    fields = (await people.post(TRANSACTIONS, {"compare": [query, plain]})).problem(400, "invalid_filter")
    assert fields["errors"][0]["pointer"] == "/compare/0/filter/a/$where"
    missing = {"collection": "none", "filter": {}, "field": "count", "operand": 1}
    fields = (await people.post(TRANSACTIONS, {"compare": [missing, plain]})).problem(404, "collection_not_found")
    assert fields["operation"] == "compare[0]"


async def test_a_query_that_reads_too_much_is_refused_before_it_is_proposed(
    people: Client, replica: MemoryReplica, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        await people.put(f"{PEOPLE}/p{number}", {"age": number})
    before = len(replica.proposed)
    monkeypatch.setattr(searching, "TRANSACTION_COST_MAX", 10_000)
    plain = {**ADA, "field": "exists", "operand": False}
    query = {"collection": "people", "filter": {"age": -1}, "field": "exists", "operand": False}
    fields = (await people.post(TRANSACTIONS, {"compare": [query, plain]})).problem(422, "query_too_costly")
    assert fields["operation"] == "compare[0]"
    assert "index" in fields["detail"]
    assert len(replica.proposed) == before


async def test_a_repeated_request_is_answered_whatever_its_queries_would_read_now(
    people: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = {"collection": "people", "filter": {"age": -1}, "field": "exists", "operand": False}
    body = {"compare": [query], "then": [{"op": "put", "bucket": "b", "key": "k", "value": "AA=="}]}
    first = await people.post(TRANSACTIONS, body, Idempotency_Key="q")
    assert first.status == 200
    for number in range(20):
        await people.put(f"{PEOPLE}/p{number}", {"age": number})
    monkeypatch.setattr(searching, "TRANSACTION_COST_MAX", 10_000)
    (await people.post(TRANSACTIONS, body, Idempotency_Key="other")).problem(422, "query_too_costly")
    again = await people.post(TRANSACTIONS, body, Idempotency_Key="q")
    assert (again.status, again.json) == (200, first.json)
    assert again.headers["Idempotency-Replayed"] == "true"


async def test_queries_wait_for_their_level(client: Client, replica: MemoryReplica) -> None:
    """The replica in memory applies what it is given: the command says that it was not."""
    replica.level = 3
    await client.put("/api/v1/collections/people", {})
    query = {"collection": "people", "filter": {}, "field": "exists", "operand": False}
    fields = (await client.post(TRANSACTIONS, {"compare": [query]})).problem(503, "upgrade_pending")
    assert fields["retryable"] is True


# Updates


async def test_a_transaction_updates(ada: Client) -> None:
    then = [
        {"op": "update", "collection": "people", "id": "ada", "update": {"$inc": {"n": 1}}, "when": {"n": 1}},
        {"op": "update", "collection": "people", "id": "new", "merge_patch": {"a": 1}, "upsert": True},
        {"op": "put", "collection": "people", "id": "none", "document": {}, "if_exists": False},
        {"op": "get", "collection": "people", "id": "ada"},
    ]
    reply = await ada.post("/api/v1/transactions", {"then": then})

    assert reply.json["results"] == [
        {"revision": 3, "created": False, "modified": True},
        {"revision": 3, "created": True, "modified": True},
        {"revision": 3, "created": True},
        {"revision": 3, "document": {"name": "Ada", "n": 2, "tags": ["a"]}},
    ]
    again = [{"op": "put", "collection": "people", "id": "ada", "document": {"n": 9}, "when": {"n": 1}}]
    failed = (await ada.post("/api/v1/transactions", {"then": again})).problem(412, "precondition_failed")
    assert failed["operation"] == "then[0]"
    gone = [{"op": "delete", "collection": "people", "id": "ada", "when": {"n": 2}}]
    assert (await ada.post("/api/v1/transactions", {"then": gone})).json["results"] == [
        {"revision": 0, "deleted": True}
    ]


@pytest.mark.parametrize(
    ("step", "code", "detail"),
    [
        ({"update": {"$inc": {"n": "x"}}}, "invalid_update", "/then/0/update/$inc/n"),
        ({"update": {"$inc": {"n": 1}}, "when": {"$foo": 1}}, "invalid_filter", "/then/0/when/$foo"),
        ({"json_patch": {}}, "invalid_update", "/then/0/json_patch"),
        ({}, "invalid_body", None),
        ({"update": {}, "merge_patch": {}}, "invalid_body", None),
    ],
)
async def test_a_mistake_in_a_transaction_is_named(ada: Client, step: Any, code: str, detail: str | None) -> None:
    body = {"then": [{"op": "update", "collection": "people", "id": "ada", **step}]}
    fields = (await ada.post("/api/v1/transactions", body)).problem(400, code)

    assert detail is None or fields["errors"][0]["pointer"] == detail
    of_value = {"then": [{"op": "update", "bucket": "b", "key": "k", "update": {"$inc": {"n": 1}}}]}
    (await ada.post("/api/v1/transactions", of_value)).problem(400, "invalid_body")
    filtered = {"then": [{"op": "delete", "bucket": "b", "key": "k", "when": {}}]}
    (await ada.post("/api/v1/transactions", filtered)).problem(400, "invalid_body")
