# Generated from ../asynchronous by client/generate_sync.py: change it there.
"""What all parts of a collection stand on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from collectionstore.errors import DuplicateKey, InvalidArgument
from collectionstore.models.documents import DocumentType
from collectionstore.settings.durations import ttl_text
from collectionstore.synchronous.context import Context

T = TypeVar("T")


class Handle(Generic[T]):
    """One collection: its name, the type of its documents, and how calls are made."""

    _context: Context
    _documents: DocumentType[T]
    name: str

    def encoded(self, document: T | Mapping[str, Any]) -> tuple[str | None, bytes]:
        """Return the `_id` that a document has, if it has one, and its JSON text without it. Raises InvalidArgument."""
        return self._documents.encode(document)  # type: ignore[arg-type]


def life(ttl: object, lease: int | None) -> dict[str, str | int]:
    """Return the members that say until when a record is there. Raises InvalidArgument for both."""
    if ttl is not None and lease is not None:
        raise InvalidArgument("a record has a ttl or a lease, not both")
    if lease is not None:
        return {"lease": lease}
    return {} if ttl is None else {"ttl": ttl_text(ttl)}


def taken_id(document_id: str) -> DuplicateKey:
    """Return the error of an insert under an ID that is taken: without the ID, as no error has a value."""
    return DuplicateKey(
        {
            "code": "document_exists",
            "status": 409,
            "detail": "a document with this _id exists",
            "outcome": "not_applied",
            "retryable": False,
            "conflicting_id": document_id,
        }
    )
