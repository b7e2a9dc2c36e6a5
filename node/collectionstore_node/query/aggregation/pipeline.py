"""`Pipeline`: one checked aggregation, from JSON to a stream of documents."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

import msgspec

from collectionstore_node.documents.expressions import ExpressionParser
from collectionstore_node.documents.filters import Node
from collectionstore_node.documents.filters.tree import And
from collectionstore_node.documents.paths import ID, REVISION
from collectionstore_node.documents.pointers import child
from collectionstore_node.documents.values import Value
from collectionstore_node.query.aggregation.faceting import FACETS_MAX, FacetStage
from collectionstore_node.query.aggregation.grouping import parse_bucket, parse_count, parse_group, parse_sort_by_count
from collectionstore_node.query.aggregation.joining import UnionWith, parse_lookup
from collectionstore_node.query.aggregation.mistakes import invalid, options
from collectionstore_node.query.aggregation.ordering import (
    Limit,
    MatchStage,
    Skip,
    Sort,
    parse_limit,
    parse_match,
    parse_skip,
    parse_sort_stage,
)
from collectionstore_node.query.aggregation.shaping import parse_add, parse_project, parse_replace, parse_unset
from collectionstore_node.query.aggregation.stage import Source, Stage, Surroundings
from collectionstore_node.query.aggregation.unwinding import parse_unwind
from collectionstore_node.query.aggregation.work import Item, Items, Work
from collectionstore_node.query.find import Find, find_where
from collectionstore_node.query.scanning import Record

STAGES_MAX: Final = 64
"""Stages of a pipeline, with those of the pipelines in it."""
JOINS_MAX: Final = 8
"""`$lookup` and `$unionWith` of a pipeline."""

_VALUE_BYTES: Final = 8

_Parse = Callable[[str, Value, str, ExpressionParser], Any]

_STAGES: Final[dict[str, _Parse]] = {
    "$addFields": parse_add,
    "$bucket": parse_bucket,
    "$count": parse_count,
    "$group": parse_group,
    "$limit": parse_limit,
    "$match": parse_match,
    "$project": parse_project,
    "$replaceRoot": parse_replace,
    "$replaceWith": parse_replace,
    "$set": parse_add,
    "$skip": parse_skip,
    "$sort": parse_sort_stage,
    "$sortByCount": parse_sort_by_count,
    "$unset": parse_unset,
    "$unwind": parse_unwind,
}

NAMES: Final = tuple(sorted((*_STAGES, "$facet", "$lookup", "$unionWith")))
"""All stages."""

_REFUSED: Final = {
    "$out": "a pipeline reads; write what it answers with a transaction",
    "$merge": "a pipeline reads; write what it answers with a transaction",
    "$sample": "the same query gives the same answer",
    "$bucketAuto": "give the boundaries to $bucket",
    "$graphLookup": "joins go one step; use $lookup",
    "$redact": "use $match and $project",
    "$setWindowFields": "use $group",
    "$densify": "it is not built",
    "$fill": "use $addFields with $ifNull",
    "$geoNear": "there are no places in JSON documents",
    "$search": "there is no text index",
    "$changeStream": "a pipeline reads one state",
    "$documents": "a pipeline reads a collection",
}


class Pipeline(msgspec.Struct, frozen=True):
    """What is read of the collection, and the stages behind it."""

    find: Find
    """The `$match` that the pipeline begins with, and the order in which its documents are taken, if it begins so."""
    stages: tuple[Stage, ...]
    """All others, in order; a `$sort` that is in `find` is among them."""
    collections: tuple[tuple[str, str], ...]
    """The other collections that are read, each with the pointer of its name."""
    slots: int
    """How many variables the expressions have."""

    def run(self, found: Items, work: Work, source: Source) -> Items:
        """Yield the documents that come out, with None at pauses; `found` are those of `find`.

        Raises `InvalidRequest`, and `InvalidPart("expression_failed")` for values that do not fit an operator.
        """
        for stage in self.started(work, source):
            found = stage(found)
        return found

    def started(self, work: Work, source: Source) -> list[Callable[[Items], Items]]:
        """Return the stages as functions from what comes in to what comes out."""
        around = Surroundings(work, source)
        return [partial(_run, stage, around) for stage in self.stages]

    def plan(self) -> dict[str, Any]:
        """Return how the documents are found."""
        return self.find.plan()


def _run(stage: Stage, around: Surroundings, items: Items) -> Items:
    return stage.run(items, around)


class _Parser:
    """Counts the stages of all pipelines of one request."""

    def __init__(self, now: str | None) -> None:
        self.expressions = ExpressionParser(now)
        self.collections: list[tuple[str, str]] = []
        self._count = 0

    def stages(self, given: Value, pointer: str, *, facet: bool = False) -> list[Stage]:
        """Return the stages of one pipeline. Raises `InvalidPart`."""
        if type(given) is not list:
            raise invalid(pointer, 'a pipeline is a list of stages, such as [{"$match": {}}, {"$count": "n"}]')
        found: list[Stage] = []
        for at, one in enumerate(given):
            where = child(pointer, at)
            self._count += 1
            if self._count > STAGES_MAX:
                raise invalid(where, f"a pipeline has at most {STAGES_MAX} stages, with those of the pipelines in it")
            if type(one) is not dict or len(one) != 1:
                raise invalid(where, 'a stage is an object with one name, such as {"$limit": 10}')
            ((name, operand),) = one.items()
            found += self._stage(name, operand, child(where, name), facet=facet)
        return found

    def _stage(self, name: str, given: Value, pointer: str, *, facet: bool) -> tuple[Stage, ...]:
        if name == "$facet":
            if facet:
                raise invalid(pointer, "$facet is not within $facet")
            return (self._facet(given, pointer),)
        if name == "$lookup":
            return (parse_lookup(given, pointer, self._join),)
        if name == "$unionWith":
            return (self._union(given, pointer, facet=facet),)
        parse = _STAGES.get(name)
        if parse is None:
            reason = _REFUSED.get(name)
            if reason is not None:
                raise invalid(pointer, f"{name} is not supported: {reason}")
            raise invalid(pointer, f"unknown stage; known: {', '.join(NAMES)}")
        stage = parse(name, given, pointer, self.expressions)
        return stage if isinstance(stage, tuple) else (stage,)

    def _facet(self, given: Value, pointer: str) -> FacetStage:
        if type(given) is not dict or not 1 <= len(given) <= FACETS_MAX:
            raise invalid(pointer, f'$facet takes an object of 1 to {FACETS_MAX} pipelines: {{"name": [stages]}}')
        pipelines = []
        for name, stages in given.items():
            at = child(pointer, name)
            if not name or name[0] == "$" or "." in name:
                raise invalid(at, "a name here is not empty, does not begin with a dollar sign, and has no dot")
            pipelines.append((name, _joined(self.stages(stages, at, facet=True))))
        return FacetStage(tuple(pipelines))

    def _union(self, given: Value, pointer: str, *, facet: bool) -> UnionWith:
        form = '"collection", or {"coll": "collection", "pipeline": [stages]}'
        found = {"coll": given} if type(given) is str else options(given, pointer, form, ("coll",), "pipeline")
        at = pointer if type(given) is str else child(pointer, "coll")
        if type(found["coll"]) is not str:
            raise invalid(at, f"the stage takes {form}")
        join = self._join(found["coll"], at)
        stages = self.stages(found.get("pipeline", []), child(pointer, "pipeline"), facet=facet)
        find, rest = _front(stages)
        return UnionWith(join, find, rest)

    def _join(self, collection: str, pointer: str) -> int:
        if len(self.collections) >= JOINS_MAX:
            raise invalid(pointer, f"a pipeline has at most {JOINS_MAX} $lookup and $unionWith")
        self.collections.append((collection, pointer))
        return len(self.collections) - 1


def parse_pipeline(given: Value, pointer: str = "/pipeline", *, now: str | None = None) -> Pipeline:
    """Return the pipeline that the JSON value `given` describes; `pointer` is where it is in the request's body.

    `now` is what `$$NOW` is, an RFC 3339 text; None where it is not known.
    Raises `InvalidPart`: `invalid_pipeline`, `invalid_expression`, `invalid_filter` or `invalid_sort`.
    """
    parser = _Parser(now)
    find, stages = _front(parser.stages(given, pointer))
    return Pipeline(find, stages, tuple(parser.collections), parser.expressions.slots)


def items_of(found: Iterator[tuple[Record, dict[str, Any]] | None]) -> Items:
    """Yield stored documents as a pipeline takes them: `_id` and `_revision` first."""
    for one in found:
        if one is None:
            yield None
            continue
        record, document = one
        size = len(record.text) + _VALUE_BYTES * (record.text.count(b",") + 1)
        yield Item({ID: record.id, REVISION: record.revision, **document}, size)


def _front(stages: list[Stage]) -> tuple[Find, tuple[Stage, ...]]:
    """Return the query that the stages begin with, and the other stages."""
    nodes: list[Node] = []
    count = 0
    for stage in stages:
        if not isinstance(stage, MatchStage):
            break
        nodes.append(stage.node)
        count += 1
    rest = _joined(stages[count:])
    first = rest[0] if rest else None
    order = first.order if isinstance(first, Sort) else ()
    return find_where(nodes[0] if len(nodes) == 1 else And(tuple(nodes)), order), rest


def _joined(stages: list[Stage]) -> tuple[Stage, ...]:
    """Return the stages, each `$sort` with how many of its documents the ones behind it take."""
    found = list(stages)
    for at, stage in enumerate(stages):
        if not isinstance(stage, Sort):
            continue
        skipped = 0
        for later in stages[at + 1 :]:
            if isinstance(later, Skip):
                skipped += later.count
                continue
            if isinstance(later, Limit):
                found[at] = Sort(stage.order, skipped + later.count, stage.name)
            break
    return tuple(found)
