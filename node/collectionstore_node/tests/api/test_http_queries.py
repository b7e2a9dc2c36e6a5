"""Queries over HTTP: find, count, distinct, their pages, and what is refused."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import quote

import pytest

from collectionstore_node.api.handlers.queries import Search, _scope
from collectionstore_node.api.http.cursors import Place, encode_place
from collectionstore_node.query.find import SKIP_MAX
from collectionstore_node.query.sorting import KEY_BYTES_MAX
from collectionstore_node.statemachine.tokens import read_token_key
from collectionstore_node.tests.api.http_clients import JSON, Client
from collectionstore_node.tests.api.memory_replica import MemoryReplica

COLLECTION = "/api/v1/collections/people"
PEOPLE = {
    "ada": {"name": "Ada", "born": 1815, "tags": ["maths", "engines"]},
    "alan": {"name": "Alan", "born": 1912, "tags": ["maths", "codes"], "home": {"city": "London"}},
    "edsger": {"name": "Edsger", "born": 1930, "tags": []},
    "grace": {"name": "Grace", "born": 1906, "home": {"city": "New York"}},
    "noname": {"born": None},
}


@pytest.fixture
async def crowd(people: Client) -> Client:
    for name, document in PEOPLE.items():
        assert (await people.put(f"{COLLECTION}/documents/{name}", document)).status == 201
    return people


async def find(client: Client, body: dict[str, Any]) -> list[str]:
    """Return the IDs that are found, page by page."""
    found: list[str] = []
    while True:
        reply = await client.post(f"{COLLECTION}:find", body)
        assert reply.status == 200, reply.body
        found += [one["id"] for one in reply.json["documents"]]
        if reply.json["next_cursor"] is None:
            return found
        body = {**body, "cursor": reply.json["next_cursor"]}


async def test_a_find_answers_as_a_list_does(crowd: Client) -> None:
    reply = await crowd.post(f"{COLLECTION}:find", {"filter": {"born": {"$lt": 1850}}})

    assert reply.status == 200
    assert reply.json == {
        "documents": [{"id": "ada", "revision": 2, "document": PEOPLE["ada"]}],
        "next_cursor": None,
        "revision": 6,
    }
    assert reply.headers["X-Revision"] == "6"
    assert reply.headers["Cache-Control"] == "no-cache"


async def test_documents_come_as_they_are_stored(people: Client) -> None:
    """Without a projection no digit is lost."""
    await people.send("PUT", f"{COLLECTION}/documents/x", b'{"a":1.50,"b":1e2}', JSON)

    assert b'"document":{"a":1.50,"b":1e2}' in (await people.post(f"{COLLECTION}:find", {})).body


@pytest.mark.parametrize(
    ("body", "ids"),
    [
        ({}, ["ada", "alan", "edsger", "grace", "noname"]),
        ({"filter": {"tags": "maths"}}, ["ada", "alan"]),
        ({"filter": {"home.city": {"$exists": True}}}, ["alan", "grace"]),
        ({"sort": {"born": 1}}, ["noname", "ada", "grace", "alan", "edsger"]),
        ({"sort": {"born": -1}}, ["edsger", "alan", "grace", "ada", "noname"]),
        ({"sort": {"home.city": -1, "born": 1}}, ["grace", "alan", "noname", "ada", "edsger"]),
        ({"sort": {"tags": 1}}, ["edsger", "grace", "noname", "alan", "ada"]),
        ({"sort": {"_id": -1}}, ["noname", "grace", "edsger", "alan", "ada"]),
        ({"sort": {"_id": 1}, "skip": 3}, ["grace", "noname"]),
        ({"sort": {"_revision": -1}, "filter": {"_revision": {"$lte": 4}}}, ["edsger", "alan", "ada"]),
        ({"filter": {"_id": {"$in": ["grace", "ada", "nobody"]}}}, ["ada", "grace"]),
        ({"filter": {"_id": {"$gt": "ada", "$lt": "f"}}}, ["alan", "edsger"]),
        ({"filter": {"_id": {"$gte": "a"}, "born": 1912}}, ["alan"]),
        ({"skip": 4}, ["noname"]),
        ({"skip": 5}, []),
        ({"filter": {"name": "x"}, "sort": {"born": 1}}, []),
    ],
    ids=lambda value: json.dumps(value)[:60],
)
@pytest.mark.parametrize("limit", [1, 2, 100])
async def test_pages_of_any_size_are_one_answer(
    crowd: Client, body: dict[str, Any], ids: list[str], limit: int
) -> None:
    assert await find(crowd, {**body, "limit": limit}) == ids


async def test_a_page_begins_behind_a_document_that_is_gone(crowd: Client) -> None:
    body = {"sort": {"born": 1}, "limit": 2}
    first = (await crowd.post(f"{COLLECTION}:find", body)).json
    await crowd.send("DELETE", f"{COLLECTION}/documents/ada")

    assert [one["id"] for one in first["documents"]] == ["noname", "ada"]
    assert await find(crowd, {**body, "cursor": first["next_cursor"]}) == ["grace", "alan", "edsger"]


async def test_a_projection_shows_or_hides(crowd: Client) -> None:
    shown = await crowd.post(
        f"{COLLECTION}:find", {"filter": {"_id": "alan"}, "projection": {"home.city": 1, "born": 1}}
    )
    hidden = await crowd.post(f"{COLLECTION}:find", {"filter": {"_id": "alan"}, "projection": {"tags": 0, "home": 0}})
    ordered = await crowd.post(
        f"{COLLECTION}:find", {"sort": {"born": -1}, "limit": 1, "projection": {"tags": 0, "born": 0}}
    )

    assert shown.json["documents"][0]["document"] == {"born": 1912, "home": {"city": "London"}}
    assert hidden.json["documents"][0]["document"] == {"name": "Alan", "born": 1912}
    assert ordered.json["documents"][0]["document"] == {"name": "Edsger"}


async def test_a_list_takes_filter_sort_and_fields(crowd: Client) -> None:
    given = quote(json.dumps({"born": {"$gt": 1900}}))
    reply = await crowd.get(f"{COLLECTION}/documents?filter={given}&sort=-born,name&fields=name&limit=2")
    rest = await crowd.get(
        f"{COLLECTION}/documents?filter={given}&sort=-born,name&fields=name&limit=2&cursor={reply.json['next_cursor']}"
    )

    assert [one["document"] for one in reply.json["documents"]] == [{"name": "Edsger"}, {"name": "Alan"}]
    assert [one["document"] for one in rest.json["documents"]] == [{"name": "Grace"}]
    assert rest.json["next_cursor"] is None


async def test_count_and_distinct(crowd: Client) -> None:
    counted = await crowd.post(f"{COLLECTION}:count", {"filter": {"tags": {"$exists": True}}})
    everything = await crowd.post(f"{COLLECTION}:count", {})
    tags = await crowd.post(f"{COLLECTION}:distinct", {"field": "tags"})
    born = await crowd.post(f"{COLLECTION}:distinct", {"field": "born", "filter": {"born": {"$ne": 1815}}})

    assert counted.json == {"count": 3, "revision": 6}
    assert everything.json == {"count": 5, "revision": 6}
    assert tags.json == {"values": ["codes", "engines", "maths"], "revision": 6}
    assert born.json["values"] == [None, 1906, 1912, 1930]


@pytest.mark.parametrize(
    ("given", "plan", "examined"),
    [
        ({}, {"kind": "scan", "sort": "id"}, 5),
        ({"_id": "ada"}, {"kind": "ids", "ids": 1, "sort": "id"}, 1),
        ({"_id": {"$gte": "al", "$lt": "b"}}, {"kind": "span", "lowest": "al", "end": "b", "sort": "id"}, 1),
    ],
    ids=str,
)
async def test_explain_tells_what_was_read(
    crowd: Client, given: dict[str, Any], plan: dict[str, Any], examined: int
) -> None:
    explained = (await crowd.post(f"{COLLECTION}:find", {"filter": given, "explain": True})).json["explain"]

    assert explained.pop("elapsed_ms") >= 0
    assert explained.pop("examined_bytes") > 0
    assert explained == {"plan": plan, "keys_examined": 0, "examined": examined, "returned": examined}


async def test_reads_may_be_stale_and_say_so(crowd: Client) -> None:
    reply = await crowd.post(f"{COLLECTION}:count?consistency=stale", {})

    assert reply.json["count"] == 5
    assert reply.headers["X-Served-By"] == "shop-0"


@pytest.mark.parametrize(
    ("verb", "body", "code", "pointer"),
    [
        ("find", {"filter": {"a": {"$foo": 1}}}, "invalid_filter", "/filter/a/$foo"),
        ("find", {"sort": {"a": 2}}, "invalid_sort", "/sort/a"),
        ("find", {"sort": {f"f{at}": 1 for at in range(17)}}, "invalid_sort", "/sort"),
        ("find", {"projection": {"a": 1, "b": 0}}, "invalid_projection", "/projection/b"),
        ("find", {"skip": -1}, "invalid_query", "/skip"),
        ("find", {"skip": SKIP_MAX + 1}, "invalid_query", "/skip"),
        ("count", {"filter": {"$x": 1}}, "invalid_filter", "/filter/$x"),
        ("distinct", {"field": ""}, "invalid_query", "/field"),
        ("distinct", {"field": "a..b"}, "invalid_query", "/field"),
    ],
    ids=str,
)
async def test_a_mistake_has_a_pointer(crowd: Client, verb: str, body: dict[str, Any], code: str, pointer: str) -> None:
    reply = await crowd.post(f"{COLLECTION}:{verb}", body)

    assert (reply.status, reply.json["code"], reply.json["outcome"]) == (400, code, "not_applied")
    assert [error["pointer"] for error in reply.json["errors"]] == [pointer]


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        (f"{COLLECTION}:find", {"filtre": {}}, 400, "invalid_body"),
        (f"{COLLECTION}:find", {"filter": []}, 400, "invalid_body"),
        (f"{COLLECTION}:find", {"limit": 0}, 400, "invalid_parameter"),
        (f"{COLLECTION}:find", {"limit": 1001}, 400, "invalid_parameter"),
        (f"{COLLECTION}:find", {"cursor": "xyz"}, 400, "invalid_cursor"),
        (f"{COLLECTION}:distinct", {}, 400, "invalid_body"),
        (f"{COLLECTION}:find?prefix=a", {}, 400, "unknown_parameter"),
        (f"{COLLECTION}:nothing", {}, 404, "unknown_route"),
        ("/api/v1/collections/:find", {}, 404, "unknown_route"),
        ("/api/v1/collections/nowhere:find", {}, 404, "collection_not_found"),
        ("/api/v1/collections/nowhere:count", {"filter": {"_id": "x"}}, 404, "collection_not_found"),
        ("/api/v1/collections/UPPER:find", {}, 400, "invalid_name"),
    ],
    ids=str,
)
async def test_a_request_is_refused(crowd: Client, path: str, body: dict[str, Any], status: int, code: str) -> None:
    reply = await crowd.post(path, body)

    assert (reply.status, reply.json["code"]) == (status, code)


@pytest.mark.parametrize("query", ["filter=5", "filter={", "sort=", "sort=a,a", "fields=", "filter={}&prefix=a"])
async def test_parameters_of_a_list_are_checked(crowd: Client, query: str) -> None:
    reply = await crowd.get(f"{COLLECTION}/documents?{query}")

    assert reply.status == 400
    assert reply.json["code"] in ("invalid_parameter", "invalid_sort", "invalid_projection")


async def test_a_cursor_is_of_one_query(crowd: Client) -> None:
    cursor = (await crowd.post(f"{COLLECTION}:find", {"limit": 1})).json["next_cursor"]

    for body in ({"filter": {"born": 1}}, {"sort": {"born": 1}}):
        reply = await crowd.post(f"{COLLECTION}:find", {**body, "cursor": cursor})
        assert (reply.status, reply.json["code"]) == (400, "invalid_cursor")
    # How much is shown, and of which fields, may change from page to page.
    reply = await crowd.post(f"{COLLECTION}:find", {"limit": 2, "projection": {"name": 1}, "cursor": cursor})
    assert [one["id"] for one in reply.json["documents"]] == ["alan", "edsger"]


async def test_a_value_too_long_to_sort_by_is_named(people: Client) -> None:
    await people.put(f"{COLLECTION}/documents/x", {"a": "x" * KEY_BYTES_MAX})
    await people.put(f"{COLLECTION}/documents/y", {"a": "x" * (KEY_BYTES_MAX - 3)})

    reply = await people.post(f"{COLLECTION}:find", {"sort": {"a": 1}})
    narrower = await people.post(f"{COLLECTION}:find", {"sort": {"a": 1}, "filter": {"_id": "y"}})

    assert (reply.status, reply.json["code"]) == (422, "sort_key_too_long")
    assert [one["id"] for one in narrower.json["documents"]] == ["y"]


async def test_a_document_with_too_many_values_for_its_query_is_refused(people: Client) -> None:
    """One document is looked at without a pause, so what that costs is bounded before it is begun."""
    await people.put(f"{COLLECTION}/documents/x", {"a": [0] * 30_000})

    tests = [{"a": at} for at in range(1, 41)]
    within = await people.post(f"{COLLECTION}:find", {"filter": {"a": {"$elemMatch": {"$or": tests}}}})
    ordered = await people.post(f"{COLLECTION}:find", {"sort": {"a": 1}})

    assert (within.status, within.json["code"]) == (422, "query_too_costly")
    assert (ordered.status, ordered.json["code"]) == (422, "sort_key_too_long")
    # One test after the other is possible.
    assert await find(people, {"filter": {"$or": [*tests, {"a": 0}]}}) == ["x"]
    assert await find(people, {"filter": {"$nor": tests}}) == ["x"]
    assert await find(people, {"filter": {"a": 0, "$or": tests}}) == []


async def test_a_page_ends_at_its_size(people: Client) -> None:
    """With and without an order: the pages together are complete."""
    for at in range(6):
        await people.put(f"{COLLECTION}/documents/{at}", {"a": -at, "b": "x" * 4_000})

    first = (await people.post(f"{COLLECTION}:find", {})).json
    assert len(first["documents"]) == 3  # the limit of these tests is 10,000 bytes
    assert await find(people, {}) == list("012345")
    assert await find(people, {"sort": {"a": 1}}) == list("543210")


async def test_a_page_that_ends_within_large_documents_loses_none(
    people: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A document is counted when it was looked at, not when it was read."""
    monkeypatch.setattr("collectionstore_node.service.queries.PAGE_BYTES_MAX", 100_000)
    for at in range(12):
        await people.put(f"{COLLECTION}/documents/d{at:02}", {"a": [at] * 20_000})

    found = await find(people, {"filter": {"a": {"$gte": 0}}, "projection": {"b": 1}})

    assert found == [f"d{at:02}" for at in range(12)]


async def test_a_forged_cursor_skips_no_more_than_a_query_may(crowd: Client, replica: MemoryReplica) -> None:
    signing = read_token_key(replica.view, replica.cluster_id)

    def forged(skip: int, key: bytes, body: dict[str, Any]) -> str:
        return encode_place(_scope("people", Search(**body)), Place(key, "a", skip), signing)

    for skip, key, body in ((SKIP_MAX + 1, b"", {}), (1, b"\x10", {"sort": {"born": 1}})):
        reply = await crowd.post(f"{COLLECTION}:find", {**body, "cursor": forged(skip, key, body)})
        assert (reply.status, reply.json["code"]) == (400, "invalid_cursor")
    assert await find(crowd, {"cursor": forged(0, b"", {})}) == sorted(PEOPLE)


async def test_queries_take_turns_and_too_many_are_refused(crowd: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collectionstore_node.service.query_thread.WAITING_MAX", 1)
    slow = {"$or": [{"name": {"$regex": f"(x|{at})*y"}} for at in range(16)]}

    replies = await asyncio.gather(
        *(crowd.post(f"{COLLECTION}:count", {"filter": slow, "explain": bool(at % 2)}) for at in range(6))
    )

    assert {reply.status for reply in replies} <= {200, 503}
    assert sum(reply.status == 200 for reply in replies) >= 3
    assert (await crowd.post(f"{COLLECTION}:count", {"filter": slow})).json["count"] == 0
