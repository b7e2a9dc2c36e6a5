"""The commands that the log carries, their outcomes, and their versioned encoding.

A log entry of kind COMMANDS holds one `CommandBatch`: the leader's time and the commands that arrived together.
Nothing here is evaluated with a clock or a random number: the leader adds time and IDs BEFORE it proposes, so that
every replica computes the same. Add fields at the end, with a default; a change of meaning needs a new feature level
(`levels`), which is the first byte of an encoded batch. `Item` and `Outcome` are part of the state digest: a new field
in them would change the digests of earlier levels.

A batch may contain the trace contexts of sampled commands, as a third element after those of `CommandBatch`. It is part
of the entry's bytes, and of the log's chain, and so equal on every replica. The state machine ignores it, as do
versions that do not know it: it has no effect on state, outcomes or revisions.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Annotated, Final, NamedTuple, TypeAlias

import msgspec

from collectionstore_node.indexes.definition import Definition
from collectionstore_node.statemachine.access_commands import ACCESS_ACTIONS, AccessAction
from collectionstore_node.statemachine.codec import decode
from collectionstore_node.statemachine.levels import CHANGES, ENGINE, FIRST, HIGHEST
from collectionstore_node.statemachine.options import CollectionOptions

_THREE_ELEMENTS: Final = 0x93
_FOUR_ELEMENTS: Final = 0x94
_FIXED_ARRAY_MAX: Final = 0x9F
"""Range of the second byte of a batch with more than time and commands: msgpack arrays of 3 to 15 elements."""


class DocumentRef(msgspec.Struct, frozen=True, array_like=True, tag=1, gc=False):
    """A document by collection name and document ID."""

    collection: str
    id: str


class KeyRef(msgspec.Struct, frozen=True, array_like=True, tag=2, gc=False):
    """A raw value by bucket and key; buckets need no creation."""

    bucket: str
    key: str


Ref: TypeAlias = DocumentRef | KeyRef


class Precondition(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Condition of a write; both None: unconditional.

    `exists` True is `If-Match: *`, False is `If-None-Match: *`. `revisions` lists acceptable current revisions
    (`If-Match: "7", "9"`); an absent target matches none.
    """

    exists: bool | None = None
    revisions: tuple[int, ...] | None = None


ANY: Final = Precondition()


class Put(msgspec.Struct, frozen=True, array_like=True, tag=1, gc=False):
    """Store `value`: the compact JSON text of a document, or the raw bytes of a key.

    `content_type` is stored with raw values and returned on reads; empty for documents.
    """

    ref: Ref
    value: bytes
    precondition: Precondition = ANY
    content_type: str = ""


class Delete(msgspec.Struct, frozen=True, array_like=True, tag=2, gc=False):
    """Delete the target; NOT_FOUND if it is absent."""

    ref: Ref
    precondition: Precondition = ANY


class CreateCollection(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """Create a collection; COLLECTION_EXISTS if there is one of that name."""

    name: str


class DropCollection(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """Drop a collection with all its documents."""

    name: str


class Get(msgspec.Struct, frozen=True, array_like=True, tag=6, gc=False):
    """Read the target inside a transaction, at the transaction's revision."""

    ref: Ref


class CompareField(enum.IntEnum):
    """The property of the target that is compared."""

    REVISION = 0
    """Revision of its last write; 0 if absent."""
    EXISTS = 1
    """1 when present, else 0."""
    VALUE = 2
    """The stored bytes; false if the target is absent."""


class CompareOperator(enum.IntEnum):
    """How the target's field is compared with the operand."""

    EQUAL = 0
    NOT_EQUAL = 1
    GREATER = 2
    LESS = 3


class Compare(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One condition of a transaction: `field(ref) operator operand`; bytes only for VALUE."""

    ref: Ref
    field: CompareField
    operator: CompareOperator
    operand: int | bytes


class UpdateForm(enum.IntEnum):
    """What the body of an `Update` is. The first three are those of `documents.updates.Form`."""

    OPERATORS = 0
    """A JSON object of operators, such as `$set`."""
    MERGE_PATCH = 1
    """RFC 7396."""
    JSON_PATCH = 2
    """RFC 6902."""
    REPLACE = 3
    """A whole document, stored as it is."""
    DELETE = 4
    """Empty: the document is deleted."""


class Image(enum.IntEnum):
    """Which text of the document the answer to an `Update` holds."""

    NONE = 0
    BEFORE = 1
    AFTER = 2


class Update(msgspec.Struct, frozen=True, array_like=True, tag=16, gc=False):
    """Compute a document from what it is when the command is applied. From level `ENGINE` on.

    NOT_FOUND if it is absent, unless `upsert`. CONDITION_FAILED if it does not match `when`; an absent one is inserted
    whatever `when` says, and begins with what an equality in it says.
    """

    ref: DocumentRef
    form: UpdateForm
    body: bytes = b""
    """Compact JSON text."""
    array_filters: bytes = b""
    """A JSON list of filters; empty for none."""
    when: bytes = b""
    """A JSON filter; empty for none."""
    precondition: Precondition = ANY
    upsert: bool = False
    image: Image = Image.NONE
    unchanged_since: int = 0
    """PRECONDITION_FAILED if the last write has a later revision than this; 0 for no such condition."""
    time_ms: int = 0
    """The time of day where the request arrived, in milliseconds since 1970 UTC, for `$currentDate`; else 0."""
    bytes_max: int = 0
    """The largest text of the new document where the request arrived; 0 for `documents.updates.BYTES_MAX`."""


class Expiring(msgspec.Struct, frozen=True, array_like=True, tag=35, gc=False):
    """A put or an update whose document or raw value expires; from level `CHANGES` on.

    One of `ttl_ms` and `lease` at most; with neither it does not expire, whatever its collection says. LEASE_NOT_FOUND
    or LEASE_FULL if it cannot be attached, INVALID_EXPIRY for a ttl out of range.
    """

    write: Put | Update
    ttl_ms: int = 0
    """How long it is there, from the time of the entry on."""
    lease: int = 0
    """ID of the lease that it is attached to."""

    @property
    def ref(self) -> Ref:
        """What is written."""
        return self.write.ref

    @property
    def precondition(self) -> Precondition:
        """Condition of the write."""
        return self.write.precondition


Operation: TypeAlias = Put | Delete | Get | Update | Expiring


def plain(operation: Operation) -> Put | Delete | Get | Update:
    """Return an operation without what it says of expiry."""
    return operation.write if isinstance(operation, Expiring) else operation


class Transaction(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """If all of `compare` hold apply `then`, else `otherwise`, atomically and at one revision (etcd's Txn).

    A target may be written once per branch. A failed precondition of an operation fails the whole transaction, and so
    does a missing collection, in a compare too. Deleting an absent target is a no-op and does not fail; use a
    precondition to require it.
    """

    compare: tuple[Compare, ...] = ()
    then: tuple[Operation, ...] = ()
    otherwise: tuple[Operation, ...] = ()


class CreateIndex(msgspec.Struct, frozen=True, array_like=True, tag=20):
    """Create an index, whose entries are then made by `BuildIndex`; from level `ENGINE` on.

    INDEX_EXISTS if the collection has one of that name, TOO_MANY_INDEXES if it has no place for another.
    """

    collection: str
    definition: Definition


class DropIndex(msgspec.Struct, frozen=True, array_like=True, tag=21):
    """Drop an index with its entries, whatever its state."""

    collection: str
    name: str


class BuildIndex(msgspec.Struct, frozen=True, array_like=True, tag=22):
    """Make the entries of the next documents, in the order of IDs: a bounded number.

    The leader proposes one after the other. PRECONDITION_FAILED unless the build stands at `after`, so that a step that
    two leaders propose is done once.
    """

    collection: str
    index: int
    """ID of the index: the revision of its creation."""
    after: str | None
    """The ID of the last document that has entries; None at the beginning."""


class ConfigureCollection(msgspec.Struct, frozen=True, array_like=True, tag=30):
    """Replace all options of a collection; from level `CHANGES` on.

    PRECONDITION_FAILED if they were last changed at another revision than `expected`. With `create` a collection that
    does not exist is created with them; one that exists is COLLECTION_EXISTS if it has the same, else OPTIONS_DIFFER.
    """

    collection: str
    options: CollectionOptions
    expected: int = 0
    """When they were last changed: the collection's creation, if never. 0 for no such condition."""
    create: bool = False


class Insert(msgspec.Struct, frozen=True, array_like=True, tag=31, gc=False):
    """Store a new document under the next number of the collection's sequence; from level `CHANGES` on.

    ID_REFUSED if the collection has no sequence. The outcome says which number it was: `inserted_id`.
    """

    collection: str
    value: bytes
    """Compact JSON text of a document."""


class Touch(msgspec.Struct, frozen=True, array_like=True, tag=36, gc=False):
    """Change until when the target is there, and nothing else: it keeps its revision. From level `CHANGES` on.

    NOT_FOUND if it is absent, and the codes of `Expiring`.
    """

    ref: Ref
    ttl_ms: int = 0
    lease: int = 0
    precondition: Precondition = ANY


class GrantLease(msgspec.Struct, frozen=True, array_like=True, tag=37, gc=False):
    """Grant a lease, whose ID is the revision of the command. TOO_MANY_LEASES. From level `CHANGES` on, as those below.

    Records are attached to it, and are gone when it ends: `ttl_ms` after it was granted or kept alive.
    """

    ttl_ms: int


class KeepLease(msgspec.Struct, frozen=True, array_like=True, tag=38, gc=False):
    """Keep a lease alive for its whole ttl from now on. LEASE_NOT_FOUND if it has ended."""

    lease: int


class RevokeLease(msgspec.Struct, frozen=True, array_like=True, tag=39, gc=False):
    """End a lease now, and with it everything that is attached. LEASE_NOT_FOUND if it has ended."""

    lease: int


class Expire(msgspec.Struct, frozen=True, array_like=True, tag=40, gc=False):
    """Remove what has expired: a bounded number of records and leases. The leader proposes one after the other.

    It also advances the replicated time, as every entry does, and is proposed for that alone.
    """


class Plan(msgspec.Struct, frozen=True, array_like=True):
    """Where the documents are that may match a query: chosen where the request arrived, as the log must say it.

    A planner may change from one version to the next; what a command costs may not.
    """

    index: int = 0
    """ID of the index whose entries are read; 0 for the documents themselves."""
    ranges: tuple[tuple[bytes, bytes], ...] = ((b"", b""),)
    """Parts `[lo, hi)` of its keys, without the prefix; an empty `hi` is the end."""
    single: bool = False
    """Whether it holds only while no document has several entries in the index."""


SCAN: Final = Plan()


class Query(msgspec.Struct, frozen=True, array_like=True):
    """The documents of a collection that match a filter, or of them the one with the ID `id`."""

    collection: str
    filter: bytes
    """Compact JSON text of a filter without `$expr`."""
    id: str | None = None
    plan: Plan = SCAN


class QueryGuard(msgspec.Struct, frozen=True, array_like=True):
    """One condition of a transaction: the number of documents that match, compared with `operand`."""

    query: Query
    operator: CompareOperator
    operand: int


class GuardedTransaction(msgspec.Struct, frozen=True, array_like=True, tag=53):
    """A transaction whose compares include queries; from level `CHANGES` on.

    READ_COLLECTION_NOT_FOUND for the collection of a query, QUERY_TOO_COSTLY if what the queries look at is beyond the
    bounds of a transaction.
    """

    transaction: Transaction
    guards: tuple[QueryGuard, ...]


class ReadTarget(msgspec.Struct, frozen=True, array_like=True):
    """What a client has read of a single target: its revision, 0 if it was absent."""

    ref: Ref
    revision: int


class ReadQuery(msgspec.Struct, frozen=True, array_like=True):
    """What a client has read by a query: at which revision, or the IDs and revisions of all that matched."""

    query: Query
    since: int = 0
    """The revision of the answer: no document that matches before or behind a later change may have been changed."""
    seen: tuple[tuple[str, int], ...] | None = None
    """If given, `since` is not asked: the query must find just these now."""


class Commit(msgspec.Struct, frozen=True, array_like=True, tag=54):
    """Run `writes` if all that was read would be read now, too; from level `CHANGES` on.

    TRANSACTION_CONFLICT otherwise: `failed_operation` is the position among `targets`, then `queries`, and the only
    item says which document is another one (`conflicting`). All reads and writes have one place in the order of
    commands then: the revision of this one.
    """

    targets: tuple[ReadTarget, ...] = ()
    queries: tuple[ReadQuery, ...] = ()
    writes: tuple[Operation, ...] = ()


class Settle(msgspec.Struct, frozen=True, array_like=True, tag=55):
    """Decide the fate of the command with the same idempotency key; from level `CHANGES` on.

    If that one was applied, this one is answered with its outcome. Otherwise SETTLED takes the place of its outcome in
    the idempotency table, and it is never applied, however late it comes. OUTCOME_UNKNOWN if the table may have
    forgotten its outcome: it has dropped the record at `sequence`, or later ones.
    """

    sequence: int
    """The outcome of the other command has this place in the queue of the table, or a later one."""


class LimitHistory(msgspec.Struct, frozen=True, array_like=True, tag=45):
    """Bound the history of changes by other bytes than those of the level; from level `CHANGES` on.

    The leader proposes it while a member is short of space. INVALID_LIMIT if it is out of range.
    """

    bytes_max: int
    """0 for the bound of the level."""


class PutConsumer(msgspec.Struct, frozen=True, array_like=True, tag=48):
    """Create a consumer of changes; from level `CHANGES` on. One of that name that asks for the same is left as it is.

    CONSUMER_EXISTS if it asks for something else, TOO_MANY_CONSUMERS beyond their bound, CONSUMER_POSITION if it would
    begin at a revision that is not reached.
    """

    name: str
    kind: str
    """`collection`, `bucket` or `store`."""
    scope: str
    """Name of the collection or bucket; empty for the store."""
    request: bytes
    """What else it asks for: a JSON object."""
    revision: int | None = None
    """Where it begins: behind the first `passed` changes of this revision; None for behind the command."""
    passed: int = 0


class AckConsumer(msgspec.Struct, frozen=True, array_like=True, tag=49):
    """Move a consumer forward; from level `CHANGES` on. It never goes back.

    CONSUMER_NOT_FOUND, or CONSUMER_POSITION for a revision that is not reached.
    """

    name: str
    revision: int
    passed: int


class DeleteConsumer(msgspec.Struct, frozen=True, array_like=True, tag=50):
    """Delete a consumer; from level `CHANGES` on. CONSUMER_NOT_FOUND if there is none."""

    name: str


ClientAction: TypeAlias = (
    Put
    | Delete
    | CreateCollection
    | DropCollection
    | Transaction
    | Update
    | CreateIndex
    | DropIndex
    | ConfigureCollection
    | Insert
    | Expiring
    | Touch
    | GrantLease
    | KeepLease
    | RevokeLease
    | GuardedTransaction
    | Commit
    | Settle
    | PutConsumer
    | AckConsumer
    | DeleteConsumer
    | AccessAction
)
Action: TypeAlias = ClientAction | BuildIndex | Expire | LimitHistory


class Idempotency(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The client's key of one logical request, and a hash of the request."""

    key: str
    fingerprint: bytes


class Command(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One client request. Every applied command, whatever its outcome, takes the next revision."""

    action: Action
    idempotency: Idempotency | None = None
    access: int | None = None
    """The access revision by which it was authorized: ACCESS_CHANGED if it is another one when it is applied. None, and
    then not encoded, if nothing was asked."""


def answers_values(command: Command) -> bool:
    """Whether the answer to a command may hold values, and be large."""
    action = command.action
    if isinstance(action, Expiring):
        action = action.write
    if isinstance(action, Update):
        return action.image is not Image.NONE
    return any(isinstance(one, Get) for one in steps_of(action))


def steps_of(action: Action) -> tuple[Operation, ...]:
    """Return the operations of all branches of a transaction; none of any other action."""
    match action:
        case Transaction():
            return (*action.then, *action.otherwise)
        case GuardedTransaction():
            return steps_of(action.transaction)
        case Commit():
            return action.writes
    return ()


_LEVELS: Final[dict[type, int]] = {
    **dict.fromkeys((Update, CreateIndex, DropIndex, BuildIndex), ENGINE),
    **dict.fromkeys(
        (ConfigureCollection, Insert, Expiring, Touch, GrantLease, KeepLease, RevokeLease, Expire), CHANGES
    ),
    **dict.fromkeys(
        (GuardedTransaction, Commit, Settle, LimitHistory, PutConsumer, AckConsumer, DeleteConsumer), CHANGES
    ),
    **dict.fromkeys(ACCESS_ACTIONS, CHANGES),
}
"""The level of each kind of action that is not of the first one."""


def level_known(action: Action) -> int:
    """Return the feature level from which on programs can decode an action."""
    if isinstance(action, Transaction):
        return max((_LEVELS.get(type(one), FIRST) for one in (*action.then, *action.otherwise)), default=FIRST)
    return _LEVELS.get(type(action), FIRST)


def level_needed(action: Action) -> int:
    """Return the feature level from which on an action may be proposed: earlier programs do not know all of it."""
    steps = (*action.then, *action.otherwise) if isinstance(action, Transaction) else (action,)
    # A name that is written with escapes is not found here. Below the level it is an invalid update, as it was before.
    if any(type(one) is Update and one.form is UpdateForm.OPERATORS and b'"$bit"' in one.body for one in steps):
        return CHANGES
    return level_known(action)


class CommandBatch(msgspec.Struct, frozen=True, array_like=True):
    """The commands of one log entry, and its time in milliseconds.

    At level 1 `time_ms` is the leader's time of day, since 1970 UTC. From level 2 on it is the replicated time, which
    the leader advances by how long it has led (`header.advance`).
    """

    time_ms: int
    commands: tuple[Command, ...]


SpanContext: TypeAlias = tuple[int, bytes]
"""Position of a sampled command in its batch, and trace ID (16 bytes) and span ID (8) of the proposing span."""


class _Traced(msgspec.Struct, frozen=True, array_like=True):
    """A batch of which only the trace contexts are decoded."""

    time_ms: msgspec.Raw
    commands: msgspec.Raw
    contexts: tuple[tuple[int, Annotated[bytes, msgspec.Meta(min_length=24, max_length=24)]], ...] = ()


class _Keyed(msgspec.Struct, frozen=True, array_like=True):
    """A batch of which only the key of tokens is decoded."""

    time_ms: msgspec.Raw
    commands: msgspec.Raw
    contexts: msgspec.Raw
    token_key: bytes


class Code(enum.IntEnum):
    """Result code of a command."""

    OK = 0
    NOT_FOUND = 1
    """Document or key absent."""
    COLLECTION_NOT_FOUND = 2
    COLLECTION_EXISTS = 3
    PRECONDITION_FAILED = 4
    IDEMPOTENCY_KEY_REUSED = 5
    """The key was used for another request before."""
    INVALID_TRANSACTION = 6
    """The transaction is invalid by `transactions.invalid_reason`; nothing was changed."""
    TRANSACTION_TOO_LARGE = 7
    """The operation at `failed_operation` exceeds a bound of `costs`; nothing was changed."""
    COMPARES_TOO_LARGE = 8
    """The same of a compare; `failed_operation` is its position in `compare`."""
    DEFERRED = 9
    """The commands before it used up ENTRY_COST_MAX; nothing was done. The leader proposes the command again, so that
    no client hears of it."""
    CONDITION_FAILED = 20
    """The document does not match the filter of an update; nothing was changed."""
    INVALID_UPDATE = 21
    """The update is invalid in any state; nothing was changed."""
    UPDATE_TYPE = 22
    """From here on: an update does not fit the document (`documents.updates.Reason`), and nothing was changed. Alone,
    `failed_operation` is the position of the part at fault; in a transaction, that of the update."""
    UPDATE_PATH = 23
    UPDATE_RANGE = 24
    UPDATE_CONFLICT = 25
    UPDATE_TEST = 26
    UPDATE_SIZE = 27
    UPDATE_COST = 28
    LEVEL_TOO_LOW = 40
    """The cluster is not at the level that the command needs: no member proposes such a command."""
    INDEX_EXISTS = 41
    INDEX_NOT_FOUND = 42
    TOO_MANY_INDEXES = 43
    INVALID_INDEX = 44
    """The definition is not allowed; members check it before they propose."""
    UNIQUE_VIOLATION = 45
    """Another document has the same values in a unique index; see `refused_index`."""
    INDEX_ENTRIES = 46
    """The document would have too many entries in an index, or a value in it is nested too deep; see the same."""
    CONSUMER_NOT_FOUND = 85
    CONSUMER_EXISTS = 86
    """There is one of that name that asks for something else."""
    TOO_MANY_CONSUMERS = 87
    CONSUMER_POSITION = 88
    """The revision is not reached."""
    SCHEMA_VIOLATION = 60
    """The schema of the collection does not allow the document; nothing was changed. `refused_document` has it."""
    SCHEMA_COST = 61
    """The document is too large for the schema: checking it would take too many steps. The same."""
    SCHEMA_DEFAULTS = 62
    """The defaults of the schema would add too much to the document."""
    INVALID_OPTIONS = 63
    """The options are not allowed; members check them before they propose."""
    OPTIONS_DIFFER = 64
    """The collection to create exists with other options."""
    ID_REFUSED = 65
    """The collection takes no new document under this ID, or none without one: see `options.Ids`."""
    SEQUENCE_TAKEN = 66
    """The next numbers of the sequence are the IDs of documents; a later insert goes on behind them."""
    SEQUENCE_EXHAUSTED = 67
    LEASE_NOT_FOUND = 70
    """There is no such lease, or it has ended."""
    LEASE_FULL = 71
    """The lease has as many records attached as it may."""
    TOO_MANY_LEASES = 72
    INVALID_EXPIRY = 73
    """A ttl is out of range, or comes with a lease; members check it before they propose."""
    TRANSACTION_CONFLICT = 90
    """What a transaction has read is no longer so; nothing was changed. See `Commit`."""
    QUERY_TOO_COSTLY = 91
    """The query at `failed_operation` looks at more than a transaction may; nothing was changed. In a
    `GuardedTransaction` the position is behind those of `compare`, in a `Commit` behind those of `targets`."""
    INVALID_QUERY = 92
    """The filter at `failed_operation` is invalid in any state: members check it before they propose."""
    SETTLED = 93
    """The command was not applied, and never will be: see `Settle`."""
    CHANGES_UNKNOWN = 94
    """What has changed since the query at `failed_operation` was read is not kept any more, or is too much to look at:
    nothing was changed. As `TRANSACTION_CONFLICT` to a client."""
    REVISION_AHEAD = 95
    """The query at `failed_operation` was read at a revision that there is not yet; nothing was changed."""
    READ_COLLECTION_NOT_FOUND = 96
    """The collection of the query, or of the read, at `failed_operation` does not exist."""
    OUTCOME_UNKNOWN = 97
    """What has become of the command is no longer known: see `Settle`."""
    INVALID_LIMIT = 80
    """The history cannot be bounded so; members propose no such bound."""
    ACCESS_CHANGED = 100
    """Users, roles or tokens have changed since the command was authorized; nothing was done, and its idempotency key
    was not looked up. It is authorized again, and proposed again if that succeeds."""
    USER_NOT_FOUND = 101
    ROLE_NOT_FOUND = 102
    TOKEN_NOT_FOUND = 103
    ACCESS_INVALID = 104
    """The user, role, token or configuration is not allowed in any state; members check it before they propose."""
    ACCESS_UNKNOWN = 105
    """It names a role or a collection that does not exist: `refused_part`."""
    ROLE_CIRCULAR = 106
    """A role would inherit itself, at `refused_part`."""
    ACCESS_FULL = 107
    """There are too many users, roles, tokens or rules: `refused_part`."""
    LOCKED_OUT = 108
    """Nobody could administer the store after the change; nothing was changed."""
    ROLE_IN_USE = 109
    """A user, a role or the configuration names the role: `refused_part`."""


class Item(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Result of one `Operation` of a transaction, or of an update.

    `value` is None for writes and for an absent target. From level 2 on it is None, and `content_type` empty, in every
    replicated outcome; only the member that answers adds them, while it applies the entry.
    """

    revision: int
    """Revision of the target after the operation; 0 if absent. An update that changes nothing keeps the one before."""
    created: bool = False
    value: bytes | None = None
    previous_revision: int = 0
    """Revision of the target before the operation; 0 if absent, so that a delete shows whether it removed something."""
    content_type: str = ""
    """Content type of a raw value that was read."""


class Outcome(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Result of applying a command, equal on every replica."""

    code: Code
    revision: int
    """Revision of this command."""
    created: bool = False
    """Whether a put created its target."""
    current_revision: int = 0
    """Revision of the target's last write BEFORE this command; 0 if absent. In a transaction: of the operation whose
    precondition failed. For COLLECTION_EXISTS, from level 2 on: of the collection's creation."""
    succeeded: bool = True
    """Whether the compares of a transaction held, so that `then` was applied or attempted."""
    items: tuple[Item, ...] = ()
    """Results of a transaction, in the order of the branch that was applied; of an update, its only one. If an index
    refused the command, one item for `refused_index`: no field may be added here."""
    replayed: bool = False
    """Whether this is the stored outcome of an earlier request with the same idempotency key."""
    failed_operation: int | None = None
    """Position, in the attempted branch, of the operation that failed the transaction; None if it was a compare. Of the
    part that failed an update, None if it was none of them."""


SCHEMA_WARNING: Final = "!"
"""`Item.content_type` of a document that was stored although its schema does not allow it. No type of content has this
name: it has no slash."""


def warned(outcome: Outcome) -> bool:
    """Whether a schema does not allow a document that the command stored."""
    return any(map(item_warned, outcome.items))


def item_warned(item: Item) -> bool:
    """The same of the result of one operation."""
    return item.content_type == SCHEMA_WARNING


def inserted_id(outcome: Outcome) -> str:
    """Return the ID of the document that an `Insert` has stored; empty for another write."""
    return (outcome.items[0].value or b"").decode() if outcome.items else ""


def refused_document(outcome: Outcome) -> bytes | None:
    """Return the text of the document that an update would have made, for the codes of schemas; None if it is unknown.

    Only the member that answers adds it, and only of a small document.
    """
    return outcome.items[0].value if outcome.items else None


class RefusedBy(NamedTuple):
    """The index that refused a write."""

    name: str
    other: str
    """The ID of the document that has the same values; empty if the reason is another one."""


def refused_item(refused: RefusedBy) -> Item:
    """Return the item that says which index refused a command."""
    return Item(0, value=refused.other.encode(), content_type=refused.name)


def refused_index(outcome: Outcome) -> RefusedBy:
    """Return which index refused the command, for the codes UNIQUE_VIOLATION and INDEX_ENTRIES."""
    (item,) = outcome.items
    return RefusedBy(item.content_type, (item.value or b"").decode())


class RefusedPart(NamedTuple):
    """The part of a body of access control that cannot be stored as the state is."""

    pointer: str
    name: str
    """What is not there, or what names it."""


def refused_part_item(pointer: str, name: str) -> Item:
    """Return the item that says which part of a body is refused."""
    return Item(0, value=name.encode(), content_type=pointer)


def refused_part(outcome: Outcome) -> RefusedPart:
    """Return it, for the codes that say so."""
    (item,) = outcome.items
    return RefusedPart(item.content_type, (item.value or b"").decode())


class Rotated(NamedTuple):
    """A token that has another secret; times of day in milliseconds since 1970 UTC."""

    user: str
    expires_ms: int
    """0 for never."""
    previous_until_ms: int


def rotated_item(rotated: Rotated) -> Item:
    """Return the item that says what has become of a token."""
    return Item(rotated.expires_ms, value=rotated.user.encode(), previous_revision=rotated.previous_until_ms)


def rotated(outcome: Outcome) -> Rotated:
    """Return it, for a `RotateToken` that is OK."""
    (item,) = outcome.items
    return Rotated((item.value or b"").decode(), item.revision, item.previous_revision)


def conflicting(outcome: Outcome) -> str:
    """Return the ID of the document that made a `Commit` conflict; empty for a target, whose position says it."""
    (item,) = outcome.items
    return (item.value or b"").decode()


def conflict_item(document_id: str, revision: int) -> Item:
    """Return the item of a conflict: the revision that a document has now, 0 if it is absent or does not match."""
    return Item(revision, value=document_id.encode())


_encoder = msgspec.msgpack.Encoder()
_batch_decoder = msgspec.msgpack.Decoder(CommandBatch)
_traced_decoder = msgspec.msgpack.Decoder(_Traced)
_keyed_decoder = msgspec.msgpack.Decoder(_Keyed)
_command_decoder = msgspec.msgpack.Decoder(Command)
_outcome_decoder = msgspec.msgpack.Decoder(Outcome)


def encode_batch(time_ms: int, commands: Sequence[Command], level: int = FIRST) -> bytes:
    """Return the data of a COMMANDS entry. Raises as `encode_command`, for any of the commands."""
    return join_batch(time_ms, [encode_command(command) for command in commands], level=level)


def join_batch(
    time_ms: int,
    encoded: Sequence[bytes],
    contexts: Sequence[SpanContext] = (),
    *,
    level: int = FIRST,
    token_key: bytes = b"",
) -> bytes:
    """Return the data of a COMMANDS entry of `level` from commands that are encoded by `encode_command`.

    Without `contexts` the bytes are those of a version without trace contexts, unless there is a `token_key`.
    """
    # Raw: each command was encoded when it was proposed or forwarded, and is embedded without decoding it again.
    commands = [msgspec.Raw(command) for command in encoded]
    batch: tuple[object, ...] = (time_ms, commands, contexts) if contexts else (time_ms, commands)
    if token_key:
        batch = (time_ms, commands, contexts, token_key)
    return bytes((level,)) + _encoder.encode(batch)


def span_contexts(data: bytes) -> tuple[SpanContext, ...]:
    """Return the trace contexts in the data of a COMMANDS entry; empty if there are none, or they are invalid.

    Without contexts it reads one byte. Never raises: an invalid context is no reason to refuse an entry.
    """
    # One byte decides for almost every batch: this runs for every entry, traced or not.
    if len(data) < 2 or not _THREE_ELEMENTS <= data[1] <= _FIXED_ARRAY_MAX or not FIRST <= data[0] <= HIGHEST:
        return ()
    try:
        return decode(_traced_decoder, memoryview(data)[1:]).contexts
    except msgspec.DecodeError:
        return ()


def token_key_in(data: bytes) -> bytes:
    """Return the key of tokens that an entry of level `CHANGES` brings (`tokens`); empty for nearly all. Never raises.

    It is a fourth element, behind trace contexts: one byte decides for entries without.
    """
    if len(data) < 2 or data[1] != _FOUR_ELEMENTS or data[0] < CHANGES:
        return b""
    try:
        return decode(_keyed_decoder, memoryview(data)[1:]).token_key
    except msgspec.DecodeError:
        return b""


def decode_batch(data: bytes) -> CommandBatch:
    """Decode the data of a COMMANDS entry. Raises `msgspec.DecodeError` if it is invalid."""
    if not data or not FIRST <= data[0] <= HIGHEST:
        level = data[0] if data else "none"
        raise msgspec.DecodeError(
            f"a command batch of feature level {level}; this version supports {FIRST} to {HIGHEST}"
        )
    return decode(_batch_decoder, memoryview(data)[1:])


def level_of(data: bytes) -> int:
    """Return the level of a batch that `decode_batch` accepts."""
    return data[0]


def encode_command(command: Command) -> bytes:
    """Return the encoding of a command, in a batch and in a forwarded request.

    Raises `OverflowError` for a number beyond 64 bits and `UnicodeEncodeError` for a text with lone surrogates.
    """
    # As before there was access control, unless it was asked: entries and what is forwarded keep their bytes.
    if command.access is None:
        return _encoder.encode((command.action, command.idempotency))
    return _encoder.encode(command)


def decode_command(data: bytes) -> Command:
    """Decode a forwarded command. Raises `msgspec.DecodeError` if it is invalid."""
    return decode(_command_decoder, data)


def encode_outcome(outcome: Outcome) -> bytes:
    """Return the encoding of an outcome, for storage and for replies."""
    return _encoder.encode(outcome)


def decode_outcome(data: bytes) -> Outcome:
    """Decode an outcome. Raises `msgspec.DecodeError` if it is invalid."""
    return decode(_outcome_decoder, data)
