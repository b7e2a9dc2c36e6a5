"""The operations of the store, one frozen struct each; the type says what is done, the fields say to what.

Targets, writes and transactions are the state machine's own types: they are the vocabulary of the log, and a second set
of structs would cost a conversion per request and could drift from it. They are re-exported here, so that a front end
depends on the store's operations and not on how they are applied.
"""

from __future__ import annotations

import enum
from typing import TypeAlias

import msgspec

from collectionstore_node.changes import Position as HistoryPosition
from collectionstore_node.changes import Selection
from collectionstore_node.documents.paths import Path
from collectionstore_node.query.aggregation import Pipeline
from collectionstore_node.query.find import Find
from collectionstore_node.query.sorting import Position
from collectionstore_node.service.access_requests import AccessAction, AccessRead
from collectionstore_node.service.exports import ReadLog, ReadState
from collectionstore_node.service.membership import Bootstrap, MembersRequest, ReadCluster, TransferLeadership
from collectionstore_node.statemachine.admissible import (
    CONTENT_TYPE,
    CONTENT_TYPE_CHARACTERS_MAX,
    IDEMPOTENCY_KEY,
    LOCKS,
    NAME,
    REVISIONS_MAX,
    key_violation,
    text_violation,
)
from collectionstore_node.statemachine.commands import (
    ANY,
    AckConsumer,
    CollectionView,
    Commit,
    CompareField,
    CompareOperator,
    ConfigureCollection,
    CreateCollection,
    CreateIndex,
    Delete,
    DeleteConsumer,
    DocumentRef,
    DropCollection,
    DropIndex,
    Expiring,
    Get,
    GrantLease,
    GuardedTransaction,
    Image,
    Insert,
    KeepLease,
    KeyRef,
    Precondition,
    Put,
    PutConsumer,
    QueryGuard,
    ReadQuery,
    ReadTarget,
    Ref,
    Restricted,
    RevokeAttached,
    RevokeLease,
    Settle,
    Touch,
    Transaction,
    Update,
    UpdateForm,
    plain,
    steps_of,
)
from collectionstore_node.statemachine.commands import ClientAction as Action
from collectionstore_node.statemachine.commands import Compare as Guard
from collectionstore_node.statemachine.commands import Operation as TransactionStep
from collectionstore_node.statemachine.commands import Query as DocumentQuery
from collectionstore_node.statemachine.options import (
    DEFAULTS,
    CollectionOptions,
    Ids,
    Schema,
    parse_options,
    shown_options,
    versioned,
)


class Consistency(enum.Enum):
    """How current a read is."""

    LINEARIZABLE = "linearizable"
    """It sees every write acknowledged before it began; costs a quorum round (thesis 6.4)."""
    STALE = "stale"
    """It sees what this node has applied."""


class BoundedStaleness(msgspec.Struct, frozen=True):
    """A stale read of a state that is at most `max_s` seconds old: it sees every write acknowledged before that."""

    max_s: float


class ReadPoint(msgspec.Struct, frozen=True):
    """A read of a certain revision of the store."""

    consistency: Consistency | BoundedStaleness = Consistency.LINEARIZABLE
    min_revision: int = 0
    """The read waits until this is applied, besides what `consistency` demands."""
    at_revision: int | None = None
    """The read is of the state at exactly this revision; `consistency` is of no account then."""


ReadConsistency: TypeAlias = Consistency | BoundedStaleness | ReadPoint


def pinned_revision(consistency: ReadConsistency) -> int | None:
    """Return the revision at whose state a read is, None for one that is not of the past."""
    return consistency.at_revision if isinstance(consistency, ReadPoint) else None


def at_least(consistency: ReadConsistency, revision: int) -> ReadPoint:
    """Return the demand of a read that must see `revision`, too."""
    if isinstance(consistency, ReadPoint):
        return msgspec.structs.replace(consistency, min_revision=max(consistency.min_revision, revision))
    return ReadPoint(consistency, revision)


class ReadCollection(msgspec.Struct, frozen=True, gc=False):
    """Read the catalog record of a collection."""

    name: str


class ReadIndexes(msgspec.Struct, frozen=True, gc=False):
    """Read the indexes of a collection."""

    collection: str


class ReadLease(msgspec.Struct, frozen=True, gc=False):
    """Read a lease, and with `attached` what is attached to it."""

    lease: int
    attached: bool = False


class ListLeases(msgspec.Struct, frozen=True, gc=False):
    """List leases by ID: those with a greater one than `after`, at most `limit`."""

    after: int
    limit: int


class ListCollections(msgspec.Struct, frozen=True, gc=False):
    """List collections by name: those that begin with `prefix` and sort after `after`, at most `limit`."""

    prefix: str
    after: str | None
    limit: int


class ListDocuments(msgspec.Struct, frozen=True, gc=False):
    """List the documents of a collection by id in code point order, with the same bounds."""

    collection: str
    prefix: str
    after: str | None
    limit: int


class ListKeys(msgspec.Struct, frozen=True, gc=False):
    """List the raw values of a bucket by key in code point order, with the same bounds."""

    bucket: str
    prefix: str
    after: str | None
    limit: int


class FindDocuments(msgspec.Struct, frozen=True, gc=False):
    """Find documents of a collection behind the position `after` in the order of `find`, at most `limit`."""

    collection: str
    find: Find
    after: Position | None
    limit: int


class CountDocuments(msgspec.Struct, frozen=True, gc=False):
    """Count the documents of a collection that match `find`."""

    collection: str
    find: Find


class DistinctValues(msgspec.Struct, frozen=True, gc=False):
    """Return the different values of `path` in those documents."""

    collection: str
    find: Find
    path: Path


class Start(enum.Enum):
    """Where a watch begins that is given no place in the history."""

    NOW = "now"
    """Behind the state as it is."""
    SNAPSHOT = "snapshot"
    """There, and the documents of that state come first."""


class WatchChanges(msgspec.Struct, frozen=True):
    """Watch changes from a place on."""

    selection: Selection
    start: Start | HistoryPosition = Start.NOW


class ReadConsumers(msgspec.Struct, frozen=True):
    """Read the named consumers of changes: all of them, or the one called `name`."""

    name: str | None = None


class AggregateDocuments(msgspec.Struct, frozen=True, gc=False):
    """Run a pipeline over the documents of a collection."""

    collection: str
    pipeline: Pipeline

    @property
    def find(self) -> Find:
        """What is read of the collection."""
        return self.pipeline.find


class ExportDocuments(msgspec.Struct, frozen=True, gc=False):
    """Return all documents of a collection that match `find`, by ID, behind the ID of `after`."""

    collection: str
    find: Find
    after: Position | None


class ValidateDocuments(msgspec.Struct, frozen=True, gc=False):
    """Check documents of a collection whose ID is greater than `after` against a schema, or one that is not stored."""

    collection: str
    schema: Schema | None
    """None for that of the collection."""
    after: str | None
    limit: int
    """How many are checked at most."""
    shown: int
    """Of how many the result says what is wrong."""
    draft: bytes | None = None
    """A document that is not stored, as compact JSON: it is checked in place of those of the collection."""


Write: TypeAlias = Put | Delete
AnyWrite: TypeAlias = Put | Delete | Update | Insert | Expiring
Read: TypeAlias = DocumentRef | KeyRef
"""A read of one target is the target itself: the hot path allocates nothing more."""
List: TypeAlias = ListCollections | ListDocuments | ListKeys
Query: TypeAlias = FindDocuments | CountDocuments | DistinctValues | AggregateDocuments | ExportDocuments
Operation: TypeAlias = (
    AnyWrite
    | CreateCollection
    | DropCollection
    | CreateIndex
    | DropIndex
    | ConfigureCollection
    | Transaction
    | Touch
    | GrantLease
    | KeepLease
    | RevokeLease
    | RevokeAttached
    | Restricted
    | ReadLease
    | ListLeases
    | GuardedTransaction
    | Commit
    | Settle
    | Read
    | ReadCollection
    | ReadIndexes
    | List
    | Query
    | ValidateDocuments
    | WatchChanges
    | PutConsumer
    | AckConsumer
    | DeleteConsumer
    | ReadConsumers
    | ReadCluster
    | ReadLog
    | ReadState
    | Bootstrap
    | MembersRequest
    | TransferLeadership
    | AccessAction
    | AccessRead
)
"""Everything that is admitted at the door."""

__all__ = [
    "ANY",
    "CONTENT_TYPE",
    "CONTENT_TYPE_CHARACTERS_MAX",
    "DEFAULTS",
    "IDEMPOTENCY_KEY",
    "LOCKS",
    "NAME",
    "REVISIONS_MAX",
    "AckConsumer",
    "Action",
    "AggregateDocuments",
    "AnyWrite",
    "BoundedStaleness",
    "CollectionOptions",
    "CollectionView",
    "Commit",
    "CompareField",
    "CompareOperator",
    "ConfigureCollection",
    "Consistency",
    "CountDocuments",
    "CreateCollection",
    "CreateIndex",
    "Delete",
    "DeleteConsumer",
    "DistinctValues",
    "DocumentQuery",
    "DocumentRef",
    "DropCollection",
    "DropIndex",
    "Expiring",
    "ExportDocuments",
    "Find",
    "FindDocuments",
    "Get",
    "GrantLease",
    "Guard",
    "GuardedTransaction",
    "Ids",
    "Image",
    "Insert",
    "KeepLease",
    "KeyRef",
    "List",
    "ListCollections",
    "ListDocuments",
    "ListKeys",
    "ListLeases",
    "Operation",
    "Precondition",
    "Put",
    "PutConsumer",
    "Query",
    "QueryGuard",
    "Read",
    "ReadCollection",
    "ReadConsistency",
    "ReadConsumers",
    "ReadIndexes",
    "ReadLease",
    "ReadPoint",
    "ReadQuery",
    "ReadTarget",
    "Ref",
    "Restricted",
    "RevokeAttached",
    "RevokeLease",
    "Schema",
    "Settle",
    "Start",
    "Touch",
    "Transaction",
    "TransactionStep",
    "Update",
    "UpdateForm",
    "ValidateDocuments",
    "WatchChanges",
    "Write",
    "at_least",
    "key_violation",
    "parse_options",
    "pinned_revision",
    "plain",
    "shown_options",
    "steps_of",
    "text_violation",
    "versioned",
]
