"""Updates of one document by its ID over HTTP: PATCH in three forms, and writes under conditions."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import orjson
import pytest

from collectionstore_node.statemachine.commands import DocumentRef, Update, UpdateForm, level_needed
from collectionstore_node.statemachine.costs import UPDATE_BYTES_MAX
from collectionstore_node.statemachine.levels import CHANGES, ENGINE
from collectionstore_node.tests.api.http_clients import JSON, Client
from collectionstore_node.tests.api.memory_replica import MemoryReplica
from collectionstore_node.tests.api.updating import ADA, COLLECTION, MERGE, PATCH, document, patch


async def test_a_patch_in_operators(ada: Client) -> None:
    reply = await patch(ada, {"$inc": {"n": 2}, "$push": {"tags": "b"}})

    assert (reply.status, reply.json) == (200, {"id": "ada", "revision": 3, "modified": True})
    assert (reply.headers["ETag"], reply.headers["X-Revision"]) == ('"3"', "3")
    assert await document(ada) == {"name": "Ada", "n": 3, "tags": ["a", "b"]}


async def test_a_patch_that_changes_nothing_keeps_the_revision(ada: Client) -> None:
    reply = await patch(ada, {"$max": {"n": 0}})

    assert (reply.status, reply.json) == (200, {"id": "ada", "revision": 2, "modified": False})
    assert (reply.headers["ETag"], reply.headers["X-Revision"]) == ('"2"', "3")


@pytest.mark.parametrize(
    ("headers", "body", "expected"),
    [
        (MERGE, {"n": None, "name": {"first": "Ada"}}, {"name": {"first": "Ada"}, "tags": ["a"]}),
        (
            PATCH,
            [{"op": "test", "path": "/n", "value": 1}, {"op": "remove", "path": "/n"}],
            {"name": "Ada", "tags": ["a"]},
        ),
        ({"Content-Type": "application/json; charset=utf-8"}, {"$unset": {"tags": 1}}, {"name": "Ada", "n": 1}),
        (
            {"Content-Type": 'Application/Merge-Patch+JSON;charset="UTF-8"'},
            {"n": 5},
            {"name": "Ada", "n": 5, "tags": ["a"]},
        ),
    ],
)
async def test_the_type_of_the_body_says_what_it_is(ada: Client, headers: Any, body: Any, expected: Any) -> None:
    assert (await ada.send("PATCH", ADA, orjson.dumps(body), headers)).status == 200
    assert await document(ada) == expected


@pytest.mark.parametrize(
    "kind", [None, "text/plain", "application/xml", "application/json; charset=latin1", "application/foo+json"]
)
async def test_another_type_is_refused_and_the_known_ones_named(ada: Client, kind: str | None) -> None:
    reply = await ada.send("PATCH", ADA, b"{}", {} if kind is None else {"Content-Type": kind})

    reply.problem(415, "unsupported_content_type")
    assert "application/merge-patch+json" in reply.headers["Accept-Patch"]


async def test_the_image_before_and_after(ada: Client) -> None:
    before = await patch(ada, {"$inc": {"n": 1}}, "?return=before")
    after = await patch(ada, {"$inc": {"n": 1}}, "?return=after")
    created = await ada.send("PATCH", f"{COLLECTION}/documents/x?upsert=true&return=before", b'{"$set":{"a":1}}', JSON)

    assert before.json["document"] == {"name": "Ada", "n": 1, "tags": ["a"]}
    assert after.json["document"] == {"name": "Ada", "n": 3, "tags": ["a"]}
    assert (created.status, created.json["document"]) == (201, None)


async def test_bits(ada: Client) -> None:
    assert (await patch(ada, {"$bit": {"n": {"or": 6, "and": 3}, "m": {"xor": 5}}})).status == 200
    assert await document(ada) == {"name": "Ada", "n": 3, "tags": ["a"], "m": 5}
    problem = (await patch(ada, {"$bit": {"name": {"or": 1}}})).problem(422, "update_failed")
    assert "integer of 64 bits" in problem["errors"][0]["detail"]


async def test_bits_need_a_feature_level(client: Client, replica: MemoryReplica) -> None:
    """Also where the name is written with escapes, so that a member that only forwards does not see it."""
    replica.level = CHANGES - 1
    assert (await client.send("PUT", COLLECTION, b"")).status == 201
    assert (await client.put(ADA, {"n": 1})).status == 201
    for body in (b'{"$bit":{"n":{"or":6}}}', b'{"\\u0024bit":{"n":{"or":6}}}'):
        (await client.send("PATCH", ADA, body, JSON)).problem(400, "invalid_update")
    assert await document(client) == {"n": 1}
    assert level_needed(Update(DocumentRef("c", "d"), UpdateForm.OPERATORS, b'{"$bit":{"n":{"or":6}}}')) == CHANGES
    assert level_needed(Update(DocumentRef("c", "d"), UpdateForm.OPERATORS, b'{"$inc":{"n":1}}')) == ENGINE


@pytest.mark.parametrize("operator", ["$set", "$inc", "$push"])
async def test_a_position_beyond_all_arrays_says_its_bound(ada: Client, operator: str) -> None:
    problem = (await patch(ada, {operator: {"tags.10000000000": 1}})).problem(422, "update_failed")

    assert "a position in an array is at most 999,999,999" in problem["errors"][0]["detail"]


async def test_an_absent_document_is_404_or_made(people: Client) -> None:
    (await patch(people, {"$inc": {"n": 1}})).problem(404, "document_not_found")
    reply = await patch(people, {"$inc": {"n": 1}, "$setOnInsert": {"m": 2}}, "?upsert=true")

    assert (reply.status, reply.json) == (201, {"id": "ada", "revision": 3, "modified": True})
    assert await document(people) == {"n": 1, "m": 2}
    (await people.send("PATCH", "/api/v1/collections/none/documents/x", b"{}", MERGE)).problem(
        404, "collection_not_found"
    )


async def test_array_filters_are_a_parameter(ada: Client) -> None:
    filters = quote(json.dumps([{"t": {"$in": ["a"]}}]))
    reply = await patch(ada, {"$set": {"tags.$[t]": "z"}}, f"?array_filters={filters}")

    assert reply.status == 200
    assert (await document(ada))["tags"] == ["z"]


async def test_preconditions_of_a_patch(ada: Client) -> None:
    (await patch(ada, {"$inc": {"n": 1}}, If_Match='"7"')).problem(412, "precondition_failed")
    assert (await patch(ada, {"$inc": {"n": 1}}, If_Match='"2"')).status == 200
    (await patch(ada, {"$inc": {"n": 1}}, "?upsert=true", If_None_Match="*")).problem(412, "precondition_failed")


async def test_the_time_is_that_of_the_member(ada: Client) -> None:
    await patch(ada, {"$currentDate": {"at": True}})
    assert (await document(ada))["at"] == "2023-11-14T22:13:20.123Z"


async def test_a_repeated_patch_is_applied_once(ada: Client) -> None:
    """Also one with a time: that is not part of what is compared."""
    update = {"$inc": {"n": 1}, "$currentDate": {"at": True}}
    first = await patch(ada, update, "?return=after", Idempotency_Key="k")
    again = await patch(ada, update, "?return=after", Idempotency_Key="k")
    other = await patch(ada, {"$inc": {"n": 2}}, Idempotency_Key="k")

    assert (await document(ada))["n"] == 2
    assert again.headers["Idempotency-Replayed"] == "true"
    assert first.json["document"]["n"] == 2
    # The text is not kept.
    assert again.json == {**first.json, "document": None}
    other.problem(422, "idempotency_key_reused")


@pytest.mark.parametrize(
    ("body", "status", "code", "pointer"),
    [
        (b'{"$inc":{"name":1}}', 422, "update_failed", "/$inc/name"),
        (b'{"$set":{"m":1},"$push":{"n":1}}', 422, "update_failed", "/$push/n"),
        (b'{"$set":{"n.x":1}}', 422, "update_failed", "/$set/n.x"),
        (b'{"$set":{"tags.$[]":1,"tags.0":1}}', 422, "update_failed", "/$set/tags.0"),
        (b'{"$inc":{"n":9223372036854775807}}', 422, "update_failed", "/$inc/n"),
        (b'{"$set":{"tags.9000000":1}}', 422, "update_too_large", "/$set/tags.9000000"),
        (b'{"$inc":{"n":"1"}}', 400, "invalid_update", "/$inc/n"),
        (b'{"$set":{"_id":"x"}}', 400, "reserved_field", "/$set/_id"),
        (b'{"name":"x"}', 400, "invalid_update", "/name"),
        (b'{"$set":{"a.$":1}}', 400, "invalid_update", "/$set/a.$"),
        (b'{"$set":{"a.$[x]":1}}', 400, "invalid_update", "/$set/a.$[x]"),
        (b'{"$pull":{"a":{"$regex":"("}}}', 400, "invalid_filter", "/$pull/a/$regex"),
        (b"[]", 400, "invalid_update", ""),
        (b"5", 400, "invalid_update", ""),
    ],
)
async def test_a_mistake_is_named_with_its_place(
    ada: Client, body: bytes, status: int, code: str, pointer: str
) -> None:
    reply = await ada.send("PATCH", ADA, body, JSON)

    assert reply.problem(status, code)["errors"][0]["pointer"] == pointer
    assert await document(ada) == {"name": "Ada", "n": 1, "tags": ["a"]}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "malformed_json"),
        (b"{", "malformed_json"),
        (b"{} {}", "malformed_json"),
        (b'{}, "x": {}', "malformed_json"),
        (b'{},"":{}', "duplicate_key"),
        (b'{"$set":{"a":1,"a":2}}', "duplicate_key"),
        (b'{"$set":{"a":1}}}', "malformed_json"),
        (b'{"$set":{"a":NaN}}', "malformed_json"),
        (b'{"$set":{"a":18446744073709551616}}', "number_out_of_range"),
        (b'{"$set":{"a":' + b"[" * 99 + b"]" * 99 + b"}}", "nesting_too_deep"),
        (b"\xff", "malformed_json"),
    ],
)
async def test_only_strict_json_is_taken(ada: Client, body: bytes, code: str) -> None:
    (await ada.send("PATCH", ADA, body, JSON)).problem(400, code)


@pytest.mark.parametrize(
    ("body", "line", "column"),
    [(b"", 1, 1), (b'{"$set":{"a":NaN}}', 1, 14), (b'{\n"a":x', 2, 5), (b'["' + b"x" * 70_000 + b'",}', 1, 70_005)],
)
async def test_the_place_of_a_mistake_is_the_one_in_the_body(ada: Client, body: bytes, line: int, column: int) -> None:
    found = (await ada.send("PATCH", ADA, body, JSON)).problem(400, "malformed_json")
    assert (found["line"], found["column"]) == (line, column)
    assert found["detail"].startswith(f"line {line} column {column}: ")


async def test_the_place_of_a_mistake_is_the_one_in_the_parameter(ada: Client) -> None:
    found = (await patch(ada, {"$inc": {"n": 1}}, "?when=x")).problem(400, "invalid_parameter")
    assert found["detail"].startswith("when is not JSON: line 1 column 1: ")


async def test_a_patch_has_so_many_bytes_and_its_document_too(ada: Client) -> None:
    large = orjson.dumps({"$set": {"a": "x" * UPDATE_BYTES_MAX}})
    (await ada.send("PATCH", ADA, large, JSON)).problem(413, "too_large")
    # The limit of documents is that of the member.
    (await patch(ada, {"$set": {"a": "x" * 65_000, "b": "x" * 10_000}})).problem(422, "update_too_large")
    many = {"$set": {"a": [0] * 20_001}}
    (await patch(ada, many)).problem(400, "invalid_update")


async def test_a_test_of_a_json_patch_that_fails_is_a_conflict(ada: Client) -> None:
    body = [{"op": "replace", "path": "/n", "value": 5}, {"op": "test", "path": "/n", "value": 1}]
    reply = await ada.send("PATCH", ADA, orjson.dumps(body), PATCH)

    assert reply.problem(409, "patch_test_failed")["errors"][0]["pointer"] == "/1"
    assert (await document(ada))["n"] == 1


# Conditions


def when(given: Any) -> str:
    return f"?when={quote(json.dumps(given))}"


async def test_put_patch_and_delete_under_a_condition(ada: Client) -> None:
    fields = (await ada.put(ADA + when({"n": 5}), {"n": 6})).problem(412, "precondition_failed")
    assert fields["current_revision"] == 2
    assert (await ada.put(ADA + when({"n": 1}), {"n": 6.50})).json == {"id": "ada", "revision": 4}
    (await patch(ada, {"$inc": {"n": 1}}, when({"n": 1}))).problem(412, "precondition_failed")
    assert (await patch(ada, {"$inc": {"n": 1}}, when({"n": {"$gt": 6}}))).status == 200
    (await ada.delete(ADA + when({"n": 0}))).problem(412, "precondition_failed")
    assert (await ada.delete(ADA + when({"n": 7.5}))).json == {"id": "ada", "revision": 8}
    (await ada.delete(ADA + when({"n": 7.5}))).problem(404, "document_not_found")
    (await ada.put(ADA + when({}), {"n": 6})).problem(412, "precondition_failed")


async def test_the_positional_operator_needs_a_condition(ada: Client) -> None:
    assert (await patch(ada, {"$set": {"tags.$": "z"}}, when({"tags": "a"}))).status == 200
    assert (await document(ada))["tags"] == ["z"]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("?when=x", "invalid_parameter"),
        ("?when=1,%22%22:2", "invalid_parameter"),
        ("?when=[]", "invalid_filter"),
        ("?when=null", "invalid_filter"),
        ("?when=%7B%22%24foo%22:1%7D", "invalid_filter"),
        ("?when=%7B%22a%22:1%7D&when=%7B%7D", "invalid_parameter"),
    ],
)
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_a_condition_that_is_none(ada: Client, method: str, query: str, code: str) -> None:
    body = None if method == "DELETE" else b"{}"
    (await ada.send(method, ADA + query, body, MERGE if method == "PATCH" else JSON)).problem(400, code)


@pytest.mark.parametrize(
    "query", ["?upsert=1", "?return=both", "?array_filters=x", "?array_filters=[]&array_filters=[]"]
)
async def test_parameters_of_a_patch(ada: Client, query: str) -> None:
    (await patch(ada, {"$inc": {"n": 1}}, query)).problem(400, "invalid_parameter")
