"""Reads of past revisions and of those to come, over HTTP: `at_revision`, `min_revision`, pages, and what is bad."""

from __future__ import annotations

import asyncio
import base64
from typing import Any
from urllib.parse import quote

import pytest

from collectionstore_node.api.handlers.queries import Search, _scope
from collectionstore_node.api.http.cursors import Place, encode_place
from collectionstore_node.statemachine import history
from collectionstore_node.statemachine.history import Limits
from collectionstore_node.statemachine.levels import ENGINE
from collectionstore_node.statemachine.tokens import read_token_key
from collectionstore_node.tests.api.http_clients import Client, Reply
from collectionstore_node.tests.api.memory_replica import MemoryReplica

COLLECTION = "/api/v1/collections/people"
DOCUMENTS = f"{COLLECTION}/documents"
OPENINGS = ("find", "count", "distinct", "aggregate")


@pytest.fixture
async def past(people: Client) -> Client:
    """A client of a store in which each of ten documents has two states, of revisions 2 to 11 and 12 to 21."""
    for born in (1_000, 2_000):
        for at in range(10):
            await people.put(f"{DOCUMENTS}/d{at}", {"born": born + at, "odd": at % 2})
    return people


async def find(client: Client, body: dict[str, Any], query: str = "") -> Reply:
    return await client.post(f"{COLLECTION}:find{query}", body)


def ids(reply: Reply) -> list[str]:
    assert reply.status == 200, reply.body
    return [one["id"] for one in reply.json["documents"]]


async def test_a_document_is_answered_as_it_was(past: Client, replica: MemoryReplica) -> None:
    """With the revision that it had, of a state of that revision; no leader is asked."""
    barriers = replica.barriers
    reply = await past.get(f"{DOCUMENTS}/d3?at_revision=7")
    assert (reply.status, reply.json) == (200, {"born": 1_003, "odd": 1})
    assert (reply.headers["ETag"], reply.headers["X-Revision"]) == ('"5"', "7")
    assert reply.headers["X-Served-By"] == "shop-0"
    assert "X-Staleness-Ms" not in reply.headers
    (await past.get(f"{DOCUMENTS}/d9?at_revision=7")).problem(404, "document_not_found")
    assert (await past.get(f"{DOCUMENTS}/d3?at_revision=21")).json["born"] == 2_003
    assert replica.barriers == barriers
    reply = await past.send("GET", f"{DOCUMENTS}/d3?at_revision=7", b"", {"If-None-Match": '"5"'})
    assert reply.status == 304


async def test_a_raw_value_is_answered_as_it_was(people: Client) -> None:
    """With its content type."""
    await people.send("PUT", "/api/v1/kv/b/k", b"one", {"Content-Type": "text/one"})
    await people.send("PUT", "/api/v1/kv/b/k", b"two", {"Content-Type": "text/two"})
    await people.send("DELETE", "/api/v1/kv/b/k", b"")
    for revision, body, kind in ((2, b"one", "text/one"), (3, b"two", "text/two")):
        reply = await people.get(f"/api/v1/kv/b/k?at_revision={revision}")
        assert (reply.status, reply.body, reply.headers["Content-Type"]) == (200, body, kind)
    for revision in (1, 4):
        (await people.get(f"/api/v1/kv/b/k?at_revision={revision}")).problem(404, "key_not_found")
    listed = await people.get("/api/v1/kv/b?at_revision=3")
    assert [(one["key"], one["revision"]) for one in listed.json["keys"]] == [("k", 3)]
    assert listed.json["revision"] == 3
    assert (await people.get("/api/v1/kv/b?at_revision=4")).json["keys"] == []


async def test_lists_are_of_one_state_page_by_page(past: Client) -> None:
    """A list takes the revision with each page."""
    first = await past.get(f"{DOCUMENTS}?at_revision=8&limit=4")
    assert [one["revision"] for one in first.json["documents"]] == [2, 3, 4, 5]
    rest = await past.get(f"{DOCUMENTS}?at_revision=8&limit=4&cursor={quote(first.json['next_cursor'])}")
    assert [one["revision"] for one in rest.json["documents"]] == [6, 7, 8]
    assert (rest.json["next_cursor"], rest.json["revision"]) == (None, 8)
    odd = quote('{"odd":1}')
    found = await past.get(f"{DOCUMENTS}?at_revision=8&filter={odd}&sort=-born")
    assert ids(found) == ["d5", "d3", "d1"]


async def test_queries_are_of_the_state_asked_for(past: Client) -> None:
    """By a scan and by an index; an explanation says at which revision, and how much was changed since."""
    for indexed in (False, True):
        if indexed:
            await past.post(f"{COLLECTION}/indexes", {"name": "by_born", "fields": {"born": 1}})
        body = {"filter": {"born": {"$lt": 1_900}}, "sort": {"born": -1}, "explain": True}
        reply = await find(past, body, "?at_revision=16")
        assert ids(reply) == ["d9", "d8", "d7", "d6", "d5"]
        assert (reply.json["explain"]["at_revision"], reply.json["explain"]["changed_since"]) == (16, 5)
        assert reply.headers["X-Revision"] == "16"
        old = {"filter": {"born": {"$lt": 1_900}}}
        count = await past.post(f"{COLLECTION}:count?at_revision=14", {**old, "explain": True})
        assert (count.json["count"], count.json["revision"]) == (7, 14)
        assert count.json["explain"]["changed_since"] == 7
        distinct = await past.post(f"{COLLECTION}:distinct?at_revision=19", {**old, "field": "born"})
        assert distinct.json["values"] == [1_008, 1_009]
        pipeline = [{"$match": old["filter"]}, {"$group": {"_id": "$odd", "n": {"$sum": 1}}}, {"$sort": {"_id": 1}}]
        made = await past.post(f"{COLLECTION}:aggregate?at_revision=18", {"pipeline": pipeline, "explain": True})
        assert made.json["documents"] == [{"_id": 0, "n": 1}, {"_id": 1, "n": 2}]
        assert made.json["explain"]["at_revision"] == 18


async def test_all_collections_of_a_pipeline_are_of_the_state_asked_for(past: Client) -> None:
    """`$lookup` reads the others at the same revision."""
    await past.send("PUT", "/api/v1/collections/pets", b"")
    await past.put("/api/v1/collections/pets/documents/rex", {"of": "d1"})
    await past.put("/api/v1/collections/pets/documents/rex", {"of": "d2"})
    lookup = {"$lookup": {"from": "pets", "localField": "_id", "foreignField": "of", "as": "pets"}}
    pipeline = [lookup, {"$match": {"pets.of": {"$exists": True}}}, {"$project": {"_id": 1}}]
    for revision, owner in ((23, "d1"), (24, "d2")):
        reply = await past.post(f"{COLLECTION}:aggregate?at_revision={revision}", {"pipeline": pipeline})
        assert reply.json["documents"] == [{"_id": owner}]
    (await past.post(f"{COLLECTION}:aggregate?at_revision=21", {"pipeline": pipeline})).problem(
        404, "collection_not_found"
    )


@pytest.mark.parametrize("opening", OPENINGS)
async def test_what_is_not_kept_is_410_with_the_oldest_revision(
    people: Client, monkeypatch: pytest.MonkeyPatch, opening: str
) -> None:
    """For every read of the past."""
    monkeypatch.setattr(history, "LIMITS", Limits(bytes_max=600, segment_bytes=150))
    for at in range(12):
        await people.put(f"{DOCUMENTS}/d", {"a": at})
    body: dict[str, Any] = {"pipeline": []} if opening == "aggregate" else {}
    body |= {"field": "a"} if opening == "distinct" else {}
    fields = (await people.post(f"{COLLECTION}:{opening}?at_revision=1", body)).problem(410, "history_gone")
    oldest = fields["oldest_revision"]
    assert f"ask for {oldest} or a later one" in fields["detail"]
    assert (await people.post(f"{COLLECTION}:{opening}?at_revision={oldest}", body)).status == 200
    (await people.post(f"{COLLECTION}:{opening}?at_revision={oldest - 1}", body)).problem(410, "history_gone")
    (await people.get(f"{DOCUMENTS}/d?at_revision=1")).problem(410, "history_gone")
    (await people.get(f"{DOCUMENTS}?at_revision=1")).problem(410, "history_gone")


async def test_a_dropped_collection_is_410_before_its_drop(past: Client) -> None:
    """And 404 at it."""
    await past.send("DELETE", COLLECTION, b"")
    fields = (await past.get(f"{DOCUMENTS}/d1?at_revision=21")).problem(410, "history_gone")
    assert fields["oldest_revision"] == 22
    (await past.get(f"{DOCUMENTS}/d1?at_revision=22")).problem(404, "collection_not_found")


BAD = ["0", "-1", "1.5", "x", "", "1" * 19, "+3", "٣", "1e3"]


@pytest.mark.parametrize("name", ["at_revision", "min_revision"])
@pytest.mark.parametrize("value", BAD)
async def test_what_is_no_revision_is_400(past: Client, name: str, value: str) -> None:
    """With the name of the parameter, what was given, and what is allowed."""
    fields = (await past.get(f"{DOCUMENTS}/d1?{name}={quote(value)}")).problem(400, "invalid_parameter")
    assert fields["detail"].startswith(f"{name} is ")
    assert "a number from 1 on" in fields["detail"]


@pytest.mark.parametrize("other", ["consistency=stale", "consistency=linearizable", "min_revision=3"])
async def test_a_revision_of_the_past_goes_with_no_other_demand(past: Client, other: str) -> None:
    """That state never changes, so nothing of it is stale."""
    fields = (await past.get(f"{DOCUMENTS}/d1?at_revision=3&{other}")).problem(400, "invalid_parameter")
    assert "does not go with at_revision" in fields["detail"]


@pytest.mark.parametrize("path", ["/api/v1/collections", COLLECTION, f"{COLLECTION}/indexes"])
async def test_collections_and_indexes_are_read_as_they_are(past: Client, path: str) -> None:
    """They take no revision of the past, but one to wait for."""
    (await past.get(f"{path}?at_revision=3")).problem(400, "unknown_parameter")
    assert (await past.get(f"{path}?min_revision=21")).status == 200


@pytest.mark.parametrize("query", ["at_revision=22", "min_revision=22", "min_revision=22&consistency=stale"])
async def test_a_revision_to_come_is_waited_for(past: Client, replica: MemoryReplica, query: str) -> None:
    """And no longer than that."""
    asked = asyncio.ensure_future(past.get(f"{DOCUMENTS}/d1?{query}"))
    await replica.awaited.wait()
    await past.put(f"{DOCUMENTS}/d1", {"new": 1})
    reply = await asked
    assert (reply.json, reply.headers["X-Revision"]) == ({"new": 1}, "22")


@pytest.mark.parametrize("name", ["at_revision", "min_revision"])
@pytest.mark.parametrize("path", [f"{DOCUMENTS}/d1", DOCUMENTS])
async def test_a_revision_that_does_not_come_is_504_with_both(past: Client, name: str, path: str) -> None:
    """A retry may find it; nothing was read."""
    fields = (await past.get(f"{path}?{name}=99&timeout=20ms")).problem(504, "revision_not_reached")
    assert (fields["asked_revision"], fields["applied_revision"]) == (99, 21)
    assert fields["retryable"] is True
    assert fields["outcome"] == "not_applied"


async def test_a_linearizable_read_of_a_later_revision_is_confirmed_as_well(
    past: Client, replica: MemoryReplica
) -> None:
    """`min_revision` demands more, and takes nothing away; a stale one asks no leader."""
    barriers = replica.barriers
    assert (await past.get(f"{DOCUMENTS}/d1?min_revision=5")).status == 200
    assert replica.barriers == barriers + 1
    replica.stale_s = 0.1
    reply = await past.get(f"{DOCUMENTS}/d1?min_revision=5&consistency=stale&max_staleness=2s")
    assert replica.barriers == barriers + 1
    assert replica.bounds_s == [2.0]
    assert (reply.headers["X-Served-By"], reply.headers["X-Staleness-Ms"]) == ("shop-0", "100")


async def test_before_the_level_the_past_is_503(people: Client, replica: MemoryReplica) -> None:
    """And pages are as they were: of each page's time, with cursors that members of the version before can read."""
    replica.level = ENGINE
    replica.view.values.clear()
    replica.view._order.clear()
    await people.send("PUT", COLLECTION, b"")
    for at in range(4):
        await people.put(f"{DOCUMENTS}/d{at}", {"a": at})
    (await people.get(f"{DOCUMENTS}/d1?at_revision=2")).problem(503, "upgrade_pending")
    first = await find(people, {"limit": 2})
    cursor = first.json["next_cursor"]
    await people.put(f"{DOCUMENTS}/d3", {"a": 9})
    second = await find(people, {"limit": 2, "cursor": cursor})
    assert second.json["documents"][1]["document"] == {"a": 9}
    signed = encode_place(("find",), Place(b"", "d1", 0, 3), b"key")
    (await find(people, {"limit": 2, "cursor": signed})).problem(503, "upgrade_pending")
    replica.level = ENGINE + 1
    await people.put(f"{DOCUMENTS}/d3", {"a": 10})
    (await find(people, {"limit": 2, "cursor": cursor})).problem(400, "invalid_cursor")


async def test_pages_are_of_the_revision_of_the_first(past: Client) -> None:
    """Whatever is written, deleted and dropped in between; without the revision in the request."""
    for sort in ({}, {"born": 1}, {"odd": 1, "born": -1}):
        reply = await find(past, {"limit": 3, "sort": sort})
        revision, before = reply.json["revision"], await find(past, {"sort": sort})
        seen = ids(reply)
        while (cursor := reply.json["next_cursor"]) is not None:
            await past.put(f"{DOCUMENTS}/d0{len(seen)}", {"born": 1_500, "odd": 0})
            await past.put(f"{DOCUMENTS}/d{len(seen)}", {"born": 1, "odd": 5})
            await past.send("DELETE", f"{DOCUMENTS}/d{(len(seen) + 4) % 10}", b"")
            reply = await find(past, {"limit": 3, "sort": sort, "cursor": cursor})
            assert (reply.json["revision"], reply.headers["X-Revision"]) == (revision, str(revision))
            seen += ids(reply)
        assert seen == ids(before)


async def test_a_cursor_of_the_past_keeps_its_revision(past: Client) -> None:
    """Also if the request says another one: that is a mistake."""
    first = await find(past, {"limit": 4}, "?at_revision=8")
    body = {"limit": 4, "cursor": first.json["next_cursor"]}
    assert ids(await find(past, body)) == ["d4", "d5", "d6"]
    assert ids(await find(past, body, "?at_revision=8")) == ["d4", "d5", "d6"]
    assert ids(await find(past, body, "?consistency=stale")) == ["d4", "d5", "d6"]
    fields = (await find(past, body, "?at_revision=9")).problem(400, "invalid_cursor")
    assert fields["detail"] == "the cursor is of revision 8, and at_revision is 9"


async def test_a_cursor_that_was_tampered_with_is_400(past: Client) -> None:
    """Every single bit of it counts."""
    cursor = (await find(past, {"limit": 4})).json["next_cursor"]
    data = bytearray(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    for at in range(len(data)):
        forged = bytearray(data)
        forged[at] ^= 1
        text = base64.urlsafe_b64encode(forged).decode().rstrip("=")
        (await find(past, {"limit": 4, "cursor": text})).problem(400, "invalid_cursor")
    (await find(past, {"limit": 4, "cursor": cursor[:-3]})).problem(400, "invalid_cursor")
    (await find(past, {"limit": 4, "cursor": ""})).problem(400, "invalid_cursor")


async def test_a_cursor_of_another_query_or_cluster_is_400(past: Client, replica: MemoryReplica) -> None:
    """The same for one of a list, which has another form."""
    cursor = (await find(past, {"limit": 4})).json["next_cursor"]
    other = (await find(past, {"limit": 4, "filter": {"odd": 1}, "cursor": cursor})).problem(400, "invalid_cursor")
    assert "another collection, filter or order" in other["detail"]
    listed = (await past.get(f"{DOCUMENTS}?limit=4")).json["next_cursor"]
    (await find(past, {"limit": 4, "cursor": listed})).problem(400, "invalid_cursor")
    replica.cluster_id = "restored"
    fields = (await find(past, {"limit": 4, "cursor": cursor})).problem(400, "invalid_cursor")
    assert "of another cluster" in fields["detail"]


async def test_pages_whose_revision_is_gone_say_how_to_go_on(past: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """410, with a cursor for the rest as it is now: from the same place, and at one revision again."""
    first = await find(past, {"limit": 4})
    monkeypatch.setattr(history, "LIMITS", Limits(bytes_max=600, segment_bytes=150))
    for at in range(8):
        await past.put(f"{DOCUMENTS}/d9", {"a": at})
    fields = (await find(past, {"limit": 4, "cursor": first.json["next_cursor"]})).problem(410, "history_gone")
    assert "take next_cursor for the rest as it is now" in fields["detail"]
    rest = await find(past, {"limit": 4, "cursor": fields["next_cursor"]})
    assert (ids(rest), rest.json["revision"]) == (["d4", "d5", "d6", "d7"], 29)
    await past.put(f"{DOCUMENTS}/d9", {"a": 99})
    last = await find(past, {"limit": 4, "cursor": rest.json["next_cursor"]})
    assert (last.json["documents"][1]["document"], last.json["revision"]) == ({"a": 7}, 29)


async def test_a_dropped_collection_ends_its_pages(past: Client) -> None:
    """What is left of them cannot be told."""
    first = await find(past, {"limit": 4})
    await past.send("DELETE", COLLECTION, b"")
    body = {"limit": 4, "cursor": first.json["next_cursor"]}
    fields = (await find(past, body)).problem(410, "history_gone")
    (await find(past, {**body, "cursor": fields["next_cursor"]})).problem(404, "collection_not_found")


async def test_a_forged_revision_of_a_right_key_is_refused_as_any_other(past: Client, replica: MemoryReplica) -> None:
    """A cursor of this cluster's key names a revision that is not there: it is waited for, and no more."""
    signing = read_token_key(replica.view, replica.cluster_id)
    cursor = encode_place(_scope("people", Search()), Place(b"", "d1", 0, (1 << 64) - 1), signing)
    (await find(past, {"cursor": cursor}, "?timeout=20ms")).problem(504, "revision_not_reached")
