"""`Draft`: an interactive transaction while its client computes it. Pure; knows no server.

All of a transaction is here: what it has read, what it will write, and what it sees of its own writes. A savepoint is a
copy. The body of its end goes to `POST /api/v1/transactions:commit` (docs/reference/transactions.md).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

Document: TypeAlias = dict[str, Any]
Name: TypeAlias = tuple[str, str]
"""A collection and the ID of a document."""
Found: TypeAlias = dict[str, tuple[int, Document]]
"""Revision and document by ID."""


@dataclass(frozen=True, slots=True)
class QueryRead:
    """What a query has found: all documents of a collection whose fields equal those of `filter`."""

    collection: str
    filter: Document
    revision: int
    """Of the answer."""
    found: Found
    exact: bool
    """Whether the end says what was found; otherwise it says at which revision."""


@dataclass(slots=True)
class Draft:
    """One attempt of a transaction."""

    reads: dict[Name, tuple[int, Document | None]] = field(default_factory=dict)
    queries: list[QueryRead] = field(default_factory=list)
    writes: dict[Name, Document | None] = field(default_factory=dict)
    """New documents; None to delete."""
    pinned: int | None = None
    """The revision of all reads, if they are to be of one."""

    def saw(self, name: Name, revision: int, document: Document | None) -> None:
        """Note that a document was read; `revision` is 0 and `document` None if it was absent."""
        # The first one stays: if a later read differs, the transaction conflicts, as it has used both.
        self.reads.setdefault(name, (revision, document))

    def found(self, read: QueryRead) -> None:
        """Note what a query has found."""
        self.queries.append(read)

    def put(self, name: Name, document: Document) -> None:
        """Write a document."""
        self.writes[name] = document

    def delete(self, name: Name) -> None:
        """Delete a document."""
        self.writes[name] = None

    def savepoint(self) -> dict[Name, Document | None]:
        """Return the writes so far, for `rollback`. What was read stays read: it may have been used."""
        return dict(self.writes)

    def rollback(self, savepoint: dict[Name, Document | None]) -> None:
        """Forget all writes since `savepoint`."""
        self.writes = dict(savepoint)

    def body(self) -> dict[str, Any]:
        """Return the body of the request that ends it."""
        reads: list[dict[str, Any]] = [
            {"collection": collection, "id": name, "revision": revision}
            for (collection, name), (revision, _) in self.reads.items()
        ]
        reads += [_query(one) for one in self.queries]
        return {"reads": reads, "writes": [_write(name, one) for name, one in self.writes.items()]}


def _query(read: QueryRead) -> dict[str, Any]:
    body: dict[str, Any] = {"collection": read.collection, "filter": read.filter}
    if read.exact:
        return body | {"seen": [{"id": name, "revision": revision} for name, (revision, _) in read.found.items()]}
    return body | {"revision": read.revision}


def _write(name: Name, document: Document | None) -> dict[str, Any]:
    collection, document_id = name
    target = {"collection": collection, "id": document_id}
    return {"op": "delete", **target} if document is None else {"op": "put", **target, "document": document}
