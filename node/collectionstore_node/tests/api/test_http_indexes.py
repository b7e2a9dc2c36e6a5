"""Indexes over HTTP: creating, progress, dropping, and what they refuse of writes."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from collectionstore_node.metrics import IndexSeries, member_metrics
from collectionstore_node.service import IndexBuilder
from collectionstore_node.tests.api.http_clients import Client
from collectionstore_node.tests.api.memory_replica import MemoryReplica

PEOPLE = "/api/v1/collections/people"
INDEXES = f"{PEOPLE}/indexes"


async def built(replica: MemoryReplica) -> None:
    """Build all indexes."""

    async def at_once(_seconds: float) -> None:
        """Wait for nothing."""

    builder = IndexBuilder(replica, IndexSeries(member_metrics(enabled=False)), lambda: 0.0, at_once)
    while await builder.build_some():
        pass


async def test_an_index_is_created_built_and_dropped(people: Client, replica: MemoryReplica) -> None:
    for name in ("a", "b"):
        await people.put(f"{PEOPLE}/documents/{name}", {"born": 1, "tags": [1, 2]})
    reply = await people.post(INDEXES, {"name": "by-tags", "fields": {"tags": -1, "born": 1}})
    assert reply.status == 201
    definition = {"name": "by-tags", "fields": {"tags": -1, "born": 1}, "unique": False, "sparse": False}
    assert reply.json == definition | {"state": "building", "revision": 4}
    assert reply.headers["Location"] == f"{INDEXES}/by-tags"

    reply = await people.get(f"{INDEXES}/by-tags")
    counted = {"entries": 0, "documents": 0, "multikey_documents": 0, "key_bytes": 0}
    assert reply.json == definition | {"state": "building", "revision": 4, "progress": {"documents": 0}} | counted
    await built(replica)

    reply = await people.get(INDEXES)
    (found,) = reply.json["indexes"]
    assert found["state"] == "ready"
    assert "progress" not in found
    assert (found["entries"], found["documents"], found["multikey_documents"]) == (4, 2, 2)
    assert list(found["fields"]) == ["tags", "born"]

    reply = await people.delete(f"{INDEXES}/by-tags")
    assert (reply.status, reply.json) == (200, {"name": "by-tags", "revision": 6})
    assert (await people.get(INDEXES)).json["indexes"] == []
    for reply in (await people.get(f"{INDEXES}/by-tags"), await people.delete(f"{INDEXES}/by-tags")):
        assert (reply.status, reply.json["code"]) == (404, "index_not_found")


async def test_a_list_takes_a_hint(people: Client, replica: MemoryReplica) -> None:
    for at in range(3):
        await people.put(f"{PEOPLE}/documents/d{at}", {"n": 2 - at})
    await people.post(INDEXES, {"name": "by_n", "fields": {"n": 1}})
    await built(replica)

    for hint in ("by_n", "scan"):
        reply = await people.get(f"{PEOPLE}/documents?hint={hint}&sort=n")
        assert [one["id"] for one in reply.json["documents"]] == ["d2", "d1", "d0"]
        reply = await people.get(f"{PEOPLE}/documents?hint={hint}")
        assert [one["id"] for one in reply.json["documents"]] == ["d0", "d1", "d2"]
    (await people.get(f"{PEOPLE}/documents?hint=none")).problem(400, "invalid_hint")
    (await people.get(f"{PEOPLE}/documents?hint=scan&prefix=d")).problem(400, "invalid_parameter")


@pytest.mark.parametrize(
    ("body", "code", "pointer"),
    [
        ({"name": "x", "fields": {"a": 3}}, "invalid_index", "/fields/a"),
        ({"name": "X", "fields": {"a": 1}}, "invalid_index", "/name"),
        ({"fields": {"a": 1}}, "invalid_index", "/name"),
        ({"name": "x", "fields": {"a": 1}, "filter": {"a": {"$gtt": 1}}}, "invalid_index", "/filter/a/$gtt"),
        ({"name": "x", "fields": {"a": 1}, "ttl": 5}, "invalid_body", None),
    ],
)
async def test_mistakes_have_their_place(people: Client, body: Any, code: str, pointer: str | None) -> None:
    reply = await people.post(INDEXES, body)
    assert (reply.status, reply.json["code"]) == (400, code)
    if pointer is not None:
        assert [one["pointer"] for one in reply.json["errors"]] == [pointer]


async def test_what_is_in_the_way_is_said(people: Client) -> None:
    index = {"name": "one", "fields": {"a": 1}}
    assert (await people.post("/api/v1/collections/none/indexes", index)).json["code"] == "collection_not_found"
    assert (await people.get("/api/v1/collections/none/indexes")).json["code"] == "collection_not_found"
    assert (await people.post(INDEXES, index)).status == 201
    reply = await people.post(INDEXES, index)
    assert (reply.status, reply.json["code"]) == (409, "index_exists")
    for number in range(15):
        assert (await people.post(INDEXES, index | {"name": f"i{number}"})).status == 201
    reply = await people.post(INDEXES, index | {"name": "last"})
    assert (reply.status, reply.json["code"]) == (422, "too_many_indexes")


async def test_a_violation_names_the_index_and_the_other_document(people: Client, replica: MemoryReplica) -> None:
    await people.post(INDEXES, {"name": "email", "fields": {"email": 1}, "unique": True, "fold": ["email"]})
    await built(replica)
    await people.put(f"{PEOPLE}/documents/ada", {"email": "Ada@example.org"})
    other = {"email": "ADA@EXAMPLE.ORG"}
    reply = await people.put(f"{PEOPLE}/documents/eve", other)
    assert (reply.status, reply.json["code"]) == (409, "unique_violation")
    assert (reply.json["index"], reply.json["conflicting_id"]) == ("email", "ada")
    assert "example" not in reply.body.decode().lower()

    body = {
        "then": [
            {"op": "put", "collection": "people", "id": "bob", "document": {"email": "b"}},
            {"op": "put", "collection": "people", "id": "eve", "document": other},
        ]
    }
    reply = await people.post("/api/v1/transactions", body)
    assert (reply.status, reply.json["code"], reply.json["operation"]) == (409, "unique_violation", "then[1]")
    assert (reply.json["index"], reply.json["conflicting_id"]) == ("email", "ada")
    assert (await people.get(f"{PEOPLE}/documents/bob")).status == 404


async def test_a_violation_by_what_a_filter_finds_names_both_documents(people: Client, replica: MemoryReplica) -> None:
    for name in ("ada", "eve"):
        await people.put(f"{PEOPLE}/documents/{name}", {"email": name})
    await people.post(INDEXES, {"name": "email", "fields": {"email": 1}, "unique": True})
    await built(replica)
    change = {"filter": {"email": "eve"}, "update": {"$set": {"email": "ada"}}}
    line = {"op": "update", "id": "eve", "update": change["update"]}
    kind = {"Content-Type": "application/x-ndjson"}
    bulk = await people.send("POST", f"{PEOPLE}:bulk", orjson.dumps(line), kind)
    found = [
        (await people.post(f"{PEOPLE}:update", change)).json,
        (await people.post(f"{PEOPLE}:update", change | {"many": True})).json,
        (await people.post(f"{PEOPLE}:findAndModify", change)).json,
        bulk.json["results"][0],
    ]
    for one in found:
        assert one["code"] == "unique_violation"
        assert (one["index"], one["id"], one["conflicting_id"]) == ("email", "eve", "ada")
    assert (await people.get(f"{PEOPLE}/documents/eve")).json == {"email": "eve"}


async def test_too_many_entries_are_refused(people: Client, replica: MemoryReplica) -> None:
    await people.post(INDEXES, {"name": "tags", "fields": {"tags": 1}})
    await built(replica)
    reply = await people.put(f"{PEOPLE}/documents/ada", {"tags": list(range(1_001))})
    assert (reply.status, reply.json["code"], reply.json["index"]) == (422, "index_entries", "tags")


async def test_a_failed_build_says_why(people: Client, replica: MemoryReplica) -> None:
    for name in ("a", "b"):
        await people.put(f"{PEOPLE}/documents/{name}", {"n": 1})
    await people.post(INDEXES, {"name": "n", "fields": {"n": 1}, "unique": True})
    await built(replica)
    found = (await people.get(f"{INDEXES}/n")).json
    assert found["state"] == "failed"
    assert found["failure"] == {"reason": "two documents have the same values", "ids": ["a", "b"]}


async def test_a_retried_creation_is_replayed(people: Client) -> None:
    index = {"name": "one", "fields": {"a": 1}}
    first = await people.post(INDEXES, index, Idempotency_Key="k")
    again = await people.post(INDEXES, index, Idempotency_Key="k")
    assert (first.status, again.status) == (201, 201)
    assert first.json == again.json
    assert again.headers["Idempotency-Replayed"] == "true"
