"""Commands that are safe to retry: the fingerprint of a request, and IDs that are the same in every attempt."""

from __future__ import annotations

import hashlib
import uuid
from typing import Final

import msgspec

from collectionstore_node.statemachine.commands import Action, Command, Idempotency

_encoder: Final = msgspec.msgpack.Encoder()


def command_for(action: Action, key: str | None) -> Command:
    """Return the command for `action`; with an idempotency key, it carries the fingerprint of the whole request.

    The encoded action holds the verb, the target, preconditions, content type and the body in canonical form, so a
    retry with different white space has the same fingerprint.
    """
    if key is None:
        return Command(action)
    return Command(action, Idempotency(key, hashlib.sha256(_encoder.encode(action)).digest()))


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
