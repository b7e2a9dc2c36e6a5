"""Updates and deletes of many documents: order, cursors, interruptions; and what is refused of bodies."""

from __future__ import annotations

from typing import Any

import pytest

from collectionstore_node.api.http.cursors import encode_progress
from collectionstore_node.errors import NotLeader, OutcomeUnknown, UpgradePending
from collectionstore_node.service.updates import MANY_DOCUMENTS_MAX
from collectionstore_node.statemachine.commands import Command, Outcome, Put, Update
from collectionstore_node.tests.api.http_clients import Client
from collectionstore_node.tests.api.memory_replica import MemoryReplica
from collectionstore_node.tests.api.updating import COLLECTION, Breaker, numbers, patch


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
