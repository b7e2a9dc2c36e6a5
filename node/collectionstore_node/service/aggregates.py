"""Aggregation: a pipeline over one run of a query, in the thread of queries."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any, Final, Protocol

import orjson

from collectionstore_node.errors import InvalidRequest
from collectionstore_node.query.aggregation import Items, Work, items_of
from collectionstore_node.query.find import Find
from collectionstore_node.query.scanning import Meter, Record
from collectionstore_node.service.limits import StoreLimits
from collectionstore_node.service.operations import AggregateDocuments
from collectionstore_node.service.results import Aggregated, StageCounts

DUMP_NS: Final = 3
"""What writing a byte of an answer costs, about."""

Matches = Iterator[tuple[Record, dict[str, Any]] | None]


class Run(Protocol):
    """What `queries` hands in: one run of a query over one state."""

    meter: Meter
    revision: int
    stale_since: float | None

    def all_matches(self) -> Matches:
        """Yield the matches, and None at pauses. Raises `InvalidRequest` and `ReadTimedOut`."""

    def others(self, join: int, collection: str, find: Find) -> Matches:
        """Yield those of another collection, by ID; `join` is its number among those of the pipeline."""

    def joins(self) -> tuple[dict[str, Any] | None, ...]:
        """Return how the documents of each of these were found at last."""

    def examined(self) -> Meter:
        """Return what was read of all collections together."""

    def check_time(self) -> None:
        """Raise `ReadTimedOut` when the time is up."""


class _Others:
    """Implements `query.aggregation.Source`."""

    __slots__ = ("_request", "_run")

    def __init__(self, run: Run, request: AggregateDocuments) -> None:
        self._run = run
        self._request = request

    def documents(self, join: int, find: Find) -> Items:
        """Return the documents that the join of this number finds."""
        collection, _ = self._request.pipeline.collections[join]
        return items_of(self._run.others(join, collection, find))


class _Counts:
    """Counts what passes between two stages."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0

    def through(self, items: Items) -> Items:
        """Yield what passes."""
        for item in items:
            self.count += item is not None
            yield item


def aggregated(request: AggregateDocuments, run: Run, limits: StoreLimits) -> Generator[None, None, Aggregated]:
    """Return what a pipeline makes, in steps."""
    pipeline = request.pipeline
    work = Work(pipeline.slots, limits.query_memory_bytes_max)
    counts = [_Counts() for _ in range(len(pipeline.stages) + 1)]
    found = counts[0].through(items_of(run.all_matches()))
    for stage, count in zip(pipeline.started(work, _Others(run, request)), counts[1:], strict=True):
        found = count.through(stage(found))
    texts: list[bytes] = []
    size = 0
    for item in found:
        if item is not None:
            text = orjson.dumps(item.document)
            texts.append(text)
            size += len(text)
            work.spent += DUMP_NS * len(text)
            if len(texts) > limits.list_items_max or size > limits.list_bytes_max:
                raise _too_large(limits)
        if item is None or work.due:
            work.spent = 0
            yield
            run.check_time()
    stages = tuple(
        StageCounts(stage.name, taken.count, made.count)
        for stage, taken, made in zip(pipeline.stages, counts, counts[1:], strict=False)
    )
    return Aggregated(tuple(texts), run.revision, run.examined(), stages, run.joins(), work.peak, run.stale_since)


def _too_large(limits: StoreLimits) -> InvalidRequest:
    return InvalidRequest(
        "result_too_large",
        f"the pipeline makes more than {limits.list_items_max} documents or {limits.list_bytes_max >> 20} MiB, "
        "and its answer has no pages; add $limit, with $sort and $skip or a $match behind the last _id, or $group",
    )
