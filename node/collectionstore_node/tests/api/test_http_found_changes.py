"""Updates of the first document that a filter finds: upserts, find-and-modify, retries, and others that are faster."""

from __future__ import annotations

import asyncio

import pytest

from collectionstore_node.service.updates import ATTEMPTS_MAX
from collectionstore_node.statemachine.commands import Command, Outcome, Put, Update
from collectionstore_node.tests.api.http_clients import Client
from collectionstore_node.tests.api.memory_replica import MemoryReplica
from collectionstore_node.tests.api.updating import COLLECTION, document, numbers


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
