"""The stored form of a document or raw value: a fixed head, the content type, the bytes.

Packed by hand so that a write can read the revision of the record that it replaces without decoding it.
"""

from __future__ import annotations

import struct
from typing import Final

import msgspec

from collectionstore_node.errors import InvariantViolated

RECORD_FORMAT: Final = 1
"""First byte of every record; a new layout needs a new number."""

_HEAD = struct.Struct(">BQQI")  # format, revision, created_revision, bytes of the content type
_unpack_head = _HEAD.unpack_from
_pack_head = _HEAD.pack


class Stored(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A document or raw value as a read returns it."""

    revision: int
    """Revision of its last write."""
    created_revision: int
    """Revision of the write that created it; a put after a delete is a new creation."""
    value: bytes
    content_type: str = ""
    """Empty for documents."""


def encode_stored(revision: int, created_revision: int, value: bytes, content_type: str = "") -> bytes:
    """Return the record to store."""
    if not content_type:
        # The usual case, and one copy of the value less.
        return _pack_head(RECORD_FORMAT, revision, created_revision, 0) + value
    kind = content_type.encode()
    return _pack_head(RECORD_FORMAT, revision, created_revision, len(kind)) + kind + value


def decode_stored(record: bytes) -> Stored:
    """Decode a record of `encode_stored`. Raises `InvariantViolated` if it is none."""
    revision, created_revision, kind_bytes = _head(record)
    start = _HEAD.size + kind_bytes
    content_type = record[_HEAD.size : start].decode() if kind_bytes else ""
    return Stored(revision, created_revision, record[start:], content_type)


def value_start(record: bytes) -> int:
    """Return where the value of a record begins; it ends with the record."""
    return _HEAD.size + _head(record)[2]


def revisions_of(record: bytes) -> tuple[int, int]:
    """Return (revision, created_revision) of a record. Raises `InvariantViolated` if it is none."""
    # Not by `_head`: this runs for every write.
    try:
        record_format, revision, created_revision, _ = _unpack_head(record)
    except struct.error:
        raise _unknown(record) from None
    if record_format != RECORD_FORMAT:
        raise _unknown(record)
    return revision, created_revision


def _head(record: bytes) -> tuple[int, int, int]:
    try:
        record_format, revision, created_revision, kind_bytes = _unpack_head(record)
    except struct.error:
        raise _unknown(record) from None
    if record_format != RECORD_FORMAT:
        raise _unknown(record)
    return revision, created_revision, kind_bytes


def _unknown(record: bytes) -> InvariantViolated:
    return InvariantViolated(f"stored record of unknown format {record[:1].hex() or 'empty'}")
