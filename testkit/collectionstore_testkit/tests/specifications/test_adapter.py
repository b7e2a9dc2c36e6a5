"""The adapter of the specification tests: what matches, and a test of our own in their format."""

from __future__ import annotations

from typing import Any

import pytest

from collectionstore import AsyncClient
from collectionstore.testing import memory_store
from collectionstore_testkit.specifications.__main__ import main, shown
from collectionstore_testkit.specifications.runner import Verdict, run_test
from collectionstore_testkit.specifications.values import NotInJson, difference, from_store, to_store


def test_ids_are_texts_in_the_order_of_numbers() -> None:
    there = to_store({"filter": {"_id": {"$in": [1, 22]}}, "sort": {"_id": 1}, "x": {"$numberLong": "5"}})
    assert there == {"filter": {"_id": {"$in": ["00000001", "00000022"]}}, "sort": {"_id": 1}, "x": 5}
    assert from_store([{"_id": "00000022", "x": "00000001", "_revision": 4}]) == [{"_id": 22, "x": "00000001"}]
    with pytest.raises(NotInJson):
        to_store({"x": {"$binary": {}}})


@pytest.mark.parametrize(
    ("expected", "actual", "matches"),
    [
        ({"a": 1}, {"a": 1, "b": 2}, True),
        ({"a": {"b": 1}}, {"a": {"b": 1, "c": 2}}, False),
        ({"a": {"$$exists": False}}, {}, True),
        ({"a": {"$$exists": True}}, {}, False),
        ({"a": {"$$unsetOrMatches": 1}}, {}, True),
        ({"a": {"$$unsetOrMatches": 1}}, {"a": 2}, False),
        ([1, 2], [1, 2], True),
        ([1], [1, 2], False),
        (1, True, False),
        (None, None, True),
    ],
)
def test_what_matches(expected: Any, actual: Any, *, matches: bool) -> None:
    assert (difference(expected, actual) is None) is matches


FILE: dict[str, Any] = {
    "createEntities": [{"collection": {"id": "c", "collectionName": "Things"}}],
    "initialData": [{"collectionName": "Things", "documents": [{"_id": 1, "x": 11}, {"_id": 2, "x": 22}]}],
}
UPDATE = {
    "name": "updateOne",
    "object": "c",
    "arguments": {"filter": {"_id": {"$gt": 1}}, "update": {"$inc": {"x": 1}}},
    "expectResult": {"matchedCount": 1, "modifiedCount": 1, "upsertedCount": 0},
}


@pytest.mark.parametrize(
    ("test", "verdict"),
    [
        (
            {
                "operations": [UPDATE],
                "outcome": [{"collectionName": "Things", "documents": [{"_id": 1, "x": 11}, {"_id": 2, "x": 23}]}],
            },
            Verdict(passed=True),
        ),
        (
            {"operations": [{**UPDATE, "expectResult": {"matchedCount": 2}}]},
            Verdict(passed=False, reason="updateOne: matchedCount: another value"),
        ),
        (
            {"operations": [UPDATE], "outcome": [{"collectionName": "Things", "documents": []}]},
            Verdict(passed=False, reason="outcome: 2 elements, not 0"),
        ),
        (
            {"operations": [{**UPDATE, "expectError": {"isError": True}}]},
            Verdict(passed=False, reason="the store allows what MongoDB refuses"),
        ),
        (
            {"operations": [{"name": "failPoint", "object": "testRunner"}]},
            Verdict(passed=False, reason="needs fault points of a MongoDB server (`failPoint`)", offered=False),
        ),
    ],
)
async def test_a_test(test: dict[str, Any], verdict: Verdict) -> None:
    async with memory_store() as store, AsyncClient(store.url) as client:
        assert await run_test(client, FILE, test) == verdict
        assert await client.list_collection_names() == []


def test_what_is_printed() -> None:
    verdicts = [("a", Verdict(passed=True)), ("b", Verdict(passed=False, reason="no", offered=False))]
    assert shown("crud", verdicts, every=True).splitlines() == [
        "crud: 1 of 2 pass (50 %); of the 1 that need nothing else than is offered, 100 %",
        "     1 no",
        "  - b: no",
    ]


def test_a_folder_that_is_none() -> None:
    with pytest.raises(SystemExit):
        main(["/nowhere"])
