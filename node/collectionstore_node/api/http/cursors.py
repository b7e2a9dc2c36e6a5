"""Cursors: where the next page of a list begins, as an opaque, versioned text that is valid for that list only.

Not signed: a cursor contains nothing that its client has not seen, and a forged one lists nothing that a prefix could
not.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
from typing import Final

from collectionstore_node.api.http.problems import Problem

VERSION: Final = 1
SCOPE_BYTES: Final = 8
TEXT_MAX: Final = 4096

_HEAD_BYTES: Final = 1 + SCOPE_BYTES
_PLACE: Final = struct.Struct(">HH")
_PROGRESS: Final = struct.Struct(">Q?H")
_DAMAGED: Final = "the cursor is damaged; start again without it"


def encode_cursor(scope: tuple[str, ...], after: str) -> str:
    """Return the cursor that continues the list `scope` (kind, collection, prefix) after the name `after`."""
    return _encode(scope, after.encode())


def decode_cursor(scope: tuple[str, ...], cursor: str) -> str:
    """Return the name after which the next page begins. Raises `Problem` for any text not from `encode_cursor`."""
    try:
        return _decode(scope, cursor, "the cursor is from a listing with another collection, bucket or prefix").decode()
    except UnicodeDecodeError:
        raise Problem("invalid_cursor", _DAMAGED) from None


def encode_place(scope: tuple[str, ...], key: bytes, name: str, skip: int) -> str:
    """Return the cursor that continues the query `scope` behind the sort key `key` and the ID `name`.

    `skip` is how many matches are still to be skipped.
    """
    return _encode(scope, _PLACE.pack(skip, len(key)) + key + name.encode())


def decode_place(scope: tuple[str, ...], cursor: str) -> tuple[bytes, str, int]:
    """Return sort key, ID and skip of `encode_place`. Raises `Problem` for any other text."""
    data = _decode(scope, cursor, "the cursor is from a query with another collection, filter or order")
    try:
        skip, size = _PLACE.unpack_from(data)
        key, name = data[_PLACE.size : _PLACE.size + size], data[_PLACE.size + size :].decode()
    except (struct.error, UnicodeDecodeError):
        raise Problem("invalid_cursor", _DAMAGED) from None
    if len(key) != size:
        raise Problem("invalid_cursor", _DAMAGED)
    return key, name, skip


def encode_progress(scope: tuple[str, ...], after: str, since: int, until: str | None) -> str:
    """Return the cursor that continues the writes `scope` behind the ID `after`.

    Documents up to the ID `until`, all if it is None, are left alone if their revision is above `since`; 0 for none.
    """
    last = b"" if until is None else until.encode()
    return _encode(scope, _PROGRESS.pack(since, until is None, len(last)) + last + after.encode())


def decode_progress(scope: tuple[str, ...], cursor: str) -> tuple[str, int, str | None]:
    """Return what `encode_progress` was given. Raises `Problem` for any other text."""
    data = _decode(scope, cursor, "the cursor is from a request with another collection, filter or update")
    try:
        since, everything, size = _PROGRESS.unpack_from(data)
        begin = _PROGRESS.size + size
        until, after = data[_PROGRESS.size : begin].decode(), data[begin:].decode()
    except (struct.error, UnicodeDecodeError):
        raise Problem("invalid_cursor", _DAMAGED) from None
    if len(data) < begin or since >= 1 << 63:
        raise Problem("invalid_cursor", _DAMAGED)
    return after, since, None if everything else until


def _encode(scope: tuple[str, ...], after: bytes) -> str:
    return base64.urlsafe_b64encode(bytes((VERSION,)) + _digest(scope) + after).decode().rstrip("=")


def _decode(scope: tuple[str, ...], cursor: str, elsewhere: str) -> bytes:
    try:
        if len(cursor) > TEXT_MAX:
            raise ValueError
        data = base64.b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        raise Problem("invalid_cursor", _DAMAGED) from None
    if data[:1] != bytes((VERSION,)):
        raise Problem("invalid_cursor", "the cursor is of another version; start again without it")
    if data[1:_HEAD_BYTES] != _digest(scope):
        raise Problem("invalid_cursor", elsewhere)
    return data[_HEAD_BYTES:]


def _digest(scope: tuple[str, ...]) -> bytes:
    return hashlib.sha256("\0".join(scope).encode()).digest()[:SCOPE_BYTES]
