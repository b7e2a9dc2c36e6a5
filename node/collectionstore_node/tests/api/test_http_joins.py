"""Joins by an index: the same answers as without one, and what an explanation says of them."""

from __future__ import annotations

import random
from typing import Any

import pytest

from collectionstore_node.tests.api.http_clients import Client
from collectionstore_node.tests.api.memory_replica import MemoryReplica
from collectionstore_node.tests.api.test_http_indexes import built

PEOPLE = "/api/v1/collections/people"
CITIES = "/api/v1/collections/cities"
LOOKUP = {"from": "cities", "localField": "city", "foreignField": "name", "as": "at"}


@pytest.fixture
async def places(people: Client) -> Client:
    await people.send("PUT", CITIES, b"")
    for at in range(200):
        await people.put(f"{CITIES}/documents/c{at:03}", {"name": f"city {at}", "size": at})
    for at in range(10):
        await people.put(f"{PEOPLE}/documents/p{at}", {"city": f"city {at // 2}"})
    return people


async def joined(client: Client, *stages: Any) -> dict[str, Any]:
    reply = await client.post(f"{PEOPLE}:aggregate", {"pipeline": [*stages], "explain": True})
    assert reply.status == 200, reply.body
    answer: dict[str, Any] = reply.json
    return answer


async def test_an_index_serves_a_lookup(places: Client, replica: MemoryReplica) -> None:
    before = await joined(places, {"$lookup": LOOKUP})
    assert before["explain"]["joins"] == [{"collection": "cities", "plan": {"kind": "scan", "sort": "id"}}]
    assert before["explain"]["examined"] == 10 + 200
    await places.post(f"{CITIES}/indexes", {"name": "by_name", "fields": {"name": 1}})
    await built(replica)

    after = await joined(places, {"$lookup": LOOKUP})

    assert after["documents"] == before["documents"]
    (join,) = after["explain"]["joins"]
    assert (join["plan"]["kind"], join["plan"]["index"], join["plan"]["ranges"]) == ("index", "by_name", 5)
    assert after["explain"]["examined"] == 10 + 5
    assert after["explain"]["keys_examined"] == 5
    assert after["explain"]["plan"] == {"kind": "scan", "sort": "id"}


async def test_an_index_serves_a_union(places: Client, replica: MemoryReplica) -> None:
    union = {"$unionWith": {"coll": "cities", "pipeline": [{"$match": {"size": {"$lt": 3}}}]}}
    before = await joined(places, union)
    await places.post(f"{CITIES}/indexes", {"name": "by_size", "fields": {"size": 1}})
    await built(replica)

    after = await joined(places, union)

    assert after["documents"] == before["documents"]
    assert after["explain"]["joins"][0]["plan"]["index"] == "by_size"
    assert after["explain"]["examined"] == 10 + 3


VALUES: list[Any] = [
    None,
    0,
    1,
    1.0,
    2,
    "a",
    "b",
    "",
    True,
    [],
    [1],
    [1, 2],
    ["a", None],
    {"x": 1},
    [{"x": 1}],
    "x" * 300,
]
DEFINITIONS: list[dict[str, Any]] = [
    {"fields": {"k": 1}},
    {"fields": {"k": -1}},
    {"fields": {"k": 1, "n": 1}},
    {"fields": {"k": 1}, "sparse": True},
    {"fields": {"k": 1}, "fold": ["k"]},
    {"fields": {"k.x": 1}},
    {"fields": {"k": 1}, "filter": {"n": {"$gte": 2}}},
]


@pytest.mark.parametrize("definition", DEFINITIONS, ids=str)
async def test_random_pairs_join_alike_with_an_index_and_without(
    people: Client, replica: MemoryReplica, definition: dict[str, Any]
) -> None:
    """Init: documents with values of all types on both sides. Check: an index changes no answer."""
    chosen = random.Random(str(definition))
    await people.send("PUT", CITIES, b"")
    for at in range(32):
        foreign = {"n": at % 4} | ({} if chosen.random() < 0.15 else {"k": chosen.choice(VALUES)})
        await people.put(f"{CITIES}/documents/{at:02}", foreign)
        local = {} if chosen.random() < 0.15 else {"k": chosen.choice(VALUES)}
        await people.put(f"{PEOPLE}/documents/{at:02}", local)
    lookups = [
        {"$lookup": {"from": "cities", "localField": local, "foreignField": foreign, "as": "found"}}
        for local, foreign in (("k", "k"), ("k.x", "k.x"), ("k", "k.x"), ("_id", "k"))
    ]
    shown = {"$project": {"found": "$found._id"}}
    narrow = {"$limit": 2}
    pipelines = [[one, shown] for one in lookups] + [[narrow, one, shown] for one in lookups]
    before = [(await joined(people, *one))["documents"] for one in pipelines]
    await people.post(f"{CITIES}/indexes", {"name": "one", **definition})
    await built(replica)

    after = [await joined(people, *one) for one in pipelines]

    assert [one["documents"] for one in after] == before
    used = [one["explain"]["joins"][0]["plan"]["kind"] for one in after]
    assert "index" in used or "filter" in definition or "sparse" in definition
