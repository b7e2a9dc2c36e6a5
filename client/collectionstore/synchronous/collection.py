# Generated from ../asynchronous by client/generate_sync.py: change it there.
"""`Collection`: documents of one collection, under PyMongo's names where the meaning is equal."""

from __future__ import annotations

from typing import Generic, TypeVar

from collectionstore.models.documents import DocumentType
from collectionstore.models.queries import text
from collectionstore.synchronous.catalog import Catalog
from collectionstore.synchronous.context import Context
from collectionstore.synchronous.modifying import Modifying
from collectionstore.synchronous.porting import Porting
from collectionstore.synchronous.reading import Reading
from collectionstore.synchronous.writing import Writing
from collectionstore.wire.operations import Consistency

T = TypeVar("T")


class Collection(Reading[T], Writing[T], Modifying[T], Catalog[T], Porting[T], Generic[T]):
    """One collection, with documents of type `T`. Cheap to make; it holds nothing of the server.

    Every call takes `timeout` (seconds, or a text such as `2s`), for all of its attempts, and raises
    `CollectionStoreError`: `CollectionNotFound` if the collection was not created, `DeadlineExceeded`, and what the
    store refuses.
    """

    def __init__(self, context: Context, name: str, type_: type[T] | None = None) -> None:
        self._context = context
        self.name = text("the name of a collection", name)
        self._documents = DocumentType(type_)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    def with_options(
        self, *, timeout: object = None, consistency: Consistency | None = None, max_staleness: object = None
    ) -> Collection[T]:
        """Return the same collection with another deadline or consistency."""
        context = self._context.with_options(timeout=timeout, consistency=consistency, max_staleness=max_staleness)
        return Collection(context, self.name, self._documents.type if self._documents.given else None)
