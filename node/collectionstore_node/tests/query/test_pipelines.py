# ruff: noqa: E501 - a row is a line, however long: as a table it can be read
"""Pipelines: the table of what they make, and what is refused."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from collectionstore_node.errors import InvalidPart
from collectionstore_node.query.aggregation import Work, parse_pipeline
from collectionstore_node.query.aggregation.faceting import FACETS_MAX
from collectionstore_node.query.aggregation.ordering import Sort
from collectionstore_node.query.aggregation.pipeline import JOINS_MAX, NAMES, STAGES_MAX
from collectionstore_node.query.sorting import SortField
from collectionstore_node.query.spans import Ids
from collectionstore_node.tests.query.pipeline_cases import ALL, INVENTORY, Row, numbers
from collectionstore_node.tests.query.running import MEMORY_BYTES, run


def test_the_table_has_at_least_a_hundred_cases() -> None:
    assert len(ALL) >= 100


@pytest.mark.parametrize("row", ALL, ids=lambda row: str(row[0])[:70])
def test_a_pipeline_makes_what_the_table_says(row: Row) -> None:
    """With the same types, in the same order of fields, and without a change of what it was given."""
    given, documents, expected = row
    before = copy.deepcopy(documents)

    found = run(given, documents, {"inventory": INVENTORY})

    assert repr(found) == repr(expected)
    assert documents == before


@pytest.mark.parametrize("row", ALL, ids=lambda row: str(row[0])[:70])
def test_memory_is_given_back(row: Row) -> None:
    """All but what groups keep: they are there until the pipeline ends."""
    given, documents, _ = row
    pipeline = parse_pipeline(given)
    work = Work(pipeline.slots, MEMORY_BYTES)
    run(given, documents, {"inventory": INVENTORY}, work)

    text = str(given)
    if not any(name in text for name in ("$group", "$bucket", "$sortByCount", "$limit")):
        assert work.kept == 0


def test_every_stage_is_in_the_table() -> None:
    text = str(ALL)
    assert [name for name in NAMES if f"'{name}'" not in text] == []


LOOKUP = {"from": "b", "localField": "a", "foreignField": "b", "as": "c"}
REFUSED: list[tuple[Any, str, str, str]] = [
    ({}, "", "invalid_pipeline", "a list of stages"),
    ([5], "/0", "invalid_pipeline", "an object with one name"),
    ([{}], "/0", "invalid_pipeline", "an object with one name"),
    ([{"$match": {}, "$limit": 1}], "/0", "invalid_pipeline", "an object with one name"),
    ([{"$foo": 1}], "/0/$foo", "invalid_pipeline", "unknown stage; known: $addFields, $bucket, $count"),
    ([{"$out": "x"}], "/0/$out", "invalid_pipeline", "a pipeline reads"),
    ([{"$merge": {}}], "/0/$merge", "invalid_pipeline", "a pipeline reads"),
    ([{"$sample": {"size": 1}}], "/0/$sample", "invalid_pipeline", "same answer"),
    ([{"$match": 1}], "/0/$match", "invalid_filter", "a filter is an object"),
    ([{"$match": {"a": {"$foo": 1}}}], "/0/$match/a/$foo", "invalid_filter", "unknown operator"),
    ([{"$match": {"$expr": {"$foo": 1}}}], "/0/$match/$expr/$foo", "invalid_expression", "unknown operator"),
    ([{"$project": {}}], "/0/$project", "invalid_pipeline", "one or more fields"),
    ([{"$project": {"a": 1, "b": 0}}], "/0/$project/b", "invalid_pipeline", "not both"),
    ([{"$project": {"a": 0, "b": 1}}], "/0/$project/b", "invalid_pipeline", "not both"),
    ([{"$project": {"a": 0, "b": "$c"}}], "/0/$project/b", "invalid_pipeline", "none is computed"),
    ([{"$project": {"a": 1, "a.b": 1}}], "/0/$project/a.b", "invalid_pipeline", "one that contains it"),
    ([{"$project": {"a.b": 1, "a": 1}}], "/0/$project/a", "invalid_pipeline", "a field within it"),
    ([{"$project": {"a": {}}}], "/0/$project/a", "invalid_pipeline", "1, 0, an expression"),
    ([{"$project": {"a.$b": 1}}], "/0/$project/a.$b", "invalid_pipeline", "dollar sign"),
    ([{"$project": {"a": {"$add": ["$b", {"$foo": 1}]}}}], "/0/$project/a/$add/1/$foo", "invalid_expression", "unknown"),
    ([{"$addFields": {"a": "$$x"}}], "/0/$addFields/a", "invalid_expression", "no such variable"),
    ([{"$unset": 5}], "/0/$unset", "invalid_pipeline", "a path"),
    ([{"$unset": ["a", "a.b"]}], "/0/$unset/1", "invalid_pipeline", "one that contains it"),
    ([{"$replaceRoot": "$a"}], "/0/$replaceRoot", "invalid_pipeline", '{"newRoot": expression}'),
    ([{"$group": {"a": 1}}], "/0/$group", "invalid_pipeline", "_id"),
    ([{"$group": {"_id": 1, "a": 1}}], "/0/$group/a", "invalid_pipeline", "one accumulator"),
    ([{"$group": {"_id": 1, "a": {"$foo": 1}}}], "/0/$group/a/$foo", "invalid_pipeline", "known: $addToSet, $avg, $count"),
    ([{"$group": {"_id": 1, "a.b": {"$sum": 1}}}], "/0/$group/a.b", "invalid_expression", "no dot"),
    ([{"$group": {"_id": 1, "a": {"$sum": ["$b", 1]}}}], "/0/$group/a/$sum", "invalid_pipeline", "one expression"),
    ([{"$group": {"_id": 1, "a": {"$firstN": {"input": 1, "n": 0}}}}], "/0/$group/a/$firstN/n", "invalid_pipeline", "from 1 to 1000"),
    ([{"$group": {"_id": 1, "a": {"$count": 1}}}], "/0/$group/a/$count", "invalid_pipeline", "takes {}"),
    ([{"$sort": {"a": 2}}], "/0/$sort/a", "invalid_sort", "1 (ascending)"),
    ([{"$sort": {}}], "/0/$sort", "invalid_pipeline", "at least one field"),
    ([{"$limit": 0}], "/0/$limit", "invalid_pipeline", "from 1 to"),
    ([{"$limit": 1.5}], "/0/$limit", "invalid_pipeline", "from 1 to"),
    ([{"$skip": -1}], "/0/$skip", "invalid_pipeline", "from 0 to"),
    ([{"$skip": "1"}], "/0/$skip", "invalid_pipeline", "from 0 to"),
    ([{"$unwind": "a"}], "/0/$unwind", "invalid_pipeline", '"$path"'),
    ([{"$unwind": {"path": "$a", "x": 1}}], "/0/$unwind/x", "invalid_pipeline", '"$path"'),
    ([{"$unwind": {"path": "$a", "includeArrayIndex": "$b"}}], "/0/$unwind/includeArrayIndex", "invalid_expression", "dollar sign"),
    ([{"$lookup": {"from": "b"}}], "/0/$lookup", "invalid_pipeline", "there is no 'localField'"),
    ([{"$lookup": {**LOOKUP, "pipeline": []}}], "/0/$lookup", "invalid_pipeline", "without a pipeline"),
    ([{"$lookup": {**LOOKUP, "as": 5}}], "/0/$lookup/as", "invalid_pipeline", '"as": path'),
    ([{"$lookup": LOOKUP}] * (JOINS_MAX + 1), f"/{JOINS_MAX}/$lookup/from", "invalid_pipeline", f"at most {JOINS_MAX}"),
    ([{"$unionWith": {"coll": 5}}], "/0/$unionWith/coll", "invalid_pipeline", '"collection"'),
    ([{"$unionWith": {"coll": "b", "pipeline": [{"$x": 1}]}}], "/0/$unionWith/pipeline/0/$x", "invalid_pipeline", "unknown"),
    ([{"$facet": {}}], "/0/$facet", "invalid_pipeline", f"1 to {FACETS_MAX}"),
    ([{"$facet": {"a": [{"$facet": {"b": []}}]}}], "/0/$facet/a/0/$facet", "invalid_pipeline", "not within $facet"),
    ([{"$facet": {"a": 5}}], "/0/$facet/a", "invalid_pipeline", "a list of stages"),
    ([{"$facet": {f"f{at}": [] for at in range(FACETS_MAX + 1)}}], "/0/$facet", "invalid_pipeline", f"1 to {FACETS_MAX}"),
    ([{"$bucket": {"groupBy": "$a"}}], "/0/$bucket", "invalid_pipeline", "there is no 'boundaries'"),
    ([{"$bucket": {"groupBy": "$a", "boundaries": [1]}}], "/0/$bucket/boundaries", "invalid_pipeline", "2 to 1000"),
    ([{"$bucket": {"groupBy": "$a", "boundaries": [2, 1]}}], "/0/$bucket/boundaries", "invalid_pipeline", "ascend"),
    ([{"$bucket": {"groupBy": "$a", "boundaries": [1, "a"]}}], "/0/$bucket/boundaries", "invalid_pipeline", "one type"),
    ([{"$bucket": {"groupBy": "$a", "boundaries": [1, "$a"]}}], "/0/$bucket/boundaries/1", "invalid_pipeline", "not computed"),
    ([{"$bucket": {"groupBy": "$a", "boundaries": [1, 3], "default": 2}}], "/0/$bucket/default", "invalid_pipeline", "between"),
    ([{"$count": "$a"}], "/0/$count", "invalid_expression", "dollar sign"),
    ([{"$count": 5}], "/0/$count", "invalid_pipeline", "the name of the field"),
    ([{"$sortByCount": "a"}], "/0/$sortByCount", "invalid_pipeline", "an expression"),
    ([{"$limit": 1}] * (STAGES_MAX + 1), f"/{STAGES_MAX}", "invalid_pipeline", f"at most {STAGES_MAX} stages"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "pointer", "code", "detail"), REFUSED, ids=lambda value: str(value)[:60])
def test_a_mistake_is_refused_with_its_place(given: Any, pointer: str, code: str, detail: str) -> None:
    with pytest.raises(InvalidPart) as refused:
        parse_pipeline(given)

    assert (refused.value.pointer, refused.value.code) == ("/pipeline" + pointer, code)
    assert detail in refused.value.detail


@pytest.mark.parametrize(
    ("given", "documents", "pointer", "detail"),
    [
        ([{"$replaceWith": "$n"}], numbers(1), "/0/$replaceWith", "takes an object for each document, and this is int"),
        ([{"$bucket": {"groupBy": "$n", "boundaries": [0, 1]}}], numbers(1), "/0/$bucket/groupBy", "no default"),
        ([{"$group": {"_id": 1, "a": {"$mergeObjects": "$n"}}}], numbers(1), "/0/$group/a/$mergeObjects", "takes objects"),
        ([{"$group": {"_id": 1, "a": {"$sum": "$n"}}}], numbers(1e308, 1e308), "/0/$group/a/$sum", "no JSON number"),
        ([{"$project": {"a": {"$divide": [1, "$n"]}}}], numbers(0), "/0/$project/a/$divide", "divide by zero"),
    ],
    ids=str,
)  # fmt: skip
def test_values_that_do_not_fit_are_named(
    given: Any, documents: list[dict[str, Any]], pointer: str, detail: str
) -> None:
    with pytest.raises(InvalidPart) as failed:
        run(given, documents)

    assert (failed.value.pointer, failed.value.code) == ("/pipeline" + pointer, "expression_failed")
    assert detail in failed.value.detail


def test_what_a_pipeline_begins_with_is_a_query() -> None:
    """So that what serves queries, by ID or by an index, serves pipelines."""
    pipeline = parse_pipeline(
        [{"$match": {"_id": {"$in": ["a", "b"]}}}, {"$match": {"_id": {"$gt": "a"}}}, {"$sort": {"n": -1}}, {"$skip": 2}, {"$limit": 3}]
    )  # fmt: skip

    assert pipeline.find.place == Ids(("b",))
    assert pipeline.find.order == (SortField(("n",), descending=True),)
    assert pipeline.stages[0] == Sort((SortField(("n",), descending=True),), 5)
    assert [stage.name for stage in pipeline.stages] == ["$sort", "$skip", "$limit"]
