"""Aggregation: a pipeline of stages in the body, over one collection."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import msgspec
import orjson

from collectionstore_node.api.handlers.queries import checked, past_facts
from collectionstore_node.api.handlers.read_answers import joined
from collectionstore_node.api.http.answers import Answer
from collectionstore_node.api.http.call import Call
from collectionstore_node.api.http.names import collection_name
from collectionstore_node.documents.dates import rfc3339
from collectionstore_node.errors import InvalidPart
from collectionstore_node.service.operations import NAME, AggregateDocuments, pinned_revision
from collectionstore_node.service.queries import Pipeline, parse_pipeline
from collectionstore_node.service.results import Aggregated


class Aggregation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of an aggregation."""

    pipeline: list[Any]
    explain: bool = False


async def aggregate(call: Call) -> Answer:
    """Return the documents that the pipeline makes, all in one answer."""
    name = collection_name(call.arguments[0])
    body = await call.json_struct(Aggregation)
    now = rfc3339(call.api.store.wall_ms())
    pipeline = await checked(call, body.pipeline, lambda: _parsed(body.pipeline, now))
    started = perf_counter()
    found = await call.api.store.queries.aggregate(
        AggregateDocuments(name, pipeline), consistency=call.options.consistency, timeout_s=call.timeout_s
    )
    revision = pinned_revision(call.options.consistency)
    tail = b"]" + (_explained(pipeline, found, started, revision) if body.explain else b"")
    return joined(b'{"documents":[', found.documents, tail, found.revision, found.stale_since)


def _parsed(given: list[Any], now: str) -> Pipeline:
    pipeline = parse_pipeline(given, now=now)
    for name, pointer in pipeline.collections:
        if not NAME.fullmatch(name):
            raise InvalidPart("invalid_pipeline", pointer, "this is no name of a collection: 1-63 of a-z, 0-9, _ and -")
    return pipeline


def _explained(pipeline: Pipeline, found: Aggregated, started: float, revision: int | None) -> bytes:
    facts = {
        "plan": found.meter.plan or pipeline.plan(),
        "stages": [{"stage": one.name, "taken": one.taken, "made": one.made} for one in found.stages],
        "joins": [
            {"collection": name, "plan": plan}
            for (name, _), plan in zip(pipeline.collections, found.joins, strict=True)
        ],
        "keys_examined": found.meter.keys,
        "examined": found.meter.documents,
        "examined_bytes": found.meter.bytes,
        "kept_bytes": found.peak_bytes,
        "returned": len(found.documents),
        "elapsed_ms": round((perf_counter() - started) * 1_000, 3),
    }
    return b',"explain":%s' % orjson.dumps(facts | past_facts(found.meter, revision))
