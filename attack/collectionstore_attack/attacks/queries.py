"""Queries that read everything and find little, and queries of documents made to be slow to look at."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from collectionstore_attack.field import Attack, Field
from collectionstore_attack.flood import Request, each, flood

CONCURRENCY: Final = 30
DOCUMENTS: Final = 20_000
LARGE: Final = 8
VALUES: Final = 400_000
COLLECTION: Final = "/api/v1/collections/attack-queries"
LARGE_COLLECTION: Final = "/api/v1/collections/attack-large-queries"
JSON: Final = {"Content-Type": "application/json"}
_BATCH: Final = 100


def _query(path: str, verb: str, body: dict[str, object]) -> Request:
    return Request("POST", f"{path}:{verb}", json.dumps(body).encode(), JSON)


async def store_many(field: Field) -> None:
    """Store documents that every query must look at."""
    await each(field, [Request("PUT", COLLECTION)])
    batches = []
    for first in range(0, DOCUMENTS, _BATCH):
        puts = [
            {
                "op": "put",
                "collection": "attack-queries",
                "id": f"{number:06}",
                "document": {"n": number, "text": "a" * 200, "tags": [number % 7, number % 11]},
            }
            for number in range(first, first + _BATCH)
        ]
        batches.append(Request("POST", "/api/v1/transactions", json.dumps({"then": puts}).encode(), JSON))
    await each(field, batches, concurrency=8)


async def scans(field: Field) -> None:
    patterns = {"$or": [{"text": {"$regex": f"(a|b)*{at}"}} for at in range(60)]}
    asked = [
        _query(COLLECTION, "count", {"filter": patterns}),
        _query(COLLECTION, "find", {"sort": {"text": -1, "n": 1}, "limit": 1000}),
        _query(COLLECTION, "find", {"filter": {"n": -1}, "sort": {"tags": 1}}),
        _query(COLLECTION, "distinct", {"field": "tags"}),
    ]
    await flood(field, CONCURRENCY, lambda number: asked[number % len(asked)])


def _pipeline(*stages: Mapping[str, object]) -> Request:
    return _query(COLLECTION, "aggregate", {"pipeline": stages})


async def pipelines(field: Field) -> None:
    numbers: dict[str, object] = {"$range": [0, 999]}
    squares: dict[str, object] = {"$map": {"input": numbers, "in": {"$map": {"input": numbers, "in": 1}}}}
    doubled: dict[str, object] = {
        "$reduce": {"input": {"$range": [0, 60]}, "initialValue": "x", "in": {"$concat": ["$$value", "$$value"]}}
    }
    asked = [
        _pipeline({"$unwind": "$tags"}, {"$group": {"_id": "$tags", "all": {"$push": "$$ROOT"}}}),
        _pipeline(
            {"$set": {"a": {"$range": [0, 999]}, "b": {"$range": [0, 999]}}}, {"$unwind": "$a"}, {"$unwind": "$b"}
        ),
        _pipeline({"$lookup": {"from": "attack-queries", "localField": "tags", "foreignField": "tags", "as": "other"}}),
        _pipeline({"$facet": {f"f{at}": [{"$sort": {"text": 1, "n": at % 2 or -1}}] for at in range(16)}}),
        _pipeline({"$project": {"a": squares}}),
        _pipeline({"$project": {"a": doubled}}),
        _pipeline(*({"$set": {"a": ["$$ROOT", "$$ROOT"]}} for _ in range(60))),
        _pipeline({"$group": {"_id": {"$regexMatch": {"input": "$text", "regex": "(a|b)*[ab]{200}z"}}}}),
    ]
    await flood(field, CONCURRENCY, lambda number: asked[number % len(asked)])


async def store_large(field: Field) -> None:
    """Store documents of hundreds of thousands of values each."""
    await each(field, [Request("PUT", LARGE_COLLECTION)])
    numbers = b'{"a":[' + b",".join([b"1"] * VALUES) + b"]}"
    objects = b'{"a":[' + b",".join([b'{"b":1}'] * (VALUES // 4)) + b"]}"
    await each(
        field,
        [
            Request("PUT", f"{LARGE_COLLECTION}/documents/{number}", (numbers, objects)[number % 2], JSON)
            for number in range(LARGE)
        ],
    )


async def scans_of_large(field: Field) -> None:
    asked = [
        _query(LARGE_COLLECTION, "count", {"filter": {"$or": [{"a": at} for at in range(2, 100)]}}),
        _query(LARGE_COLLECTION, "count", {"filter": {"$nor": [{"a.b": at} for at in range(2, 100)]}}),
        _query(LARGE_COLLECTION, "count", {"filter": {"a": {"$elemMatch": {"b": {"$gt": 1}, "c": 1}}}}),
        _query(LARGE_COLLECTION, "distinct", {"field": "a"}),
        _query(LARGE_COLLECTION, "find", {"projection": {"a.b": 0}}),
    ]
    await flood(field, CONCURRENCY, lambda number: asked[number % len(asked)])


ATTACKS: Final = (
    Attack("scans", f"{CONCURRENCY} clients query {DOCUMENTS:,} documents by patterns and orders", scans, store_many),
    Attack(
        "pipelines",
        f"{CONCURRENCY} clients aggregate {DOCUMENTS:,} documents explosively",
        pipelines,
        store_many,
    ),
    Attack(
        "scans-of-large", f"{CONCURRENCY} clients query documents of {VALUES:,} values", scans_of_large, store_large
    ),
)
