"""What writes answer, under PyMongo's names; every result also has the `revision` of the store behind the write."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Found(Generic[T]):
    """A document as it was read."""

    id: str
    revision: int
    """Of its last write: for `if_revision`."""
    document: T
    expires_in_s: float | None = None
    """What is left of it, when it was read by itself with `with_expiry`."""


@dataclass(frozen=True, slots=True)
class WriteResult:
    """A write of one document by its ID."""

    id: str
    revision: int
    """Of the document: of this write, or of an earlier one if nothing was changed."""
    created: bool = False
    modified: bool = True
    replayed: bool = False
    """Whether an earlier attempt was applied, whose answer had been lost."""
    schema_warning: bool = False


@dataclass(frozen=True, slots=True)
class InsertOneResult:
    """Of `insert_one`."""

    inserted_id: str
    revision: int
    acknowledged: bool = True


@dataclass(frozen=True, slots=True)
class InsertManyResult:
    """Of `insert_many`, in the order of the documents."""

    inserted_ids: list[str]
    revision: int
    acknowledged: bool = True


@dataclass(frozen=True, slots=True)
class UpdateResult:
    """Of `update_one`, `update_many` and `replace_one`."""

    matched_count: int
    modified_count: int
    upserted_id: str | None
    revision: int
    skipped_count: int = 0
    """Documents that others had written meanwhile, and that were left alone: of `update_many` only."""
    acknowledged: bool = True


@dataclass(frozen=True, slots=True)
class DeleteResult:
    """Of `delete_one` and `delete_many`."""

    deleted_count: int
    revision: int
    skipped_count: int = 0
    acknowledged: bool = True


@dataclass(slots=True)
class BulkWriteResult:
    """Of `bulk_write`."""

    inserted_count: int = 0
    matched_count: int = 0
    modified_count: int = 0
    deleted_count: int = 0
    upserted_count: int = 0
    inserted_ids: dict[int, str] = field(default_factory=dict)
    """By the position in the bulk."""
    upserted_ids: dict[int, str] = field(default_factory=dict)
    revision: int = 0
    acknowledged: bool = True


@dataclass(frozen=True, slots=True)
class Value:
    """A raw value."""

    key: str
    value: bytes
    revision: int
    content_type: str = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """A key of a list."""

    key: str
    revision: int
    size: int
    content_type: str
    value: bytes | None = None


@dataclass(frozen=True, slots=True)
class TransactionResult:
    """Of a transaction in one request: `results` has an item for each operation of the list that ran."""

    succeeded: bool
    revision: int
    results: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class ImportResult:
    """Of `import_documents`."""

    lines: int = 0
    inserted: int = 0
    replaced: int = 0
    skipped: int = 0
    failed: int = 0
    errors: list[dict[str, Any]] = field(default_factory=list)
    revision: int = 0


@dataclass(frozen=True, slots=True)
class ChangeEvent(Generic[T]):
    """One event of a watch: docs/reference/watch.md."""

    kind: str
    """`change`, `document` (of a snapshot), `ready`, `resync` (forget what was told before), `invalidate`."""
    token: str | None
    revision: int
    operation: str = ""
    """`insert` `replace` `update` `delete` `expire`, or a change of the collection itself."""
    collection: str | None = None
    id: str | None = None
    document: T | None = None
    before: T | None = None
    bucket: str | None = None
    key: str | None = None
    value: bytes | None = None
    content_type: str | None = None
    left: bool = False
    """The document does not match the filter any more."""
    last: bool = False
    """The last event of its command that this watch tells."""
    position: int = 0
    index: str | None = None
