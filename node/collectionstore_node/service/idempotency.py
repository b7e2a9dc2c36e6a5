"""Commands that are safe to retry: the fingerprint of a request, and IDs that are the same in every attempt."""

from __future__ import annotations

import hashlib
import uuid
from typing import Final, TypeVar

import msgspec
from msgspec.structs import replace

from collectionstore_node.statemachine.commands import (
    Action,
    Command,
    Expiring,
    Idempotency,
    Operation,
    Transaction,
    Update,
    UpdateForm,
)

T = TypeVar("T", bound=Operation)

_encoder: Final = msgspec.msgpack.Encoder()


def command_for(action: Action, key: str | None, request: bytes | None = None) -> Command:
    """Return the command for `action`; with an idempotency key, it carries the fingerprint of the whole request.

    The encoded action holds the verb, the target, preconditions, content type and the body in canonical form, so a
    retry with different white space has the same fingerprint. `request` stands for it where a retry may make another
    action of the same request: which document a filter finds depends on the state.
    """
    if key is None:
        return Command(action)
    text = _encoder.encode(action) if request is None else request
    return Command(action, Idempotency(key, hashlib.sha256(text).digest()))


def stamped(command: Command, *, time_ms: int, bytes_max: int) -> Command:
    """Return a command whose updates carry the time of day, if they ask for it, and the limit of documents here.

    AFTER the fingerprint was made: both may be different in a retry.
    """
    action = command.action
    if isinstance(action, Update | Expiring):
        return replace(command, action=_operation(action, time_ms, bytes_max))
    if isinstance(action, Transaction):
        then, otherwise = (
            tuple(_operation(one, time_ms, bytes_max) for one in branch) for branch in (action.then, action.otherwise)
        )
        return replace(command, action=replace(action, then=then, otherwise=otherwise))
    return command


def _operation(operation: T, time_ms: int, bytes_max: int) -> T:
    if isinstance(operation, Expiring):
        return replace(operation, write=_operation(operation.write, time_ms, bytes_max))
    return _stamped(operation, time_ms, bytes_max) if isinstance(operation, Update) else operation


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
