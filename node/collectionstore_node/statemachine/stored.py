"""The stored form of a document or raw value: a fixed head, the content type, the bytes.

Packed by hand so that a write can read the revision of the record that it replaces without decoding it. A record that
expires has a format of its own, from level `CHANGES` on; all others are as they were at earlier levels.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

import msgspec

from collectionstore_node.errors import InvariantViolated

RECORD_FORMAT: Final = 1
"""First byte of a record; a new layout needs a new number."""
EXPIRING_FORMAT: Final = 2
"""The same of a record that expires: its head goes on with an `Expiry`."""
EXPIRING: Final = bytes((EXPIRING_FORMAT,))

_HEAD = struct.Struct(">BQQI")  # format, revision, created_revision, bytes of the content type
_EXPIRING_HEAD = struct.Struct(">BQQIQQ")  # the same, deadline_ms, lease
_unpack_head = _HEAD.unpack_from
_pack_head = _HEAD.pack


class Expiry(NamedTuple):
    """Until when a record is there: up to a deadline, or as long as a lease."""

    deadline_ms: int = 0
    """The replicated time from which on it is gone; 0 for none."""
    lease: int = 0
    """ID of the lease that it is attached to; 0 for none."""


NEVER: Final = Expiry()


class Stored(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A document or raw value as a read returns it."""

    revision: int
    """Revision of its last write."""
    created_revision: int
    """Revision of the write that created it; a put after a delete is a new creation."""
    value: bytes
    content_type: str = ""
    """Empty for documents."""
    expiry: Expiry = NEVER
    left_ms: int | None = None
    """How long it is still there, by the replicated time of the state that was read; None if it does not expire, or
    where that is not asked for."""


def encode_stored(
    revision: int, created_revision: int, value: bytes, content_type: str = "", expiry: Expiry = NEVER
) -> bytes:
    """Return the record to store."""
    if expiry is not NEVER and expiry != NEVER:
        kind = content_type.encode()
        return _EXPIRING_HEAD.pack(EXPIRING_FORMAT, revision, created_revision, len(kind), *expiry) + kind + value
    if not content_type:
        # The usual case, and one copy of the value less.
        return _pack_head(RECORD_FORMAT, revision, created_revision, 0) + value
    kind = content_type.encode()
    return _pack_head(RECORD_FORMAT, revision, created_revision, len(kind)) + kind + value


def decode_stored(record: bytes) -> Stored:
    """Decode a record of `encode_stored`. Raises `InvariantViolated` if it is none."""
    revision, created_revision, kind_bytes = _head(record)
    begin, expiry = _HEAD.size, NEVER
    if record[0] == EXPIRING_FORMAT:
        begin, expiry = _EXPIRING_HEAD.size, expiry_of(record)
    start = begin + kind_bytes
    content_type = record[begin:start].decode() if kind_bytes else ""
    return Stored(revision, created_revision, record[start:], content_type, expiry)


def expiry_of(record: bytes) -> Expiry:
    """Return until when a record is there. Raises `InvariantViolated` if it is no record."""
    if record[:1] != EXPIRING:
        _head(record)
        return NEVER
    try:
        return Expiry(*_EXPIRING_HEAD.unpack_from(record)[4:])
    except struct.error:
        raise _unknown(record) from None


def with_expiry(record: bytes, expiry: Expiry) -> bytes:
    """Return a record with another expiry, and otherwise as it is: also of the same revision."""
    revision, created_revision, kind_bytes = _head(record)
    start = value_start(record)
    content_type = record[start - kind_bytes : start].decode()
    return encode_stored(revision, created_revision, record[start:], content_type, expiry)


def value_start(record: bytes) -> int:
    """Return where the value of a record begins; it ends with the record."""
    kind_bytes = _head(record)[2]
    return (_EXPIRING_HEAD.size if record[0] == EXPIRING_FORMAT else _HEAD.size) + kind_bytes


def revisions_of(record: bytes) -> tuple[int, int]:
    """Return (revision, created_revision) of a record. Raises `InvariantViolated` if it is none."""
    # Not by `_head`: this runs for every write.
    try:
        record_format, revision, created_revision, _ = _unpack_head(record)
    except struct.error:
        raise _unknown(record) from None
    if record_format != RECORD_FORMAT and record_format != EXPIRING_FORMAT:
        raise _unknown(record)
    return revision, created_revision


def _head(record: bytes) -> tuple[int, int, int]:
    try:
        record_format, revision, created_revision, kind_bytes = _unpack_head(record)
    except struct.error:
        raise _unknown(record) from None
    if record_format != RECORD_FORMAT and (record_format != EXPIRING_FORMAT or len(record) < _EXPIRING_HEAD.size):
        raise _unknown(record)
    return revision, created_revision, kind_bytes


def _unknown(record: bytes) -> InvariantViolated:
    return InvariantViolated(f"stored record of unknown format {record[:1].hex() or 'empty'}")
