"""Transactions over HTTP."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from collectionstore_node.tests.api.http_clients import Client
from collectionstore_node.tests.api.memory_replica import MemoryReplica, RecordedMetrics

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
        ({"then": [{"op": "put", **ADA, "document": {"_id": 1}}]}, "reserved_field", "_id"),
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
