"""Commands that are safe to retry: the fingerprint of a request, and IDs that are the same in every attempt."""

from __future__ import annotations

import hashlib
import uuid
from typing import Final

import msgspec
from msgspec.structs import replace

from collectionstore_node.statemachine.commands import (
    Action,
    Command,
    Commit,
    DocumentRef,
    Expiring,
    GuardedTransaction,
    Idempotency,
    Insert,
    Operation,
    Precondition,
    Put,
    Transaction,
    Update,
    UpdateForm,
    steps_of,
)

_encoder: Final = msgspec.msgpack.Encoder()
_ABSENT: Final = Precondition(exists=False)


def command_for(action: Action, key: str | None, request: bytes | None = None) -> Command:
    """Return the command for `action`; with an idempotency key, it carries the fingerprint of the whole request.

    The encoded action holds the verb, the target, preconditions, content type and the body in canonical form, so a
    retry with different white space has the same fingerprint. `request` stands for it where a retry may make another
    action of the same request: which document a filter finds depends on the state.
    """
    if key is None:
        return Command(action)
    if isinstance(action, Insert) and request is None:
        # As that of the write that a member makes which does not know yet that the collection has a sequence.
        made = document_id_for(action.collection, key)
        request = request_text(new_document(action.collection, made, action.value))
    return Command(action, Idempotency(key, fingerprint_of(action, request)))


def new_document(collection: str, document_id: str, document: bytes) -> Put:
    """Return the write of a new document under a generated ID."""
    # Absent also for a fresh id: an expired key derives the same ID again, and must not overwrite the document that its
    # first request made.
    return Put(DocumentRef(collection, document_id), document, _ABSENT)


def fingerprint_of(action: Action, request: bytes | None = None) -> bytes:
    """Return the fingerprint of a request: a SHA-256."""
    return hashlib.sha256(request_text(action) if request is None else request).digest()


def request_text(action: Action) -> bytes:
    """Return what identifies the request for `action`, as it came."""
    return _encoder.encode(action)


def stamped(command: Command, *, time_ms: int, bytes_max: int) -> Command:
    """Return a command whose updates carry the time of day, if they ask for it, and the limit of documents here.

    AFTER the fingerprint was made: both may be different in a retry.
    """
    action = command.action
    if isinstance(action, Update):
        return replace(command, action=_stamped(action, time_ms, bytes_max))
    if isinstance(action, Expiring):
        return replace(command, action=_stamped_expiring(action, time_ms, bytes_max))
    if not any(isinstance(one, Update | Expiring) for one in steps_of(action)):
        return command

    def branch(steps: tuple[Operation, ...]) -> tuple[Operation, ...]:
        return tuple(_operation(one, time_ms, bytes_max) for one in steps)

    def whole(transaction: Transaction) -> Transaction:
        return replace(transaction, then=branch(transaction.then), otherwise=branch(transaction.otherwise))

    match action:
        case Transaction():
            return replace(command, action=whole(action))
        case GuardedTransaction():
            return replace(command, action=replace(action, transaction=whole(action.transaction)))
        case Commit():
            return replace(command, action=replace(action, writes=branch(action.writes)))
    return command


def _operation(operation: Operation, time_ms: int, bytes_max: int) -> Operation:
    if isinstance(operation, Expiring):
        return _stamped_expiring(operation, time_ms, bytes_max)
    return _stamped(operation, time_ms, bytes_max) if isinstance(operation, Update) else operation


def _stamped_expiring(expiring: Expiring, time_ms: int, bytes_max: int) -> Expiring:
    write = expiring.write
    return replace(expiring, write=_stamped(write, time_ms, bytes_max)) if isinstance(write, Update) else expiring


def _stamped(update: Update, time_ms: int, bytes_max: int) -> Update:
    dated = update.form is UpdateForm.OPERATORS and b"$currentDate" in update.body
    return replace(update, time_ms=time_ms if dated else 0, bytes_max=bytes_max)


def derived_key(key: str, position: int | str) -> str:
    """Return the idempotency key of a part of a request."""
    return hashlib.sha256(f"{key}\0{position}".encode()).hexdigest()


def document_id_for(collection: str, key: str) -> str:
    """Return the id of a document inserted under an idempotency key: a UUIDv8, the same in every attempt.

    A new UUIDv7 per attempt would give the retry another fingerprint, and a replayed outcome does not contain the ID
    of the first attempt.
    """
    digest = bytearray(hashlib.sha256(f"{collection}\0{key}".encode()).digest()[:16])
    # Version 8 and variant 10 in the bits that RFC 9562 5.8 reserves for them; the rest stays the hash.
    digest[6] = digest[6] & 0x0F | 0x80
    digest[8] = digest[8] & 0x3F | 0x80
    return str(uuid.UUID(bytes=bytes(digest)))
