"""What answers look like, as types: for descriptions only, as handlers join most answers as text."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from collectionstore_node.api.http.problems import Effect


class SchemaSettings(msgspec.Struct):
    """The schema of a collection: what it allows (JSON Schema 2020-12), and what becomes of a document it does not."""

    document: dict[str, Any] | bool
    mode: Literal["off", "warn", "strict"] = "strict"
    defaults: bool = False
    version: int | msgspec.UnsetType = msgspec.UNSET


class CollectionSettings(msgspec.Struct):
    """The options of a collection; what is missing, or null, has its default."""

    schema: SchemaSettings | msgspec.UnsetType | None = msgspec.UNSET
    ids: Literal["uuid7", "client", "sequence"] | msgspec.UnsetType | None = msgspec.UNSET
    sequence_start: int | msgspec.UnsetType | None = msgspec.UNSET
    ttl: str | msgspec.UnsetType | None = msgspec.UNSET
    max_documents: int | msgspec.UnsetType | None = msgspec.UNSET
    max_bytes: int | msgspec.UnsetType | None = msgspec.UNSET


class CollectionUsage(msgspec.Struct):
    """What the documents of a collection with a quota take: their number, and the bytes of their texts.

    While documents that were there before the quota are being counted it refuses nothing.
    """

    documents: int
    bytes: int
    counting: bool


class CollectionFacts(msgspec.Struct):
    """A collection; its revision is that of its creation. Its options, if it has some, and when they were changed."""

    name: str
    revision: int
    options: CollectionSettings | msgspec.UnsetType = msgspec.UNSET
    options_revision: int | msgspec.UnsetType = msgspec.UNSET
    usage: CollectionUsage | msgspec.UnsetType = msgspec.UNSET


class CollectionPage(msgspec.Struct):
    """A page of collections. Repeat the request with `cursor` set to `next_cursor` until that is null."""

    collections: list[CollectionFacts]
    next_cursor: str | None
    revision: int


class DocumentWritten(msgspec.Struct):
    """The document's ID, and the revision of the write."""

    id: str
    revision: int


class DocumentUpdated(msgspec.Struct):
    """The document's ID and revision, and whether the update changed it; `document` if an image was asked for."""

    id: str
    revision: int
    modified: bool
    document: dict[str, Any] | msgspec.UnsetType | None = msgspec.UNSET


class FoundUpdated(msgspec.Struct):
    """What an update of found documents did. Of many: repeat it with `cursor` as `next_cursor` until that is null."""

    matched: int
    modified: int
    revision: int
    id: str | msgspec.UnsetType | None = msgspec.UNSET
    upserted_id: str | msgspec.UnsetType | None = msgspec.UNSET
    skipped: int | msgspec.UnsetType = msgspec.UNSET
    schema_warnings: int | msgspec.UnsetType = msgspec.UNSET
    next_cursor: str | msgspec.UnsetType | None = msgspec.UNSET


class FoundDeleted(msgspec.Struct):
    """What a delete of found documents did. Of many: repeat it with `cursor` as `next_cursor` until that is null."""

    deleted: int
    revision: int
    id: str | msgspec.UnsetType | None = msgspec.UNSET
    skipped: int | msgspec.UnsetType = msgspec.UNSET
    next_cursor: str | msgspec.UnsetType | None = msgspec.UNSET


class Modified(msgspec.Struct):
    """The document as it was, or as it is then; null if none matched."""

    id: str | None
    created: bool
    modified: bool
    document: dict[str, Any] | None
    revision: int


class BulkResult(msgspec.Struct):
    """The results in the order of the lines: what was written, or a problem."""

    errors: int
    results: list[dict[str, Any]]
    revision: int


class ImportResult(msgspec.Struct):
    """What became of the lines: `lines` is the number of the last one. `errors` has those that failed."""

    lines: int
    inserted: int
    replaced: int
    skipped: int
    failed: int
    errors: list[dict[str, Any]]
    revision: int
    failed_before: int | msgspec.UnsetType = msgspec.UNSET


class IndexFacts(msgspec.Struct):
    """An index of a collection. Its counts are missing in the answer to its creation."""

    name: str
    fields: list[dict[str, int]] | dict[str, int]
    unique: bool
    sparse: bool
    state: str
    revision: int
    fold: list[str] | msgspec.UnsetType | None = msgspec.UNSET
    filter: dict[str, Any] | msgspec.UnsetType | None = msgspec.UNSET
    entries: int | msgspec.UnsetType = msgspec.UNSET
    documents: int | msgspec.UnsetType = msgspec.UNSET
    multikey_documents: int | msgspec.UnsetType = msgspec.UNSET
    key_bytes: int | msgspec.UnsetType = msgspec.UNSET
    progress: dict[str, int] | msgspec.UnsetType = msgspec.UNSET
    failure: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


class IndexList(msgspec.Struct):
    """The indexes of a collection, in order of creation."""

    indexes: list[IndexFacts]
    revision: int


class IndexDropped(msgspec.Struct):
    """The name of the index, and the revision at which it was dropped."""

    name: str
    revision: int


class LeaseGranted(msgspec.Struct):
    """A lease that was granted or kept alive; it lasts so long from now on."""

    id: int
    ttl_ms: int
    revision: int


class LeaseRevoked(msgspec.Struct):
    """A lease that has ended."""

    id: int
    revision: int


class ListedLease(msgspec.Struct):
    """A lease in a list."""

    id: int
    ttl_ms: int
    expires_in_ms: int
    attached: int


class LeaseFacts(ListedLease):
    """A lease with the first thousand of what is attached."""

    records: list[dict[str, str]]


class LeasePage(msgspec.Struct):
    """A page of leases."""

    leases: list[ListedLease]
    next_cursor: str | None
    revision: int


class LockAcquired(msgspec.Struct):
    """A lock that was acquired or renewed; `owner` is left out of a renewal."""

    name: str
    token: int
    revision: int
    owner: str | msgspec.UnsetType = msgspec.UNSET


class LockReleased(msgspec.Struct):
    """A lock that is free."""

    name: str
    revision: int


class LockFacts(msgspec.Struct):
    """Who holds a lock."""

    name: str
    owner: str
    token: int
    expires_in_ms: int
    lease: int | msgspec.UnsetType = msgspec.UNSET


class ListedLock(msgspec.Struct):
    """A lock in a list."""

    name: str
    owner: str
    token: int


class LockPage(msgspec.Struct):
    """A page of locks that are held."""

    locks: list[ListedLock]
    next_cursor: str | None
    revision: int


class FoundDocument(msgspec.Struct):
    """A document with its ID and the revision of its last write."""

    id: str
    revision: int
    document: dict[str, Any]


class DocumentPage(msgspec.Struct):
    """A page of documents. Repeat the request with `cursor` set to `next_cursor` until that is null."""

    documents: list[FoundDocument]
    next_cursor: str | None
    revision: int
    explain: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


class Count(msgspec.Struct):
    """How many documents match."""

    count: int
    revision: int
    explain: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


class DistinctValues(msgspec.Struct):
    """The different values, in the order of values."""

    values: list[Any]
    revision: int
    explain: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


class AggregatedDocuments(msgspec.Struct):
    """The documents that a pipeline makes."""

    documents: list[dict[str, Any]]
    revision: int
    explain: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


class ValueWritten(msgspec.Struct):
    """The key, and the revision of the write."""

    key: str
    revision: int


class ValueFacts(msgspec.Struct):
    """A raw value; `value` is its bytes in base64, if they were asked for."""

    key: str
    revision: int
    size: int
    content_type: str
    value: str | msgspec.UnsetType = msgspec.UNSET


class ValuePage(msgspec.Struct):
    """A page of keys. Repeat the request with `cursor` set to `next_cursor` until that is null."""

    keys: list[ValueFacts]
    next_cursor: str | None
    revision: int


class TransactionResult(msgspec.Struct):
    """Which branch ran, and the result of each of its operations."""

    succeeded: bool
    revision: int
    results: list[dict[str, Any]]


class CommitResult(msgspec.Struct):
    """The results of the writes of an interactive transaction, all of them at `revision`."""

    revision: int
    results: list[dict[str, Any]]


class EarlyAnswer(msgspec.Struct, omit_defaults=True):
    """A write with `ack=leader` or `ack=queued` was taken; its outcome is not known."""

    ack: Literal["leader", "queued"]
    ticket: str
    durable: str
    """Where the write is, and what may lose it."""
    id: str | None = None
    key: str | None = None


class WriteFate(msgspec.Struct, omit_defaults=True):
    """What has become of a write; `revision` is that of its command."""

    ticket: str
    state: Literal["pending", "applied", "refused", "not_applied", "unknown"]
    revision: int | None = None
    created: bool | None = None
    succeeded: bool | None = None
    problem: dict[str, Any] | None = None


class ChangeEvent(msgspec.Struct):
    """One event of a watch: what was changed, an initial document, or where the watch is; docs/reference/watch.md."""

    event: str
    token: str | msgspec.UnsetType = msgspec.UNSET
    revision: int | msgspec.UnsetType = msgspec.UNSET
    position: int | msgspec.UnsetType = msgspec.UNSET
    time_ms: int | msgspec.UnsetType = msgspec.UNSET
    op: str | msgspec.UnsetType = msgspec.UNSET
    collection: str | msgspec.UnsetType = msgspec.UNSET
    id: str | msgspec.UnsetType = msgspec.UNSET
    document: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    bucket: str | msgspec.UnsetType = msgspec.UNSET
    key: str | msgspec.UnsetType = msgspec.UNSET
    value: str | msgspec.UnsetType = msgspec.UNSET
    content_type: str | msgspec.UnsetType = msgspec.UNSET
    before: dict[str, Any] | str | msgspec.UnsetType = msgspec.UNSET
    left: bool | msgspec.UnsetType = msgspec.UNSET
    last: bool | msgspec.UnsetType = msgspec.UNSET
    index: str | msgspec.UnsetType = msgspec.UNSET
    kept_after: int | msgspec.UnsetType = msgspec.UNSET
    reason: str | msgspec.UnsetType = msgspec.UNSET
    code: str | msgspec.UnsetType = msgspec.UNSET
    detail: str | msgspec.UnsetType = msgspec.UNSET


class ChangePage(msgspec.Struct):
    """Events, none if there were none in time. Go on from `token`."""

    events: list[ChangeEvent]
    token: str
    revision: int


class ConsumerPosition(msgspec.Struct):
    """The revision up to which all is acknowledged; of the command itself the first `passed` changes, null for all."""

    revision: int
    passed: int | None


class ConsumerFacts(msgspec.Struct):
    """A consumer of changes: what it asks for, where it is, and by how many revisions that is behind."""

    name: str
    token: str
    position: ConsumerPosition
    lag: int
    gone: bool
    created_revision: int
    acknowledged_ms: int
    collection: str | msgspec.UnsetType = msgspec.UNSET
    bucket: str | msgspec.UnsetType = msgspec.UNSET
    filter: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    ops: list[str] | msgspec.UnsetType = msgspec.UNSET
    fields: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    before: bool | msgspec.UnsetType = msgspec.UNSET


class ConsumerList(msgspec.Struct):
    """All consumers, in order of name."""

    consumers: list[ConsumerFacts]
    revision: int


class ConsumerMade(msgspec.Struct):
    """The name of a consumer, and the revision of its creation."""

    name: str
    created_revision: int


class ConsumerChanged(msgspec.Struct):
    """The name of a consumer, and the revision at which it was moved or deleted."""

    name: str
    revision: int


class Alive(msgspec.Struct):
    """The event loop runs."""

    alive: bool


class Ready(msgspec.Struct):
    """Reads work here."""

    ready: bool
    revision: int


class Healthy(msgspec.Struct):
    """The leader that this node knows."""

    healthy: bool
    leader: str
    leads: bool
    revision: int


class Index(msgspec.Struct):
    """What answers here, and where its pages are."""

    name: str
    version: str
    member: str
    links: dict[str, str]


class InvalidDocument(msgspec.Struct):
    """A document that the schema does not allow, and the first of what is wrong."""

    id: str
    revision: int
    errors: list[ProblemPart]


class ValidationReport(msgspec.Struct):
    """What a check of documents found. Repeat it with `after` as `next_after` until that is null."""

    checked: int
    invalid: int
    documents: list[InvalidDocument]
    next_after: str | None
    version: int | None
    revision: int


class ProblemPart(msgspec.Struct):
    """A mistake in the body: its place as a JSON pointer (RFC 6901), and what is allowed there."""

    pointer: str
    detail: str
    keyword: str | msgspec.UnsetType = msgspec.UNSET


class ProblemDetails(msgspec.Struct):
    """Why a request failed (RFC 9457). `code` is stable; `outcome` says what is known of its effect."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    retryable: bool
    outcome: Effect
    request_id: str
    retry_after_ms: int | msgspec.UnsetType = msgspec.UNSET
    revision: int | msgspec.UnsetType = msgspec.UNSET
    current_revision: int | msgspec.UnsetType | None = msgspec.UNSET
    errors: list[ProblemPart] | msgspec.UnsetType = msgspec.UNSET
    oldest_revision: int | msgspec.UnsetType = msgspec.UNSET
    asked_revision: int | msgspec.UnsetType = msgspec.UNSET
    applied_revision: int | msgspec.UnsetType = msgspec.UNSET
