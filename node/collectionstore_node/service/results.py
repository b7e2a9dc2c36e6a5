"""What operations return. A read carries the revision of the state it was taken from, observed together with it.

`Outcome` and the stored records are the state machine's own types, for the same reason as in `operations`.
"""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

import msgspec

from collectionstore_node.statemachine.commands import Code, Item, Outcome
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


class CollectionResult(msgspec.Struct, frozen=True):
    """A collection, None when there is none, and the store's revision when it was read."""

    collection: CollectionInfo | None
    revision: int


class ListResult(msgspec.Struct, Generic[T], frozen=True):
    """One page of a list. `next_after` is the `after` of the next page, None on the last one."""

    items: tuple[T, ...]
    next_after: str | None
    revision: int
    """The store's revision when the page was read."""
    stale_since: float | None = None
    """`perf_counter()` of a moment at which everything acknowledged before is in the page; None if none is known."""


class InsertResult(NamedTuple):
    """The outcome of an insert, and the id under which the document was to be stored."""

    id: str
    outcome: Outcome


__all__ = [
    "Code",
    "CollectionInfo",
    "CollectionResult",
    "InsertResult",
    "Item",
    "ListResult",
    "Listed",
    "Outcome",
    "ReadResult",
    "Stored",
]
