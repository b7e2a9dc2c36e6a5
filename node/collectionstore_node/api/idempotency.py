"""The `Idempotency-Key` header: which requests it makes safe to repeat, and what counts as the same request."""

from __future__ import annotations

import hashlib
import re
import uuid
from typing import Final

import msgspec
from multidict import CIMultiDictProxy, istr

from collectionstore_node.api.problems import Problem
from collectionstore_node.statemachine.commands import Action, Command, Idempotency

IDEMPOTENCY_KEY: Final = istr("Idempotency-Key")
REPLAYED: Final = b"Idempotency-Replayed: true\r\n"

_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")
_encoder = msgspec.msgpack.Encoder()


def idempotency_key(headers: CIMultiDictProxy[str]) -> str | None:
    """Return the client's key for this request, or None. Raises `Problem`.

    The key is opaque: quotes around it (RFC 8941 strings) are part of it.
    """
    key = headers.get(IDEMPOTENCY_KEY)
    if key is None or _KEY.fullmatch(key):
        return key
    raise Problem("invalid_idempotency_key", "an Idempotency-Key has 1-255 printable ASCII characters without spaces")


def command_for(action: Action, key: str | None) -> Command:
    """Return the command for `action`; with a key, it carries the hash of all that the request means.

    The encoded action holds method, target, preconditions, content type and the body in canonical form, so a request
    repeated with other white space is the same one.
    """
    if key is None:
        return Command(action)
    return Command(action, Idempotency(key, hashlib.sha256(_encoder.encode(action)).digest()))


def document_id_for(collection: str, key: str) -> str:
    """Return the id of a document posted under an idempotency key: a UUIDv8, the same for every repetition.

    A fresh UUIDv7 per attempt would make the repetition another request, and a replayed outcome does not know the id
    that was made first.
    """
    digest = bytearray(hashlib.sha256(f"{collection}\0{key}".encode()).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x80
    digest[8] = digest[8] & 0x3F | 0x80
    return str(uuid.UUID(bytes=bytes(digest)))
