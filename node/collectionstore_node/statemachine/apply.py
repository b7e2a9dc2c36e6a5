"""How commands are applied: (command, state) -> (writes, outcome), deterministic on every replica.

Runs on every member for every write, so a put costs a few microseconds: the batch is decoded once, collection names are
looked up once per batch, and of a replaced record only the header is read.
"""

from __future__ import annotations

import msgspec

from collectionstore_node.errors import InvariantViolated
from collectionstore_node.statemachine.catalog import Catalog
from collectionstore_node.statemachine.commands import (
    Action,
    Code,
    Command,
    CommandBatch,
    CreateCollection,
    Delete,
    DropCollection,
    Outcome,
    Put,
    decode_batch,
)
from collectionstore_node.statemachine.dedupe import IdempotencyTable
from collectionstore_node.statemachine.digest import update_digest
from collectionstore_node.statemachine.header import read_header
from collectionstore_node.statemachine.transactions import apply_transaction
from collectionstore_node.statemachine.view import Overlay
from collectionstore_node.statemachine.writing import allows, current_revision, next_record


def apply_batch(overlay: Overlay, data: bytes, chain: bytes) -> list[Outcome]:
    """Apply the data of a COMMANDS entry to `overlay` and return one outcome per command, in order.

    Each command takes the next revision. `chain` is the entry's, for the state digest. Raises `InvariantViolated` if
    `data` is not a batch or the state cannot be decoded; discard `overlay` then.
    """
    batch = _decode(data)
    header = read_header(overlay)
    # The leader's clock, never this replica's. The maximum, because the next leader's clock may be behind: idempotency
    # records would live longer on one order of batches than on another.
    header.time_ms = max(header.time_ms, batch.time_ms)
    catalog, table = Catalog(overlay), IdempotencyTable(overlay, header)
    outcomes = []
    for command in batch.commands:
        # Every command takes a revision, failed ones and replays too: the revision is then the number of applied
        # commands, and does not depend on outcomes that a later version might compute differently.
        header.revision += 1
        # BEFORE the command, and at most a few records: see `dedupe`.
        table.expire()
        outcomes.append(_apply_once(overlay, catalog, table, command, header.revision))
    # LAST: it takes all writes of the entry into the digest and stores the header, in the same batch as the writes, so
    # that a crash cannot leave one without the other.
    update_digest(overlay, header, chain, outcomes)
    return outcomes


def _decode(data: bytes) -> CommandBatch:
    try:
        return decode_batch(data)
    except msgspec.DecodeError as error:
        # Stops every replica at this entry. To skip it would be worse: another version might be able to decode it, and
        # the states would diverge.
        raise InvariantViolated(f"a committed entry is not a command batch: {error}") from error


def _apply_once(
    overlay: Overlay, catalog: Catalog, table: IdempotencyTable, command: Command, revision: int
) -> Outcome:
    """Apply the command, unless its idempotency key has a stored outcome."""
    idempotency = command.idempotency
    if idempotency is None:
        return _apply(overlay, catalog, command.action, revision)
    known = table.answer(idempotency, revision)
    if known is not None:
        return known
    outcome = _apply(overlay, catalog, command.action, revision)
    # In the same overlay as the effect: a crash keeps both or neither, so a retry cannot apply the command twice.
    table.store(idempotency, outcome)
    return outcome


def _apply(overlay: Overlay, catalog: Catalog, action: Action, revision: int) -> Outcome:
    if isinstance(action, Put):
        return _put(overlay, catalog, action, revision)
    if isinstance(action, Delete):
        return _delete(overlay, catalog, action, revision)
    if isinstance(action, CreateCollection):
        created = catalog.create(action.name, revision)
        return Outcome(Code.OK if created else Code.COLLECTION_EXISTS, revision, created)
    if isinstance(action, DropCollection):
        return Outcome(Code.OK if catalog.drop(action.name) else Code.COLLECTION_NOT_FOUND, revision)
    return apply_transaction(overlay, catalog, action, revision)


def _put(overlay: Overlay, catalog: Catalog, put: Put, revision: int) -> Outcome:
    key = catalog.key(put.ref)
    if key is None:
        return Outcome(Code.COLLECTION_NOT_FOUND, revision)
    previous = overlay.get(key)
    current = current_revision(previous)
    if not allows(put.precondition, current):
        return Outcome(Code.PRECONDITION_FAILED, revision, current_revision=current)
    overlay.put(key, next_record(put, revision, previous))
    return Outcome(Code.OK, revision, previous is None, current)


def _delete(overlay: Overlay, catalog: Catalog, delete: Delete, revision: int) -> Outcome:
    key = catalog.key(delete.ref)
    if key is None:
        return Outcome(Code.COLLECTION_NOT_FOUND, revision)
    previous = overlay.get(key)
    current = current_revision(previous)
    if not allows(delete.precondition, current):
        return Outcome(Code.PRECONDITION_FAILED, revision, current_revision=current)
    if previous is None:
        return Outcome(Code.NOT_FOUND, revision)
    overlay.delete(key)
    return Outcome(Code.OK, revision, current_revision=current)
