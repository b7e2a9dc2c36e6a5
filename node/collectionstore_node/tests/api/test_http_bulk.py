"""Many writes in one request: ordered, unordered, atomic; the fate of each line."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from collectionstore_node.errors import OutcomeUnknown
from collectionstore_node.service.updates import BULK_ITEMS_MAX
from collectionstore_node.tests.api.http_clients import JSON, Client, Reply
from collectionstore_node.tests.api.memory_replica import MemoryReplica
from collectionstore_node.tests.api.updating import COLLECTION, LINES, Breaker, numbers


def lines(*items: Any) -> bytes:
    return b"\n".join(map(orjson.dumps, items))


async def bulk(client: Client, body: bytes, query: str = "", **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await client.send("POST", f"{COLLECTION}:bulk{query}", body, LINES | named)


GOOD = lines(
    {"op": "put", "id": "a", "document": {"n": 1}},
    {"op": "update", "id": "a", "update": {"$inc": {"n": 1}}},
    {"op": "update", "id": "b", "merge_patch": {"n": 5}, "upsert": True},
    {"op": "update", "id": "b", "json_patch": [{"op": "add", "path": "/m", "value": 1}], "when": {"n": 5}},
    {"op": "put", "id": "a", "document": {"n": 7}, "when": {"n": 2}},
    {"op": "delete", "id": "b", "if_exists": True, "when": {"m": 1}},
    {"op": "put", "id": "c", "document": {"n": 3}, "if_exists": False},
    {"op": "delete", "id": "c"},
)


async def test_an_ordered_bulk_is_made_line_by_line(people: Client) -> None:
    reply = await bulk(people, GOOD + b"\n\n")

    assert reply.status == 200
    assert reply.json["errors"] == 0
    assert [one["status"] for one in reply.json["results"]] == [201, 200, 201, 200, 200, 200, 201, 200]
    assert [one["revision"] for one in reply.json["results"]] == list(range(2, 10))
    assert await numbers(people) == [7]


async def test_an_ordered_bulk_ends_at_a_failure_and_is_no_200(people: Client) -> None:
    body = lines(
        {"op": "put", "id": "a", "document": {"n": 1}},
        {"op": "update", "id": "a", "update": {"$push": {"n": 1}}},
        {"op": "put", "id": "c", "document": {}},
    )
    reply = await bulk(people, body)

    assert (reply.status, reply.json["errors"]) == (207, 2)
    assert [one["status"] for one in reply.json["results"]] == [201, 422, 424]
    assert reply.json["results"][1]["errors"][0]["pointer"] == "/update/$push/n"
    assert reply.json["results"][2]["code"] == "not_attempted"
    assert await numbers(people) == [1]


async def test_an_unordered_bulk_goes_on(people: Client) -> None:
    body = lines(
        *({"op": "update", "id": f"d{at}", "update": {"$set": {"n": at}}, "upsert": at % 2 == 0} for at in range(20))
    )
    reply = await bulk(people, body, "?mode=unordered")

    assert (reply.status, reply.json["errors"]) == (207, 10)
    assert [one["status"] for one in reply.json["results"]] == [201, 404] * 10
    assert sorted(await numbers(people)) == list(range(0, 20, 2))


async def test_an_atomic_bulk_is_at_one_revision_or_not_at_all(people: Client) -> None:
    good = lines(
        {"op": "put", "id": "a", "document": {"n": 1}},
        {"op": "update", "id": "b", "update": {"$inc": {"n": 1}}, "upsert": True},
        {"op": "insert", "document": {"n": 3}},
    )
    reply = await bulk(people, good, "?mode=atomic")
    bad = lines(
        {"op": "update", "id": "a", "update": {"$inc": {"n": 1}}},
        {"op": "update", "id": "b", "update": {"$push": {"n": 1}}},
    )
    failed = await bulk(people, bad, "?mode=atomic")
    twice = await bulk(people, lines(*[{"op": "delete", "id": "a"}] * 2), "?mode=atomic")

    assert (reply.status, {one["revision"] for one in reply.json["results"]}) == (200, {2})
    assert failed.problem(422, "update_failed")["line"] == 2
    twice.problem(400, "invalid_body")
    assert sorted(await numbers(people)) == [1, 1, 3]


@pytest.mark.parametrize("mode", ["ordered", "unordered", "atomic"])
async def test_a_repeated_bulk_is_made_once(people: Client, mode: str) -> None:
    body = lines(
        {"op": "update", "id": "a", "update": {"$inc": {"n": 1}}, "upsert": True},
        {"op": "insert", "document": {"n": 9}},
    )
    first = await bulk(people, body, f"?mode={mode}", Idempotency_Key="k")
    again = await bulk(people, body, f"?mode={mode}", Idempotency_Key="k")

    assert [one["id"] for one in first.json["results"]] == [one["id"] for one in again.json["results"]]
    assert (first.status, again.status) == (200, 200)
    assert sorted(await numbers(people)) == [1, 9]


async def test_the_fate_of_each_line_is_told(
    people: Client, replica: MemoryReplica, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = lines(*({"op": "put", "id": f"d{at}", "document": {"n": at}} for at in range(3)))
    with monkeypatch.context() as broken:
        broken.setattr(replica, "propose", Breaker(replica, 1, OutcomeUnknown("lost")).propose)
        reply = await bulk(people, body)

    assert (reply.status, [one["status"] for one in reply.json["results"]]) == (207, [201, 504, 424])
    assert [one.get("outcome") for one in reply.json["results"]] == [None, "unknown", "not_applied"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "invalid_body"),
        (b"\n \n", "invalid_body"),
        (b"{}", "invalid_body"),
        (b"[]", "not_an_object"),
        (b"{", "malformed_json"),
        (b'{"op":"put","id":"a"}', "invalid_body"),
        (b'{"op":"foo","id":"a"}', "invalid_body"),
        (b'{"op":"put","id":"a","document":1}', "invalid_body"),
        (b'{"op":"put","id":"a","document":{"_x":1}}', "reserved_field"),
        (b'{"op":"put","id":"..","document":{}}', "invalid_name"),
        (b'{"op":"put","id":"a","document":{},"if_revision":0}', "invalid_body"),
        (b'{"op":"delete","id":"a","when":[]}', "invalid_filter"),
        (b'{"op":"update","id":"a"}', "invalid_body"),
        (b'{"op":"update","id":"a","update":{"$inc":{"n":"x"}}}', "invalid_update"),
        (b'{"op":"update","id":"a","update":{"$set":{"n":1}},"merge_patch":{}}', "invalid_body"),
        (b'{"op":"insert","id":"a","document":{}}', "invalid_body"),
    ],
)
async def test_a_line_that_is_none_refuses_the_bulk(people: Client, body: bytes, code: str) -> None:
    good = b'{"op":"put","id":"a","document":{"n":1}}\n'
    fields = (await bulk(people, body if not body.strip() else good + body)).problem(400, code)

    if body.strip():
        assert fields["line"] == 2
        assert fields["detail"].startswith("line 2: ")
        assert "line 1" not in fields["detail"]
        assert "$.line" not in fields["detail"]
    assert await numbers(people) == []


async def test_a_bulk_is_bounded_and_of_its_type(people: Client) -> None:
    line = b'{"op":"delete","id":"a"}\n'
    (await bulk(people, line * (BULK_ITEMS_MAX + 1))).problem(400, "invalid_body")
    (await bulk(people, line * 129, "?mode=atomic")).problem(400, "invalid_body")
    (await bulk(people, line, "?mode=some")).problem(400, "invalid_parameter")
    (await bulk(people, line, If_Match='"1"')).problem(400, "invalid_precondition")
    (await people.send("POST", f"{COLLECTION}:bulk", line, JSON)).problem(415, "unsupported_content_type")
