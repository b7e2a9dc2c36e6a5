"""Updates over HTTP: PATCH, conditions, what filters find, many documents, bulk; retries, and what is refused."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import quote

import orjson
import pytest

from collectionstore_node.api.http.cursors import encode_progress
from collectionstore_node.errors import NotLeader, OutcomeUnknown, UpgradePending
from collectionstore_node.service.updates import ATTEMPTS_MAX, BULK_ITEMS_MAX, MANY_DOCUMENTS_MAX
from collectionstore_node.statemachine.commands import Command, Outcome, Put, Update
from collectionstore_node.statemachine.costs import UPDATE_BYTES_MAX
from collectionstore_node.tests.api.http_clients import JSON, Client, Reply
from collectionstore_node.tests.api.memory_replica import MemoryReplica

COLLECTION = "/api/v1/collections/people"
ADA = f"{COLLECTION}/documents/ada"
MERGE = {"Content-Type": "application/merge-patch+json"}
PATCH = {"Content-Type": "application/json-patch+json"}
LINES = {"Content-Type": "application/x-ndjson"}


@pytest.fixture
async def ada(people: Client) -> Client:
    assert (await people.put(ADA, {"name": "Ada", "n": 1, "tags": ["a"]})).status == 201
    return people


@pytest.fixture
async def crowd(people: Client) -> Client:
    for at in range(20):
        assert (await people.put(f"{COLLECTION}/documents/d{at:02}", {"n": at})).status == 201
    return people


async def patch(client: Client, body: Any, query: str = "", **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await client.send("PATCH", ADA + query, orjson.dumps(body), JSON | named)


async def document(client: Client, target: str = ADA) -> Any:
    return (await client.get(target)).json


async def numbers(client: Client) -> list[int]:
    found = await client.post(f"{COLLECTION}:find", {"limit": 100})
    return [one["document"]["n"] for one in found.json["documents"]]


# PATCH


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


# By a filter


async def test_the_first_that_matches_is_updated(crowd: Client) -> None:
    reply = await crowd.post(f"{COLLECTION}:update", {"filter": {"n": {"$gte": 3}}, "update": {"$inc": {"n": 100}}})
    last = await crowd.post(
        f"{COLLECTION}:update", {"filter": {"n": {"$lt": 50}}, "sort": {"n": -1}, "merge_patch": {"n": 0}}
    )

    assert reply.json == {"matched": 1, "modified": 1, "upserted_id": None, "id": "d03", "revision": 22}
    assert last.json["id"] == "d19"
    assert (await numbers(crowd))[3] == 103


async def test_nothing_that_matches_is_no_failure(crowd: Client) -> None:
    for verb, body in (
        ("update", {"filter": {"n": -1}, "update": {"$inc": {"n": 1}}}),
        ("delete", {"filter": {"n": -1}}),
        ("findAndModify", {"filter": {"n": -1}, "remove": True}),
    ):
        reply = await crowd.post(f"{COLLECTION}:{verb}", body)
        assert (reply.status, reply.json["id"]) == (200, None), verb


async def test_an_upsert_inserts_what_its_filter_says(crowd: Client) -> None:
    body = {
        "filter": {"_id": "new", "kind": "x"},
        "update": {"$inc": {"n": 1}, "$setOnInsert": {"m": 2}},
        "upsert": True,
    }
    first = await crowd.post(f"{COLLECTION}:update", body)
    second = await crowd.post(f"{COLLECTION}:update", body)
    made = await crowd.post(f"{COLLECTION}:update", {**body, "filter": {"kind": "y"}})

    assert (first.status, first.json["matched"], first.json["upserted_id"]) == (201, 0, "new")
    assert (second.status, second.json["matched"], second.json["upserted_id"]) == (200, 1, None)
    assert await document(crowd, f"{COLLECTION}/documents/new") == {"kind": "x", "n": 2, "m": 2}
    assert made.status == 201
    assert await document(crowd, f"{COLLECTION}/documents/{made.json['id']}") == {"kind": "y", "n": 1, "m": 2}


async def test_an_upsert_does_not_replace_a_document_that_its_filter_does_not_match(crowd: Client) -> None:
    body = {"filter": {"_id": "d01", "kind": "x"}, "update": {"$set": {"n": 9}}, "upsert": True}
    (await crowd.post(f"{COLLECTION}:update", body)).problem(409, "document_exists")
    assert (await numbers(crowd))[1] == 1
    for names in ({"$in": ["a", "b"]}, 5, ".."):
        reply = await crowd.post(f"{COLLECTION}:update", {**body, "filter": {"_id": names}})
        reply.problem(400, "invalid_filter")


@pytest.mark.parametrize("image", ["before", "after"])
async def test_find_and_modify_answers_the_document(crowd: Client, image: str) -> None:
    body = {"filter": {"n": {"$lt": 10}}, "sort": {"n": -1}, "update": {"$inc": {"n": 100}}, "return": image}
    reply = await crowd.post(f"{COLLECTION}:findAndModify", body)

    number = 9 if image == "before" else 109
    assert reply.json == {"id": "d09", "created": False, "modified": True, "document": {"n": number}, "revision": 22}


async def test_find_and_modify_replaces_removes_and_projects(crowd: Client) -> None:
    replaced = await crowd.post(
        f"{COLLECTION}:findAndModify",
        {"filter": {"_id": "d01"}, "replacement": {"n": 1.50, "z": 2}, "return": "after", "projection": {"z": 1}},
    )
    removed = await crowd.post(f"{COLLECTION}:findAndModify", {"filter": {"_id": "d01"}, "remove": True})

    assert replaced.json["document"] == {"z": 2}
    assert removed.json["document"] == {"n": 1.5, "z": 2}
    (await crowd.get(f"{COLLECTION}/documents/d01")).problem(404, "document_not_found")


async def test_a_repeated_find_and_modify_takes_one_document(crowd: Client) -> None:
    """As from a queue: the document that was taken does not match any more, and another one must not be taken."""
    body = {"filter": {"taken": None}, "sort": {"n": 1}, "update": {"$set": {"taken": True}}}
    replies = [await crowd.post(f"{COLLECTION}:findAndModify", body, Idempotency_Key="k") for _ in range(3)]

    assert replies[0].json["id"] == "d00"
    assert {reply.headers.get("Idempotency-Replayed") for reply in replies[1:]} == {"true"}
    assert {reply.json["revision"] for reply in replies} == {22}
    found = await crowd.post(f"{COLLECTION}:count", {"filter": {"taken": True}})
    assert found.json["count"] == 1
    changed = await crowd.post(f"{COLLECTION}:findAndModify", {**body, "sort": {"n": -1}}, Idempotency_Key="k")
    changed.problem(422, "idempotency_key_reused")


async def test_a_repeated_request_that_took_the_last_one_is_answered_as_the_first(crowd: Client) -> None:
    body = {"filter": {"n": 7}, "update": {"$set": {"n": 700}}}
    first = await crowd.post(f"{COLLECTION}:update", body, Idempotency_Key="k")
    again = await crowd.post(f"{COLLECTION}:update", body, Idempotency_Key="k")

    assert (again.json["matched"], again.json["revision"]) == (1, first.json["revision"])
    # Which one it was is not kept.
    assert (first.json["id"], again.json["id"]) == ("d07", None)


async def test_a_repeated_upsert_inserts_once(people: Client) -> None:
    body = {"filter": {"kind": "x"}, "update": {"$inc": {"n": 1}}, "upsert": True}
    replies = [await people.post(f"{COLLECTION}:update", body, Idempotency_Key="k") for _ in range(2)]

    assert replies[0].json == replies[1].json
    assert await numbers(people) == [1]


async def test_a_repeated_request_that_found_nothing_finds_nothing(crowd: Client) -> None:
    body = {"filter": {"n": 500}, "update": {"$inc": {"n": 1}}}
    first = await crowd.post(f"{COLLECTION}:update", body, Idempotency_Key="k")
    await crowd.put(f"{COLLECTION}/documents/late", {"n": 500})
    again = await crowd.post(f"{COLLECTION}:update", body, Idempotency_Key="k")

    assert [one.json["matched"] for one in (first, again)] == [0, 0]


class Meddler:
    """Changes a document between the search for it and the command that changes it."""

    def __init__(self, replica: MemoryReplica, times: int) -> None:
        self._replica = replica
        self._propose = replica.propose
        self.left = times

    async def propose(self, command: Command, *, timeout_s: float) -> Outcome:
        action = command.action
        if isinstance(action, Update) and self.left:
            self.left -= 1
            taken = Update(action.ref, action.form, b'{"$set":{"n":-1}}')
            await self._propose(Command(taken), timeout_s=timeout_s)
        return await self._propose(command, timeout_s=timeout_s)


async def test_a_document_that_others_changed_is_searched_again(
    crowd: Client, replica: MemoryReplica, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replica, "propose", Meddler(replica, 2).propose)
    body = {"filter": {"n": {"$gte": 5}}, "update": {"$inc": {"n": 100}}}
    reply = await crowd.post(f"{COLLECTION}:update", body, Idempotency_Key="k")

    assert reply.json["id"] == "d07"
    found = await numbers(crowd)
    assert found[5:8] == [-1, -1, 107]
    assert (await crowd.post(f"{COLLECTION}:update", body, Idempotency_Key="k")).json["matched"] == 1
    assert await numbers(crowd) == found


class Queue:
    """Applies what several workers have proposed together, in the order in which it came."""

    def __init__(self, replica: MemoryReplica, workers: int) -> None:
        self._propose = replica.propose
        self._workers = workers
        self._begun = 0
        self._all_are_here = asyncio.Event()
        self.proposed = 0

    async def propose(self, command: Command, *, timeout_s: float) -> Outcome:
        self.proposed += 1
        self._begun += 1
        if self._begun == self._workers:
            self._all_are_here.set()
        await self._all_are_here.wait()
        return await self._propose(command, timeout_s=timeout_s)


async def test_workers_of_a_queue_lose_once_and_take_turns_then(
    crowd: Client, replica: MemoryReplica, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All find the same document at first. Without turns they would all find the second one then."""
    workers = 4
    queue = Queue(replica, workers)
    monkeypatch.setattr(replica, "propose", queue.propose)
    body = {"filter": {"taken": None}, "sort": {"n": 1}, "update": {"$set": {"taken": True}}}
    replies = await asyncio.gather(*(crowd.post(f"{COLLECTION}:findAndModify", body) for _ in range(workers)))

    assert {reply.status for reply in replies} == {200}
    assert len({reply.json["id"] for reply in replies}) == workers
    assert queue.proposed == 2 * workers - 1


async def test_a_document_that_others_change_each_time_is_not_now(
    crowd: Client, replica: MemoryReplica, monkeypatch: pytest.MonkeyPatch
) -> None:
    for at in range(20, 2 * ATTEMPTS_MAX):
        assert (await crowd.put(f"{COLLECTION}/documents/d{at:02}", {"n": at})).status == 201
    monkeypatch.setattr(replica, "propose", Meddler(replica, 99).propose)
    reply = await crowd.post(f"{COLLECTION}:update", {"filter": {"n": {"$gte": 0}}, "update": {"$inc": {"n": 100}}})

    assert reply.problem(503, "unavailable")["retryable"]


async def test_an_upsert_updates_what_others_inserted_first(
    people: Client, replica: MemoryReplica, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once: the first attempt loses its ID, the second one finds the document."""
    made = replica.propose
    left = [1]

    async def propose(command: Command, *, timeout_s: float) -> Outcome:
        if isinstance(command.action, Update) and left:
            left.pop()
            await made(Command(Put(command.action.ref, b'{"kind":"x","n":1}')), timeout_s=timeout_s)
        return await made(command, timeout_s=timeout_s)

    monkeypatch.setattr(replica, "propose", propose)
    body = {"filter": {"_id": "new", "kind": "x"}, "update": {"$inc": {"n": 1}}, "upsert": True}
    reply = await people.post(f"{COLLECTION}:update", body)

    assert (reply.status, reply.json["matched"], reply.json["upserted_id"]) == (200, 1, None)
    assert await numbers(people) == [2]


async def test_a_repeated_request_goes_on_where_others_were_faster(
    crowd: Client, replica: MemoryReplica, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The attempts that were lost are remembered under the key; they must not be all that a repetition has."""
    for at in range(20, 2 * ATTEMPTS_MAX):
        assert (await crowd.put(f"{COLLECTION}/documents/d{at:02}", {"n": at})).status == 201
    body = {"filter": {"n": {"$gte": 0}}, "update": {"$inc": {"n": 100}}}
    with monkeypatch.context() as meddled:
        meddled.setattr(replica, "propose", Meddler(replica, 99).propose)
        (await crowd.post(f"{COLLECTION}:update", body, Idempotency_Key="k")).problem(503, "unavailable")
    reply = await crowd.post(f"{COLLECTION}:update", body, Idempotency_Key="k")

    assert (reply.status, reply.json["modified"]) == (200, 1)
    assert sum(one >= 100 for one in await numbers(crowd)) == 1


# Many


async def test_many_are_updated_in_the_order_of_their_ids(crowd: Client) -> None:
    reply = await crowd.post(
        f"{COLLECTION}:update", {"filter": {"n": {"$gte": 10}}, "update": {"$inc": {"n": 100}}, "many": True}
    )

    assert reply.json == {"matched": 10, "modified": 10, "skipped": 0, "next_cursor": None, "revision": 31}
    assert reply.headers["X-Revision"] == "31"
    assert await numbers(crowd) == [*range(10), *range(110, 120)]


async def test_many_count_what_was_modified(crowd: Client) -> None:
    reply = await crowd.post(f"{COLLECTION}:update", {"filter": {}, "update": {"$max": {"n": 15}}, "many": True})
    assert (reply.json["matched"], reply.json["modified"]) == (20, 15)


@pytest.mark.parametrize("limit", [1, 3, 7, 20, 25])
async def test_a_cursor_continues_where_a_limit_ended_it(crowd: Client, limit: int) -> None:
    body = {"filter": {"n": {"$gte": 0}}, "update": {"$inc": {"n": 1}}, "many": True, "limit": limit}
    modified, pages = 0, 0
    while True:
        reply = await crowd.post(f"{COLLECTION}:update", body)
        modified, pages = modified + reply.json["modified"], pages + 1
        if reply.json["next_cursor"] is None:
            break
        body["cursor"] = reply.json["next_cursor"]

    assert modified == 20
    assert pages in (-(-20 // limit), -(-20 // limit) + 1)
    assert await numbers(crowd) == list(range(1, 21))


async def test_many_are_deleted(crowd: Client) -> None:
    first = await crowd.post(f"{COLLECTION}:delete", {"filter": {"n": {"$lt": 15}}, "many": True, "limit": 10})
    rest = await crowd.post(
        f"{COLLECTION}:delete",
        {"filter": {"n": {"$lt": 15}}, "many": True, "cursor": first.json["next_cursor"]},
    )

    assert (first.json["deleted"], rest.json["deleted"], rest.json["next_cursor"]) == (10, 5, None)
    assert await numbers(crowd) == list(range(15, 20))
    one = await crowd.post(f"{COLLECTION}:delete", {"filter": {"n": {"$gt": 15}}, "sort": {"n": -1}})
    assert one.json == {"deleted": 1, "id": "d19", "revision": 37}


async def test_a_repeated_change_of_many_changes_none_twice(crowd: Client) -> None:
    body = {"filter": {"n": {"$gte": 0}}, "update": {"$inc": {"n": 1}}, "many": True}
    first = await crowd.post(f"{COLLECTION}:update", body, Idempotency_Key="k")
    again = await crowd.post(f"{COLLECTION}:update", body, Idempotency_Key="k")

    assert first.json["modified"] == 20
    assert (again.json["modified"], again.json["skipped"]) == (0, 20)
    assert await numbers(crowd) == list(range(1, 21))
    other = await crowd.post(f"{COLLECTION}:update", {**body, "limit": 5}, Idempotency_Key="k")
    other.problem(422, "idempotency_key_reused")


class Breaker:
    """Lets some commands through, then applies one and loses its outcome."""

    def __init__(self, replica: MemoryReplica, good: int, error: Exception) -> None:
        self._propose = replica.propose
        self._good = good
        self._error = error

    async def propose(self, command: Command, *, timeout_s: float) -> Outcome:
        outcome = None
        if self._good >= 0:
            outcome = await self._propose(command, timeout_s=timeout_s)
        self._good -= 1
        if outcome is None or self._good < 0:
            raise self._error
        return outcome


async def test_what_was_interrupted_is_continued_and_nothing_is_done_twice(
    crowd: Client, replica: MemoryReplica, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fate of one command is unknown to the client, those behind it were not applied; the cursor sorts it out."""
    body = {"filter": {"n": {"$gte": 0}}, "update": {"$inc": {"n": 1}}, "many": True}
    with monkeypatch.context() as broken:
        broken.setattr(replica, "propose", Breaker(replica, 6, OutcomeUnknown("lost")).propose)
        fields = (await crowd.post(f"{COLLECTION}:update", body)).problem(504, "outcome_unknown")
    # By another client, meanwhile, behind the batch that is in doubt.
    await crowd.put(f"{COLLECTION}/documents/d19", {"n": 50})
    rest = await crowd.post(f"{COLLECTION}:update", {**body, "cursor": fields["next_cursor"]})

    assert fields["retryable"]
    assert 0 < fields["modified"] <= 6
    assert rest.json["next_cursor"] is None
    assert rest.json["skipped"] >= 1
    assert await numbers(crowd) == [*range(1, 20), 51]


async def test_a_command_that_is_applied_late_changes_nothing_twice(
    crowd: Client, replica: MemoryReplica, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its outcome was unknown, the request was continued, and then it is applied after all."""
    made, late = replica.propose, []

    async def lose(command: Command, *, timeout_s: float) -> Outcome:
        late.append(command)
        raise OutcomeUnknown("lost")

    body = {"filter": {"n": {"$gte": 0}}, "update": {"$inc": {"n": 1}}, "many": True}
    with monkeypatch.context() as broken:
        broken.setattr(replica, "propose", lose)
        fields = (await crowd.post(f"{COLLECTION}:update", body)).problem(504, "outcome_unknown")
    rest = await crowd.post(f"{COLLECTION}:update", {**body, "cursor": fields["next_cursor"]})
    for command in late:
        await made(command, timeout_s=1)

    assert late
    assert rest.json["modified"] == 20
    assert await numbers(crowd) == list(range(1, 21))


async def test_what_others_write_meanwhile_is_changed_while_it_matches(
    crowd: Client, replica: MemoryReplica, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = replica.propose
    others = {"d03": b'{"n":50}', "d04": b'{"n":-5}'}

    async def propose(command: Command, *, timeout_s: float) -> Outcome:
        action = command.action
        if isinstance(action, Update) and (text := others.pop(action.ref.id, None)):
            await made(Command(Put(action.ref, text)), timeout_s=timeout_s)
        return await made(command, timeout_s=timeout_s)

    monkeypatch.setattr(replica, "propose", propose)
    reply = await crowd.post(
        f"{COLLECTION}:update", {"filter": {"n": {"$gte": 0}}, "update": {"$inc": {"n": 1}}, "many": True}
    )

    assert (reply.json["matched"], reply.json["skipped"]) == (19, 0)
    assert (await numbers(crowd))[2:6] == [3, 51, -5, 6]


async def test_what_was_refused_says_how_far_it_came(
    crowd: Client, replica: MemoryReplica, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"filter": {"n": {"$gte": 0}}, "update": {"$inc": {"n": 1}}, "many": True}
    with monkeypatch.context() as broken:
        broken.setattr(replica, "propose", Breaker(replica, 6, NotLeader()).propose)
        fields = (await crowd.post(f"{COLLECTION}:update", body)).problem(503, "no_leader")

    assert (fields["outcome"], fields["retryable"]) == ("applied", True)
    rest = await crowd.post(f"{COLLECTION}:update", {**body, "cursor": fields["next_cursor"]})
    assert rest.status == 200
    assert await numbers(crowd) == list(range(1, 21))


async def test_a_document_that_does_not_fit_ends_a_change_of_many(crowd: Client) -> None:
    await crowd.put(f"{COLLECTION}/documents/d11", {"n": "x"})
    body = {"filter": {}, "update": {"$inc": {"n": 1}}, "many": True}
    fields = (await crowd.post(f"{COLLECTION}:update", body)).problem(422, "update_failed")

    assert (fields["id"], fields["outcome"]) == ("d11", "applied")
    assert fields["errors"][0]["pointer"] == "/update/$inc/n"
    await crowd.put(f"{COLLECTION}/documents/d11", {"n": 11})
    rest = await crowd.post(f"{COLLECTION}:update", {**body, "cursor": fields["next_cursor"]})
    # It was written since: by its own revision it cannot be told from those that were changed.
    assert rest.json["skipped"] >= 1
    assert (await numbers(crowd))[11] == 11
    found = await numbers(crowd)
    assert [one for at, one in enumerate(found) if at != 11] == [at + 1 for at in range(20) if at != 11]


@pytest.mark.parametrize(
    ("verb", "body", "code", "pointer"),
    [
        ("update", {}, "invalid_update", ""),
        ("update", {"update": {"$inc": {"n": 1}}, "merge_patch": {}}, "invalid_update", ""),
        ("update", {"update": {"$inc": {"n": "x"}}}, "invalid_update", "/update/$inc/n"),
        ("update", {"update": {"$inc": {"n": 1}}, "filter": {"$foo": 1}}, "invalid_filter", "/filter/$foo"),
        ("update", {"update": {"$inc": {"n": 1}}, "filter": None}, "invalid_filter", "/filter"),
        ("update", {"update": {"$inc": {"n": 1}}, "filter": {"a": "x" * 70_000}}, "invalid_update", "/filter"),
        ("update", {"update": None}, "invalid_update", "/update"),
        ("delete", {"filter": None, "many": True}, "invalid_filter", "/filter"),
        ("update", {"update": {"$set": {"a.$[x]": 1}}, "array_filters": [{}]}, "invalid_update", "/array_filters/0"),
        ("update", {"merge_patch": {}, "array_filters": []}, "invalid_update", "/array_filters"),
        ("update", {"json_patch": [{"op": "x"}]}, "invalid_update", "/json_patch/0/op"),
        ("update", {"update": {"$inc": {"n": 1}}, "limit": 5}, "invalid_query", "/limit"),
        ("update", {"update": {"$inc": {"n": 1}}, "many": True, "sort": {"n": 1}}, "invalid_query", "/sort"),
        ("update", {"update": {"$inc": {"n": 1}}, "many": True, "upsert": True}, "invalid_update", "/upsert"),
        ("update", {"update": {"$inc": {"n": 1}}, "sort": {"n": 5}}, "invalid_sort", "/sort/n"),
        ("findAndModify", {"remove": True, "update": {"$inc": {"n": 1}}}, "invalid_update", ""),
        ("findAndModify", {"remove": True, "return": "after"}, "invalid_update", "/return"),
        ("findAndModify", {"remove": True, "upsert": True}, "invalid_update", "/upsert"),
        ("findAndModify", {"remove": True, "return": "x"}, "invalid_update", "/return"),
        ("findAndModify", {"replacement": []}, "invalid_update", "/replacement"),
        ("findAndModify", {"replacement": {"_x": 1}}, "reserved_field", "/replacement"),
        ("findAndModify", {"remove": True, "projection": {"a": 2}}, "invalid_projection", "/projection/a"),
    ],
)
async def test_a_mistake_in_a_body_is_named_with_its_place(
    crowd: Client, verb: str, body: Any, code: str, pointer: str
) -> None:
    reply = await crowd.post(f"{COLLECTION}:{verb}", {"filter": {}, **body})
    assert reply.problem(400, code)["errors"][0]["pointer"] == pointer


async def test_what_else_is_refused(crowd: Client) -> None:
    inc: dict[str, Any] = {"filter": {}, "update": {"$inc": {"n": 1}}}
    many: dict[str, Any] = {**inc, "many": True}
    (await crowd.post(f"{COLLECTION}:update", {**inc, "foo": 1})).problem(400, "invalid_body")
    for verb, body in (
        ("update", {"update": inc["update"]}),
        ("delete", {"many": True}),
        ("findAndModify", {"remove": True}),
    ):
        (await crowd.post(f"{COLLECTION}:{verb}", body)).problem(400, "invalid_body")
    (await crowd.post(f"{COLLECTION}:update", inc, If_Match='"1"')).problem(400, "invalid_precondition")
    (await crowd.post(f"{COLLECTION}:update", {**many, "cursor": "x"})).problem(400, "invalid_cursor")
    elsewhere = encode_progress(("many", "people", "modified", "x"), "a", 1, None)
    (await crowd.post(f"{COLLECTION}:update", {**many, "cursor": elsewhere})).problem(400, "invalid_cursor")
    for limit in (0, MANY_DOCUMENTS_MAX + 1):
        (await crowd.post(f"{COLLECTION}:update", {**many, "limit": limit})).problem(400, "invalid_query")
    for verb in ("update", "delete"):
        body = many if verb == "update" else {"filter": {}, "many": True}
        (await crowd.post(f"/api/v1/collections/none:{verb}", body)).problem(404, "collection_not_found")


async def test_a_cluster_that_is_being_upgraded_says_so(ada: Client, replica: MemoryReplica) -> None:
    replica.write_error = UpgradePending("its feature level is 2, and this needs 3")
    for reply in (
        await patch(ada, {"$inc": {"n": 1}}),
        await ada.post(f"{COLLECTION}:update", {"filter": {}, "update": {"$inc": {"n": 1}}}),
        await ada.post(f"{COLLECTION}:update", {"filter": {}, "update": {"$inc": {"n": 1}}, "many": True}),
    ):
        fields = reply.problem(503, "upgrade_pending")
        assert (fields["retryable"], fields["outcome"]) == (True, "not_applied")


# Bulk


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


# Transactions


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
