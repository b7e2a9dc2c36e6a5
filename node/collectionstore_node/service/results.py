"""What operations return. A read carries the revision of the state it was taken from, observed together with it.

`Outcome` and the stored records are the state machine's own types, for the same reason as in `operations`.
"""

from __future__ import annotations

from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from collectionstore_node.documents.values import Value
from collectionstore_node.query.scanning import Meter, Record
from collectionstore_node.query.sorting import Position
from collectionstore_node.schemas import Violation
from collectionstore_node.statemachine.commands import (
    Code,
    Item,
    Outcome,
    Ref,
    conflicting,
    inserted_id,
    item_warned,
    refused_document,
    refused_index,
    refused_part,
    rotated,
    warned,
)
from collectionstore_node.statemachine.index_catalog import Index, IndexState, Statistics
from collectionstore_node.statemachine.options import Configured
from collectionstore_node.statemachine.reads import Listed
from collectionstore_node.statemachine.stored import Stored

T = TypeVar("T")


class ReadResult(msgspec.Struct, frozen=True, gc=False):
    """One document or raw value, None when there is none, and the store's revision when it was read."""

    stored: Stored | None
    revision: int


class CollectionInfo(NamedTuple):
    """A collection; its revision is that of its creation."""

    name: str
    revision: int
    configured: Configured | None = None
    """Its options, None if it never had any; lists leave them out."""


class CollectionResult(msgspec.Struct, frozen=True):
    """A collection, None when there is none, and the store's revision when it was read."""

    collection: CollectionInfo | None
    revision: int


class IndexInfo(NamedTuple):
    """An index, and what is counted of it."""

    record: Index
    statistics: Statistics


class IndexesResult(msgspec.Struct, frozen=True):
    """The indexes of a collection, in order of creation, and the store's revision when they were read."""

    indexes: tuple[IndexInfo, ...]
    revision: int


class LeaseInfo(NamedTuple):
    """A lease that has not ended; times in milliseconds."""

    id: int
    ttl_ms: int
    left_ms: int
    attached: int
    """Records that are attached."""


class LeaseResult(msgspec.Struct, frozen=True):
    """A lease, None when it has ended, with the first of what is attached, and the store's revision."""

    lease: LeaseInfo | None
    attached: tuple[Ref, ...]
    revision: int


class LockInfo(NamedTuple):
    """Who holds a lock."""

    name: str
    owner: str
    token: int
    left_ms: int | None
    lease: int


class LockResult(msgspec.Struct, frozen=True):
    """Who holds a lock, None when it is free, and the store's revision when it was read."""

    lock: LockInfo | None
    revision: int


class ListResult(msgspec.Struct, Generic[T], frozen=True):
    """One page of a list. `next_after` is the `after` of the next page, None on the last one."""

    items: tuple[T, ...]
    next_after: str | None
    revision: int
    """The store's revision when the page was read."""
    stale_since: float | None = None
    """`perf_counter()` of a moment at which everything acknowledged before is in the page; None if none is known."""


class Found(NamedTuple):
    """A document that a query found; `document` is compact JSON, of the fields that the query shows."""

    id: str
    revision: int
    document: bytes


class FindResult(msgspec.Struct, Generic[T], frozen=True):
    """One page of what a query found."""

    items: tuple[T, ...]
    next_after: Position | None
    """The `after` of the next page, None on the last one."""
    skip: int
    """How many matches the next page must still skip."""
    revision: int
    """The store's revision when the page was read."""
    meter: Meter
    """What was read for the page."""
    stale_since: float | None = None
    """As in `ListResult`."""


class Counted(msgspec.Struct, frozen=True):
    """How many documents match, and the rest as in `FindResult`."""

    count: int
    revision: int
    meter: Meter
    stale_since: float | None = None


class DistinctResult(msgspec.Struct, frozen=True):
    """The different values, in the order of values, and the rest as in `FindResult`."""

    values: tuple[Value, ...]
    revision: int
    meter: Meter
    stale_since: float | None = None


class StageCounts(NamedTuple):
    """How many documents a stage has taken and made."""

    name: str
    taken: int
    made: int


class Aggregated(msgspec.Struct, frozen=True):
    """The documents that a pipeline makes, each as compact JSON, and the rest as in `FindResult`."""

    documents: tuple[bytes, ...]
    revision: int
    meter: Meter
    stages: tuple[StageCounts, ...]
    joins: tuple[dict[str, Any] | None, ...]
    """How the documents of each other collection were found at last; None if none were looked for."""
    peak_bytes: int
    """The most that its stages kept at a time."""
    stale_since: float | None = None


class InvalidDocument(NamedTuple):
    """A document that a schema does not allow."""

    id: str
    revision: int
    violations: list[Violation]


class Validated(msgspec.Struct):
    """What a check of documents found."""

    revision: int
    """The store's revision when they were read."""
    version: int
    """Of the schema; 0 for one that was tried."""
    checked: int = 0
    invalid: int = 0
    documents: list[InvalidDocument] = msgspec.field(default_factory=list)
    """The first of those that are not allowed."""
    next_after: str | None = None
    """The `after` with which a next check goes on, None when all were checked."""


class InsertResult(NamedTuple):
    """The outcome of an insert, and the id under which the document was to be stored."""

    id: str
    outcome: Outcome


__all__ = [
    "Aggregated",
    "Code",
    "CollectionInfo",
    "CollectionResult",
    "Configured",
    "Counted",
    "DistinctResult",
    "FindResult",
    "Found",
    "IndexInfo",
    "IndexState",
    "IndexesResult",
    "InsertResult",
    "InvalidDocument",
    "Item",
    "LeaseInfo",
    "LeaseResult",
    "ListResult",
    "Listed",
    "LockInfo",
    "LockResult",
    "Meter",
    "Outcome",
    "ReadResult",
    "Record",
    "StageCounts",
    "Stored",
    "Validated",
    "Violation",
    "conflicting",
    "inserted_id",
    "item_warned",
    "refused_document",
    "refused_index",
    "refused_part",
    "rotated",
    "warned",
]
