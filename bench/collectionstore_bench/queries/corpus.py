"""The documents, the indexes, and the queries that are asked both ways."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

COLLECTION: Final = "people"
BATCH: Final = 100
"""Documents of a transaction."""
CITIES: Final = tuple(f"city-{number:03}" for number in range(200))
TAGS: Final = tuple(f"tag-{number:04}" for number in range(2_000))

INDEXES: Final[tuple[dict[str, Any], ...]] = (
    {"name": "by-email", "fields": {"email": 1}, "unique": True},
    {"name": "by-born", "fields": {"born": 1}},
    {"name": "by-city-born", "fields": {"home.city": 1, "born": -1}},
    {"name": "by-tags", "fields": {"tags": 1}},
    {"name": "by-name", "fields": {"name": 1, "email": 1}},
)


@dataclass(frozen=True, slots=True)
class Case:
    """A query that an index answers, and a scan, too."""

    name: str
    verb: str
    """`find` or `count`."""
    index: str
    body: dict[str, Any]


def document_id(number: int) -> str:
    """Return the ID of a document; IDs ascend with their numbers."""
    return f"person-{number:08d}"


def documents(count: int) -> Iterator[dict[str, Any]]:
    """Yield `count` documents of some 300 bytes, the same at every call. `born` is different in each."""
    chance = random.Random(26)
    order = list(range(count))
    chance.shuffle(order)
    for number in range(count):
        yield {
            "email": f"person{order[number]}@example.org",
            "name": f"{chance.choice(('Ada', 'Alan', 'Edsger', 'Grace'))} {chance.randrange(count):07}",
            "born": order[count - 1 - number],
            "home": {"city": chance.choice(CITIES), "street": chance.randbytes(8).hex()},
            "tags": chance.sample(TAGS, 4),
            "score": chance.random(),
            "text": chance.randbytes(40).hex(),
        }


def transactions(count: int) -> Iterator[bytes]:
    """Yield the bodies of the transactions that store the documents."""
    operations: list[dict[str, Any]] = []
    for number, document in enumerate(documents(count)):
        operations.append({"op": "put", "collection": COLLECTION, "id": document_id(number), "document": document})
        if len(operations) == BATCH or number == count - 1:
            yield json.dumps({"then": operations}).encode()
            operations = []


def cases(count: int) -> tuple[Case, ...]:
    """Return the queries; each has some hundred matches at most, but for the one that is sorted."""
    middle = count // 2
    return (
        Case("point", "find", "by-email", {"filter": {"email": f"person{middle}@example.org"}}),
        Case("range", "find", "by-born", {"filter": {"born": {"$gte": middle, "$lt": middle + 100}}}),
        Case(
            "compound",
            "find",
            "by-city-born",
            {"filter": {"home.city": CITIES[7], "born": {"$lt": count // 5}}},
        ),
        Case("multikey", "find", "by-tags", {"filter": {"tags": TAGS[42]}}),
        Case(
            "covered",
            "find",
            "by-name",
            {"filter": {"name": {"$regex": "^Ada 00"}}, "sort": {"name": 1, "email": 1}, "projection": {"name": 1}},
        ),
        Case("sort by index", "find", "by-born", {"sort": {"born": 1}, "limit": 100}),
        Case("count", "count", "by-born", {"filter": {"born": {"$gte": middle, "$lt": middle + 1_000}}}),
    )


SCANNED: Final[dict[str, Any]] = {"score": {"$gt": 0.999}}
"""What the scan is asked: no index has the field, and few documents match."""
SCANNED_SQL: Final = "json_extract(document, '$.score') > 0.999"
"""The same for SQLite."""
