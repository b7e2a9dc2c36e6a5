"""How commands are applied: (command, state) -> (writes, outcome), deterministic on every replica.

Runs on every member for every write, so a put costs a few microseconds: the batch is decoded once, collection names are
looked up once per batch, the records that several commands replace are read together, and only their heads are decoded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from collectionstore_node.errors import InvalidRequest, InvariantViolated, NodeError
from collectionstore_node.statemachine.access_changes import apply_access
from collectionstore_node.statemachine.access_commands import ACCESS_ACTIONS
from collectionstore_node.statemachine.catalog import Catalog
from collectionstore_node.statemachine.commands import (
    AckConsumer,
    Action,
    BuildIndex,
    Code,
    Command,
    CommandBatch,
    Commit,
    ConfigureCollection,
    CreateCollection,
    CreateIndex,
    Delete,
    DeleteConsumer,
    DocumentRef,
    DropCollection,
    DropIndex,
    Expire,
    Expiring,
    GrantLease,
    GuardedTransaction,
    Insert,
    Item,
    KeepLease,
    LimitHistory,
    Outcome,
    Put,
    PutConsumer,
    Restricted,
    RevokeAttached,
    RevokeLease,
    Settle,
    Touch,
    Update,
    UpdateForm,
    decode_batch,
    item_warned,
    level_known,
    level_of,
    refused_item,
    token_key_in,
)
from collectionstore_node.statemachine.commits import apply_commit, apply_guarded
from collectionstore_node.statemachine.configuring import configure_collection, insert
from collectionstore_node.statemachine.conforming import conform
from collectionstore_node.statemachine.consumers import apply_consumer
from collectionstore_node.statemachine.costs import ENTRY_COST_MAX
from collectionstore_node.statemachine.dedupe import IdempotencyTable
from collectionstore_node.statemachine.digest import update_digest
from collectionstore_node.statemachine.expiry_commands import (
    grant_lease,
    keep_lease,
    remove_expired,
    revoke_attached,
    revoke_lease,
    touch,
)
from collectionstore_node.statemachine.header import Header, read_header
from collectionstore_node.statemachine.history import ChangeKind, begin, keep, limit_history
from collectionstore_node.statemachine.index_commands import build_index, create_index, drop_index
from collectionstore_node.statemachine.indexing import Write, live, store
from collectionstore_node.statemachine.keys import history_key, idempotency_key
from collectionstore_node.statemachine.levels import BOUNDED, HIGHEST
from collectionstore_node.statemachine.restrictions import Restrictions
from collectionstore_node.statemachine.stored import EXPIRING, NEVER, encode_stored, revisions_of
from collectionstore_node.statemachine.tokens import take_token_key
from collectionstore_node.statemachine.transactions import apply_transaction, apply_unbounded
from collectionstore_node.statemachine.updates import apply_update
from collectionstore_node.statemachine.view import Overlay
from collectionstore_node.statemachine.writing import allows, current_revision

_OK: Final = Code.OK
"""Looking up a member of an enumeration takes longer than making an outcome."""
_CONSUMERS: Final = (PutConsumer, AckConsumer, DeleteConsumer)
_INSERT: Final = int(ChangeKind.INSERT)
_REPLACE: Final = int(ChangeKind.REPLACE)

READ_AHEAD_COMMANDS: Final = 16
"""Commands whose records are read together, before it is known what those of the commands before them cost: so many
records may be read beyond ENTRY_COST_MAX, at most."""


class CommandFailed(InvariantViolated):
    """A command cannot be applied, not even as a failure: `__cause__` says why. The text holds no part of it."""

    def __init__(self, position: int, action: str, reason: Exception) -> None:
        # Of other exceptions than our own not the text: it may quote a document.
        text = str(reason) if isinstance(reason, NodeError) else ""
        super().__init__(f"command {position}, a {action}: {type(reason).__name__}{f': {text}' if text else ''}")
        self.position = position
        """Of the command in its entry, from 0."""
        self.action = action
        """Kind of the command, such as Transaction."""


def apply_batch(
    overlay: Overlay, data: bytes, chain: bytes, answers: dict[int, Outcome] | None = None
) -> list[Outcome]:
    """Apply the data of a COMMANDS entry to `overlay` and return one outcome per command, in order.

    Each command takes the next revision. `chain` is the entry's, for the state digest. From level 2 on no outcome holds
    a value: `answers`, given by the member that answers, takes the outcomes of reading transactions with their values,
    by position. Raises `InvariantViolated` if `data` is not a batch or the header is corrupt, and `CommandFailed`;
    discard `overlay` then.
    """
    batch = _decode(data)
    header = read_header(overlay)
    # BEFORE anything else: all of the entry has the level that it brings. One of an earlier level, proposed before the
    # level was raised, is applied by the raised one.
    header.level = overlay.level = max(header.level, level_of(data))
    header.advance(batch.time_ms)
    bounded = header.level >= BOUNDED
    changes = begin(header)
    if changes is not None and (token_key := token_key_in(data)):
        take_token_key(overlay, header, token_key)
    catalog, table, queue = Catalog(overlay, changes), IdempotencyTable(overlay, header), header.queue
    catalog.deadlines.open(header)
    outcomes: list[Outcome] = []
    values: list[Item] | None = None if answers is None else []
    # From here on: an entry costs the same, whichever entries are applied together with it.
    overlay.cost = 0
    commands = batch.commands
    # Not for the first command, which looks up its collection. An entry of one command needs no more.
    keys: Sequence[bytes | None] = (None,)
    first, unread = 0, 1
    for position, command in enumerate(commands):
        # Every command takes a revision, failed ones and replays too: the revision is then the number of applied
        # commands, and does not depend on outcomes that a later version might compute differently.
        revision = header.revision = header.revision + 1
        # BEFORE the command: it must not even be looked up, as it is proposed again.
        if bounded and overlay.cost > ENTRY_COST_MAX:
            outcomes.append(Outcome(Code.DEFERRED, revision))
            continue
        action = command.action
        try:
            # Behind a deferred command all are deferred, so `position` does not pass `unread` unseen.
            if position == unread:
                keys = _read_ahead(overlay, catalog, commands[position : position + READ_AHEAD_COMMANDS])
                first, unread = position, position + READ_AHEAD_COMMANDS
            # BEFORE the command, and at most a few records: see `dedupe`.
            if queue.first != queue.next:
                table.expire()
            # BEFORE its idempotency key is looked up: the answer of before may be no more the caller's to see.
            if command.access is not None and command.access != header.access_revision:
                outcome = Outcome(Code.ACCESS_CHANGED, revision)
            # By far the most frequent command, without the calls that lead to the others.
            elif type(action) is Put and command.idempotency is None:
                outcome = _put(overlay, catalog, keys[position - first] or catalog.key(action.ref), action, revision)
            else:
                outcome = _apply_once(overlay, catalog, table, command, header, values)
        except Exception as error:
            raise CommandFailed(position, type(action).__name__, error) from error
        outcomes.append(outcome)
        if values and answers is not None:
            answers[position] = msgspec.structs.replace(outcome, items=tuple(values))
            values = []
    catalog.finish()
    record = None if changes is None else keep(overlay, header, changes, len(commands), catalog.key)
    # LAST: it takes all writes of the entry into the digest and stores the header, in the same batch as the writes, so
    # that a crash cannot leave one without the other.
    update_digest(overlay, header, chain, outcomes)
    if record is not None:
        overlay.put_unhashed(history_key(header.revision), record)
    return outcomes


def _decode(data: bytes) -> CommandBatch:
    try:
        return decode_batch(data)
    except msgspec.DecodeError as error:
        # Stops every replica at this entry. To skip it would be worse: another version might be able to decode it, and
        # the states would diverge.
        raise InvariantViolated(f"a committed entry is not a command batch: {error}") from error


def _read_ahead(overlay: Overlay, catalog: Catalog, commands: Sequence[Command]) -> Sequence[bytes | None]:
    """Read what `commands` are known to read, together; return the storage key of the target of each, None if unknown.

    Neither costs nor the catalog's lookups change: what each command reads is counted when it is applied.
    """
    keys: list[bytes | None] = []
    records: list[bytes] = []
    known_key = catalog.known_key
    for command in commands:
        action = command.action
        key = None
        # One type after the other: `isinstance` with several of them makes a union of them, for every command.
        if type(action) is Put or type(action) is Delete or type(action) is Update:
            key = known_key(action.ref)
            if key is not None:
                records.append(key)
        elif type(action) is CreateCollection or type(action) is DropCollection:
            # It changes the keys of the commands behind it.
            break
        if command.idempotency is not None:
            records.append(idempotency_key(command.idempotency.key))
        keys.append(key)
    overlay.read_ahead(records)
    return keys + [None] * (len(commands) - len(keys))


def _apply_once(
    overlay: Overlay,
    catalog: Catalog,
    table: IdempotencyTable,
    command: Command,
    header: Header,
    values: list[Item] | None,
) -> Outcome:
    """Apply the command, unless its idempotency key has a stored outcome."""
    idempotency = command.idempotency
    if idempotency is None:
        return _apply(overlay, catalog, command.action, header, values)
    known = table.answer(idempotency, header.revision)
    if known is not None:
        return known
    outcome = _apply(overlay, catalog, command.action, header, values)
    # In the same overlay as the effect: a crash keeps both or neither, so a retry cannot apply the command twice.
    table.store(idempotency, outcome)
    return outcome


def _apply(overlay: Overlay, catalog: Catalog, action: Action, header: Header, values: list[Item] | None) -> Outcome:
    revision = catalog.revision = header.revision
    if isinstance(action, Put):
        return _put(overlay, catalog, catalog.key(action.ref), action, revision)
    if isinstance(action, Delete):
        return _delete(overlay, catalog, action, revision)
    if isinstance(action, CreateCollection):
        return _create(catalog, action.name, header)
    if isinstance(action, DropCollection):
        return Outcome(Code.OK if catalog.drop(action.name) else Code.COLLECTION_NOT_FOUND, revision)
    if header.level < HIGHEST and level_known(action) > header.level:
        # No correct member proposes them before their level; what they would do then is not defined by it.
        return Outcome(Code.LEVEL_TOO_LOW, revision)
    if isinstance(action, _CONSUMERS):
        return apply_consumer(overlay, action, header)
    if isinstance(action, Update):
        return apply_update(overlay, catalog, action, revision, values)
    if isinstance(action, BuildIndex):
        return build_index(overlay, catalog, action, revision)
    if isinstance(action, CreateIndex):
        return create_index(catalog, action, revision)
    if isinstance(action, DropIndex):
        return drop_index(catalog, action, revision)
    if isinstance(action, Expiring | Touch | GrantLease | KeepLease | RevokeLease | Expire):
        return _expiry(overlay, catalog, action, revision, values)
    if isinstance(action, ConfigureCollection):
        return configure_collection(overlay, catalog, action, revision)
    if isinstance(action, Insert):
        return insert(overlay, catalog, action, revision)
    if isinstance(action, GuardedTransaction):
        return apply_guarded(overlay, catalog, action, revision, values)
    if isinstance(action, Commit):
        return apply_commit(overlay, catalog, action, revision, values)
    if isinstance(action, ACCESS_ACTIONS):
        return apply_access(overlay, catalog, action, header)
    if isinstance(action, Settle):
        # With the key of another command: there is no outcome of that one, and this is it from now on.
        forgotten = header.queue.first > action.sequence
        return Outcome(Code.OUTCOME_UNKNOWN if forgotten else Code.SETTLED, revision)
    if isinstance(action, LimitHistory):
        return limit_history(header, action, revision)
    if isinstance(action, Restricted):
        return _restricted(overlay, catalog, action, header, values)
    if isinstance(action, RevokeAttached):
        return revoke_attached(overlay, catalog, action, revision)
    if header.level >= BOUNDED:
        return apply_transaction(overlay, catalog, action, revision, values)
    return apply_unbounded(overlay, catalog, action, revision)


def _restricted(
    overlay: Overlay, catalog: Catalog, restricted: Restricted, header: Header, values: list[Item] | None
) -> Outcome:
    """Apply a write of a caller who may not read or write everything."""
    action = restricted.action
    if level_known(action) > header.level:
        return Outcome(Code.LEVEL_TOO_LOW, header.revision)
    try:
        catalog.restrictions = Restrictions(overlay, restricted.views)
    except InvalidRequest:
        return Outcome(Code.INVALID_RESTRICTION, header.revision)
    try:
        write = action.write if isinstance(action, Expiring) else action
        if not isinstance(write, Put) or not isinstance(write.ref, DocumentRef):
            return _apply(overlay, catalog, action, header, values)
        # As an update, which is asked what it meets: a put is the hot path, and asks as little as it can.
        update = Update(write.ref, UpdateForm.REPLACE, write.value, precondition=write.precondition, upsert=True)
        expiring = msgspec.structs.replace(action, write=update) if isinstance(action, Expiring) else None
        catalog.revision = header.revision
        outcome = apply_update(overlay, catalog, update, header.revision, values, expiring)
        kept = tuple(item for item in outcome.items if outcome.code is not Code.OK or item_warned(item))
        return msgspec.structs.replace(outcome, items=kept)
    finally:
        catalog.restrictions = None


def _expiry(
    overlay: Overlay,
    catalog: Catalog,
    action: Expiring | Touch | GrantLease | KeepLease | RevokeLease | Expire,
    revision: int,
    values: list[Item] | None,
) -> Outcome:
    match action:
        case Expiring(write):
            if isinstance(write, Put):
                return _put(overlay, catalog, catalog.key(write.ref), write, revision, action)
            return apply_update(overlay, catalog, write, revision, values, action)
        case Touch():
            return touch(overlay, catalog, action, revision)
        case GrantLease():
            return grant_lease(catalog, action, revision)
        case KeepLease():
            return keep_lease(catalog, action, revision)
        case RevokeLease():
            return revoke_lease(catalog, action, revision)
        case Expire():
            return remove_expired(overlay, catalog, action, revision)


def _create(catalog: Catalog, name: str, header: Header) -> Outcome:
    if catalog.create(name, header.revision):
        return Outcome(Code.OK, header.revision, created=True)
    # So that a retry can be answered as the first request was, whatever has become of the collection.
    current = catalog.revision_of(name) if header.level >= BOUNDED else 0
    return Outcome(Code.COLLECTION_EXISTS, header.revision, current_revision=current)


def _put(
    overlay: Overlay, catalog: Catalog, key: bytes | None, put: Put, revision: int, expiring: Expiring | None = None
) -> Outcome:
    """Apply a put to `key`, None if its collection does not exist."""
    if key is None:
        return Outcome(Code.COLLECTION_NOT_FOUND, revision)
    previous = overlay.get(key)
    if expires := previous is not None and previous[:1] == EXPIRING:
        catalog.revision = revision
        previous = live(overlay, catalog, put.ref, key, previous)
    current, created_revision = (0, revision) if previous is None else revisions_of(previous)
    precondition = put.precondition
    # Most have none, and need not be asked.
    if (precondition.exists is not None or precondition.revisions is not None) and not allows(precondition, current):
        return Outcome(Code.PRECONDITION_FAILED, revision, current_revision=current)
    value, mark = put.value, ""
    if catalog.configured:
        conforming = conform(overlay, catalog, put.ref, value, created=previous is None)
        if isinstance(conforming, Code):
            return Outcome(conforming, revision, current_revision=current)
        value, mark = conforming
    expiry = None
    if expiring is not None or catalog.configured:
        found = catalog.expiry(put.ref, expiring, previous)
        if isinstance(found, Code):
            return Outcome(found, revision, current_revision=current)
        expiry, expires = found, expires or found is not None
    record = encode_stored(revision, created_revision, value, put.content_type, expiry or NEVER)
    changes = catalog.changes
    if catalog.indexed or expires:
        catalog.revision = revision
        refused = store(overlay, catalog, (Write(put.ref, key, previous, record),))
        if refused is not None:
            return Outcome(refused.code, revision, current_revision=current, items=(refused_item(refused.by),))
    else:
        # As `store` does, without the call: this runs for every write.
        overlay.put(key, record)
        if changes is not None:
            changes.append((revision, 0, _INSERT if previous is None else _REPLACE, put.ref, "", previous, record))
    if mark:
        return Outcome(
            _OK, revision, previous is None, current, items=(Item(revision, previous is None, None, current, mark),)
        )
    return Outcome(_OK, revision, previous is None, current)


def _delete(overlay: Overlay, catalog: Catalog, delete: Delete, revision: int) -> Outcome:
    key = catalog.key(delete.ref)
    if key is None:
        return Outcome(Code.COLLECTION_NOT_FOUND, revision)
    previous = overlay.get(key)
    if previous is not None:
        previous = live(overlay, catalog, delete.ref, key, previous)
    current = current_revision(previous)
    if not allows(delete.precondition, current):
        return Outcome(Code.PRECONDITION_FAILED, revision, current_revision=current)
    if previous is None:
        return Outcome(Code.NOT_FOUND, revision)
    # It adds no entries, so no index refuses it.
    store(overlay, catalog, (Write(delete.ref, key, previous, None),))
    return Outcome(Code.OK, revision, current_revision=current)
