# ruff: noqa: E501 - a row is a line, however long: as a table it can be read
"""What a pipeline may cost: pauses, memory, and pipelines that were made to explode."""

from __future__ import annotations

from typing import Any

import pytest

from collectionstore_node.documents.expressions import weigh
from collectionstore_node.errors import InvalidRequest
from collectionstore_node.query.aggregation import Work, parse_pipeline
from collectionstore_node.query.aggregation.work import Item
from collectionstore_node.query.find import parse_find
from collectionstore_node.query.scanning import STEP_NS, Meter, Record, matching
from collectionstore_node.query.sorting import KEY_BYTES_MAX
from collectionstore_node.tests.query.running import Lists, items, run

MANY = [{"_id": at, "n": at % 10, "text": "x" * 100, "list": list(range(20))} for at in range(2_000)]
WIDE = [{"_id": 1, "a": list(range(100_000))}]
SAME = [{"_id": at, "k": 1} for at in range(3_000)]
MEMORY_BYTES = 100_000
JOIN = {"$lookup": {"from": "same", "localField": "k", "foreignField": "k", "as": "j"}}

KEEPERS: list[list[dict[str, Any]]] = [
    [{"$sort": {"text": 1}}],
    [{"$sort": {"text": 1}}, {"$limit": 1_000}],
    [{"$group": {"_id": "$_id"}}],
    [{"$group": {"_id": None, "a": {"$push": "$$ROOT"}}}],
    [{"$group": {"_id": None, "a": {"$addToSet": {"i": "$_id"}}}}],
    [{"$group": {"_id": "$n", "a": {"$lastN": {"input": "$text", "n": 200}}}}],
    [{"$group": {"_id": None, "a": {"$mergeObjects": {"$arrayToObject": [[[{"$toString": "$_id"}, "$text"]]]}}}}],
    [{"$facet": {"a": [], "b": []}}],
    [{"$bucket": {"groupBy": "$n", "boundaries": [0, 100], "output": {"a": {"$push": "$text"}}}}],
    [{"$sortByCount": "$_id"}],
    [{"$set": {"k": 1}}, JOIN],
    [{"$group": {"_id": None, "a": {"$first": {"$map": {"input": {"$range": [0, 60_000]}, "in": "$n"}}}}}],
]


@pytest.mark.parametrize("given", KEEPERS, ids=lambda given: str(given)[:60])
def test_what_is_kept_is_counted_and_refused_beyond_its_bound(given: list[dict[str, Any]]) -> None:
    pipeline = parse_pipeline(given)
    work = Work(pipeline.slots, MEMORY_BYTES)

    with pytest.raises(InvalidRequest) as refused:
        run(given, MANY, {"same": SAME}, work)

    assert refused.value.code == "query_memory_exceeded"
    assert str(MEMORY_BYTES) in refused.value.detail
    # At most one more than may be kept.
    assert MEMORY_BYTES < work.peak <= MEMORY_BYTES + 200_000


PASSERS: list[list[dict[str, Any]]] = [
    [{"$sort": {"text": 1}}, {"$limit": 10}],
    [{"$group": {"_id": "$n", "a": {"$sum": "$_id"}, "m": {"$max": "$text"}}}],
    [{"$unwind": "$list"}, {"$count": "n"}],
    [{"$facet": {"a": [{"$count": "n"}], "b": [{"$sort": {"_id": -1}}, {"$limit": 5}]}}],
    [{"$group": {"_id": "$n", "a": {"$lastN": {"input": "$text", "n": 3}}}}],
]


@pytest.mark.parametrize("given", PASSERS, ids=lambda given: str(given)[:60])
def test_what_is_not_kept_costs_no_memory(given: list[dict[str, Any]]) -> None:
    pipeline = parse_pipeline(given)
    assert run(given, MANY, None, Work(pipeline.slots, MEMORY_BYTES))


HEAVY: list[tuple[list[dict[str, Any]], list[dict[str, Any]]]] = [
    ([{"$unwind": "$list"}, {"$unwind": "$list"}, {"$match": {"n": -1}}], MANY),
    ([{"$group": {"_id": "$n", "s": {"$sum": {"$size": "$list"}}}}], MANY),
    ([{"$sort": {"n": 1}}, {"$skip": 1_990}], MANY),
    ([{"$project": {"s": {"$sum": "$list"}}}, {"$match": {"s": 0}}], MANY),
    ([{"$facet": {"a": [{"$unwind": "$list"}, {"$count": "n"}], "b": [{"$match": {"n": -1}}]}}], MANY),
    ([{"$unwind": "$a"}, {"$match": {"a": -1}}], WIDE),
    ([{"$skip": 1}, {"$match": {"$expr": {"$in": [-1, {"$range": [0, 500]}]}}}], MANY[:50]),
    ([{"$limit": 50}, JOIN, {"$unwind": "$j"}, {"$match": {"k": 2}}], SAME[:600]),
]


@pytest.mark.parametrize(("given", "documents"), HEAVY, ids=lambda value: str(value)[:60])
def test_long_work_is_paused(given: list[dict[str, Any]], documents: list[dict[str, Any]]) -> None:
    """Between two pauses a stage spends hardly more than a step; without any document coming out."""
    pipeline = parse_pipeline(given)
    work = Work(pipeline.slots, 32 << 20)
    pauses, most = 0, 0
    sources = Lists(pipeline, {"same": SAME[:500]})
    found = (Item(document, weigh(document)) for document in documents if pipeline.find.asked.match(document))
    for item in pipeline.run(found, work, sources):
        if item is None:
            pauses += work.spent >= STEP_NS
            most = max(most, work.spent)
            work.spent = 0
    assert pauses >= 3
    assert most < 20 * STEP_NS


AT_LAST: dict[str, Any] = {"$set": {"b": {"$literal": {}}}}

# fmt: off
BOMBS: list[tuple[list[dict[str, Any]], str]] = [
    ([{"$set": {"b": ["$$ROOT", "$$ROOT"]}}] * 40, "query_memory_exceeded"),
    ([{"$set": {"b": "$$ROOT"}}] * 64, "query_memory_exceeded"),
    ([{"$project": {f"f{at}": "$$ROOT" for at in range(100)}}] * 4, "query_memory_exceeded"),
    ([{"$replaceWith": {"a": "$$ROOT", "b": "$$ROOT"}}] * 60, "query_memory_exceeded"),
    ([{"$replaceWith": {"a": "$$ROOT"}}] * 60 + [AT_LAST], ""),
    ([{"$group": {"_id": "$$ROOT", "a": {"$push": {"x": ["$$ROOT"] * 50}}}}] * 4, "query_memory_exceeded"),
    ([{"$facet": {f"f{at}": [] for at in range(16)}}] * 6, "query_memory_exceeded"),
    ([JOIN, {"$unwind": "$j"}, {"$set": {"k": 1}}, JOIN, {"$set": {"j": ["$j"] * 100}}], "query_memory_exceeded"),
    ([{"$set": {"t": {"$concat": ["$text"] * 120}}}] + [{"$set": {"t": {"$concat": ["$t"] * 120}}}] * 3, ""),
    ([{"$unwind": "$list"}, {"$group": {"_id": None, "a": {"$push": "$list"}}}, {"$set": {"a": ["$a"] * 900}}], ""),
    ([{"$sort": {"text": 1}}], "sort_key_too_long"),
    ([{"$set": {"a": {"$range": [0, 90_000]}}}, {"$match": {"$or": [{"a": -at} for at in range(1, 100)]}}], "query_too_costly"),
    ([{"$group": {"_id": {"$reduce": {"input": {"$range": [0, 40]}, "initialValue": 1, "in": ["$$value", "$$value"]}}}}], ""),
    ([{"$lookup": {"from": "same", "localField": "r", "foreignField": "k", "as": "j"}}], "query_too_costly"),
    ([{"$bucket": {"groupBy": {"$map": {"input": {"$range": [0, 99_999]}, "in": [1, 2]}}, "boundaries": [0, 1]}}], "expression_failed"),
]
# fmt: on


@pytest.mark.parametrize(("given", "code"), BOMBS, ids=lambda value: str(value)[:60])
def test_a_bomb_is_refused_within_its_bound(given: list[dict[str, Any]], code: str) -> None:
    document = {
        "_id": 1,
        "k": 1,
        "text": "x" * (KEY_BYTES_MAX + 1),
        "list": list(range(1_000)),
        "r": list(range(20_000)),
    }

    if given[-1] is AT_LAST:
        # As deep as a document may be.
        assert run(given, [document], {"same": SAME})
        return
    with pytest.raises(InvalidRequest) as refused:
        run(given, [document], {"same": SAME})

    assert refused.value.code == code or (not code and refused.value.code.startswith("query_"))


def test_the_limit_of_a_sort_bounds_its_memory() -> None:
    """And it reads no more than it must when nothing sorts."""
    pipeline = parse_pipeline([{"$limit": 3}, {"$count": "n"}])
    taken = []

    def watched() -> Any:
        for item in items(MANY, pipeline.find):
            taken.append(item)
            yield item

    made = [item for item in pipeline.run(watched(), Work(0, MEMORY_BYTES), Lists(pipeline, {})) if item is not None]

    assert [item.document for item in made] == [{"n": 3}]
    assert len([item for item in taken if item is not None]) == 3


def test_expressions_in_the_filter_of_a_query_are_paused() -> None:
    """A small document may take long: what its expressions did is counted, not its bytes."""
    find = parse_find({"$expr": {"$in": [-1, {"$range": [0, 2_000]}]}})
    records = (Record(f"{at}", 1, b"{}", 2) for at in range(100))

    pauses = [found for found in matching(records, find.asked, Meter())]

    assert len(pauses) > 30
    assert {*pauses} == {None}
