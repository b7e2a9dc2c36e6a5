"""The key layout, order-preserving; the table is in the package docstring.

Invariants:
- keys of one family sort by their parts, numbers by value and texts by code point;
- the keys with a prefix made here are exactly those in `[prefix, prefix_end(prefix))`.
Texts must be encodable as UTF-8 (no lone surrogates): `UnicodeEncodeError` otherwise.
"""

from __future__ import annotations

import struct
from typing import Final

META: Final = b"\x01"
CATALOG: Final = b"\x02"
DOCUMENTS: Final = b"\x03"
RAW: Final = b"\x04"
IDEMPOTENCY: Final = b"\x05"
QUEUE: Final = b"\x06"
INDEXES: Final = b"\x07"
INDEX_ENTRIES: Final = b"\x08"
INDEX_STATISTICS: Final = b"\x09"
INDEX_BUILDS: Final = b"\x0a"
EXPIRY: Final = b"\x0c"
LEASES: Final = b"\x0d"
OPTIONS: Final = b"\x0b"
HISTORY: Final = b"\x0e"
CONSUMERS: Final = b"\x0f"
SUCCESSORS: Final = b"\x12"
SEQUENCES: Final = b"\x11"
USERS: Final = b"\x13"
ROLES: Final = b"\x14"
TOKENS: Final = b"\x15"
USAGE: Final = b"\x16"

HEADER_KEY: Final = META + b"header"
"""Sorts before every other key: what reads a whole state has the header first."""
MEMBERSHIP_KEY: Final = META + b"membership"
SEGMENTS_KEY: Final = META + b"history"
TOKEN_KEY: Final = META + b"token"
ACCESS_KEY: Final = META + b"rights"
EXPIRY_SUMMARY_KEY: Final = EXPIRY + b"\x00"
DUE_RECORDS: Final = EXPIRY + b"\x01"
DUE_LEASES: Final = EXPIRY + b"\x02"
LEASE_RECORDS: Final = LEASES + b"\x01"
ATTACHED: Final = LEASES + b"\x02"
TOKEN_RECORDS: Final = TOKENS + b"\x01"
USERS_TOKENS: Final = TOKENS + b"\x02"
USAGE_RECORDS: Final = USAGE + b"\x01"
USAGE_COUNTS: Final = USAGE + b"\x02"

_NUMBER = struct.Struct(">Q")
_ESCAPED_ZERO = b"\x00\xff"
_END = b"\x00\x01"


def escaped(text: str) -> bytes:
    """Return `text` as a part that others may follow: no part is a prefix of another, and parts sort like the texts."""
    # 00 FF still sorts like the 00 that it replaces, below 01 to FF. The end, 00 01, sorts before everything that can
    # continue a text: "a" and all keys with it come before "a\0".
    return text.encode().replace(b"\x00", _ESCAPED_ZERO) + _END


def collection_key(name: str) -> bytes:
    """Return the catalog key of a collection; for a part of a name, the prefix of all that begin with it."""
    return CATALOG + name.encode()


def documents_prefix(collection_id: int) -> bytes:
    """Return the prefix of all documents of a collection; append the UTF-8 document ID for one of them."""
    return DOCUMENTS + _NUMBER.pack(collection_id)


def collection_id_of(prefix: bytes) -> int:
    """Return the collection ID in a `documents_prefix`."""
    number: int = _NUMBER.unpack_from(prefix, len(DOCUMENTS))[0]
    return number


def bucket_prefix(bucket: str) -> bytes:
    """Return the prefix of all raw values of a bucket; append the UTF-8 key for one of them."""
    return RAW + escaped(bucket)


def idempotency_key(key: str) -> bytes:
    """Return the storage key of the outcome for an idempotency key."""
    return IDEMPOTENCY + key.encode()


def queue_key(sequence: int) -> bytes:
    """Return the storage key of an entry of the expiry queue."""
    return QUEUE + _NUMBER.pack(sequence)


def indexes_key(collection_id: int) -> bytes:
    """Return the storage key of the indexes of a collection."""
    return INDEXES + _NUMBER.pack(collection_id)


def index_prefix(collection_id: int, index_id: int) -> bytes:
    """Return the prefix of all entries of an index."""
    return INDEX_ENTRIES + _NUMBER.pack(collection_id) + _NUMBER.pack(index_id)


def statistics_key(collection_id: int, index_id: int) -> bytes:
    """Return the storage key of the statistics of an index."""
    return INDEX_STATISTICS + _NUMBER.pack(collection_id) + _NUMBER.pack(index_id)


def builds_key(collection_id: int) -> bytes:
    """Return the storage key under which a collection is listed while one of its indexes is being built."""
    return INDEX_BUILDS + _NUMBER.pack(collection_id)


def due_record_key(deadline_ms: int, key: bytes) -> bytes:
    """Return the place in the queue of the record that is stored under `key`; with `b""`, before all of its time."""
    return DUE_RECORDS + _NUMBER.pack(deadline_ms) + key


def due_lease_key(deadline_ms: int, lease: int) -> bytes:
    """Return the place of a lease in the queue of leases."""
    return DUE_LEASES + _NUMBER.pack(deadline_ms) + _NUMBER.pack(lease)


def due_at(place: bytes) -> tuple[int, bytes]:
    """Return the deadline in the place of a record, and the key under which it is stored."""
    start = len(DUE_RECORDS)
    return _NUMBER.unpack_from(place, start)[0], place[start + _NUMBER.size :]


def due_lease_at(place: bytes) -> tuple[int, int]:
    """Return deadline and ID in the place of a lease."""
    start = len(DUE_LEASES)
    return _NUMBER.unpack_from(place, start)[0], _NUMBER.unpack_from(place, start + _NUMBER.size)[0]


def lease_key(lease: int) -> bytes:
    """Return the storage key of a lease."""
    return LEASE_RECORDS + _NUMBER.pack(lease)


def lease_id_of(key: bytes) -> int:
    """Return the ID in a `lease_key`."""
    number: int = _NUMBER.unpack_from(key, len(LEASE_RECORDS))[0]
    return number


def attached_prefix(lease: int) -> bytes:
    """Return the prefix of what is attached to a lease; append the storage key of a record for one of them."""
    return ATTACHED + _NUMBER.pack(lease)


def history_key(revision: int) -> bytes:
    """Return the storage key of the changes of an entry, whose last revision is `revision`."""
    return HISTORY + _NUMBER.pack(revision)


def history_revision(key: bytes) -> int:
    """Return the revision in a `history_key`."""
    number: int = _NUMBER.unpack_from(key, len(HISTORY))[0]
    return number


def successor_prefix(revision: int) -> bytes:
    """Return the prefix of what came next to the large records of a revision; append the storage key of one of them."""
    return SUCCESSORS + _NUMBER.pack(revision)


def options_key(collection_id: int) -> bytes:
    """Return the storage key of the options of a collection."""
    return OPTIONS + _NUMBER.pack(collection_id)


def sequence_key(collection_id: int) -> bytes:
    """Return the storage key of the last number of a collection's sequence."""
    return SEQUENCES + _NUMBER.pack(collection_id)


def user_key(name: str) -> bytes:
    """Return the storage key of a user."""
    return USERS + name.encode()


def role_key(name: str) -> bytes:
    """Return the storage key of a role."""
    return ROLES + name.encode()


def token_record_key(token_id: str) -> bytes:
    """Return the storage key of a token of a user."""
    return TOKEN_RECORDS + token_id.encode()


def tokens_prefix(user: str) -> bytes:
    """Return the prefix under which the tokens of a user are listed; append the ID for one of them."""
    return USERS_TOKENS + escaped(user)


def usage_key(collection_id: int) -> bytes:
    """Return the storage key of what the documents of a collection take."""
    return USAGE_RECORDS + _NUMBER.pack(collection_id)


def usage_count_key(collection_id: int) -> bytes:
    """Return the storage key under which a collection is listed while its documents are being counted."""
    return USAGE_COUNTS + _NUMBER.pack(collection_id)


def last_text(key: bytes, prefix: bytes) -> str:
    """Return the text that follows `prefix` to the end of `key`."""
    return key[len(prefix) :].decode()


def prefix_end(prefix: bytes) -> bytes:
    """Return the smallest key above every key that begins with `prefix`, which must not be empty or all FF."""
    # A trailing FF cannot be incremented: as in a carry, it is dropped and the byte before it is incremented.
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes((stem[-1] + 1,))


def successor(key: bytes) -> bytes:
    """Return the smallest key above `key`."""
    return key + b"\x00"
