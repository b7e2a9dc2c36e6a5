"""Cursors: where the next page of a list begins, as an opaque, versioned text that is valid for that list only.

They are valid for the user that they were given to. Those of queries say at which revision of the store the pages are,
too, and are signed by the cluster: one of another cluster, whose revisions are others, is refused. The rest are not
signed: a cursor contains nothing that its client has not seen, and a forged one lists nothing that a prefix could not.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
from typing import Final, NamedTuple

from collectionstore_node.access.callers import Method
from collectionstore_node.access.current import CALLER
from collectionstore_node.api.http.problems import Problem
from collectionstore_node.service.tokens import SIGNATURE_BYTES, is_signed, signature

VERSION: Final = 1
PINNED_VERSION: Final = 2
"""Signed, with a revision."""
SCOPE_BYTES: Final = 8
TEXT_MAX: Final = 4096

_HEAD_BYTES: Final = 1 + SCOPE_BYTES
_PLACE: Final = struct.Struct(">HH")
_REVISION: Final = struct.Struct(">Q")
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


class Place(NamedTuple):
    """Where the next page of a query begins."""

    key: bytes
    """The sort key of the last document."""
    name: str
    """Its ID."""
    skip: int
    """How many matches are still to be skipped."""
    revision: int = 0
    """The revision at whose state the pages are; 0 for that of each page's time."""


def encode_place(scope: tuple[str, ...], place: Place, signing: bytes | None) -> str:
    """Return the cursor that continues the query `scope` at `place`.

    `signing` is the key of the cluster; None while it may have members of a version without signed cursors: the
    revision is not in the cursor then.
    """
    text = _PLACE.pack(place.skip, len(place.key)) + place.key + place.name.encode()
    if signing is None:
        return _encode(scope, text)
    data = bytes((PINNED_VERSION,)) + _digest(scope) + _REVISION.pack(place.revision) + text
    return _shown(data + signature(signing, data))


def decode_place(scope: tuple[str, ...], cursor: str, signing: bytes | None) -> Place:
    """Return what `encode_place` was given. Raises `Problem` for any other text, or another cluster's."""
    elsewhere, revision = "the cursor is from a query with another collection, filter or order", 0
    if signing is None:
        data = _decode(scope, cursor, elsewhere)
    else:
        data = _bytes(cursor)
        _check_version(data, PINNED_VERSION)
        data, given = data[:-SIGNATURE_BYTES], data[-SIGNATURE_BYTES:]
        if not is_signed(signing, data, given):
            raise Problem("invalid_cursor", "the cursor is damaged, or of another cluster; start again without it")
        if data[1:_HEAD_BYTES] != _digest(scope):
            raise Problem("invalid_cursor", elsewhere)
        (revision,) = _REVISION.unpack_from(data, _HEAD_BYTES)
        data = data[_HEAD_BYTES + _REVISION.size :]
    try:
        skip, size = _PLACE.unpack_from(data)
        key, name = data[_PLACE.size : _PLACE.size + size], data[_PLACE.size + size :].decode()
    except (struct.error, UnicodeDecodeError):
        raise Problem("invalid_cursor", _DAMAGED) from None
    if len(key) != size:
        raise Problem("invalid_cursor", _DAMAGED)
    return Place(key, name, skip, revision)


def is_pinned(cursor: str) -> bool:
    """Whether a cursor is of the version that is signed. Raises `Problem` for a text that is none."""
    return _bytes(cursor)[:1] == bytes((PINNED_VERSION,))


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
    return _shown(bytes((VERSION,)) + _digest(scope) + after)


def _shown(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decode(scope: tuple[str, ...], cursor: str, elsewhere: str) -> bytes:
    data = _bytes(cursor)
    _check_version(data, VERSION)
    if data[1:_HEAD_BYTES] != _digest(scope):
        raise Problem("invalid_cursor", elsewhere)
    return data[_HEAD_BYTES:]


def _bytes(cursor: str) -> bytes:
    try:
        if len(cursor) > TEXT_MAX:
            raise ValueError
        return base64.b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        raise Problem("invalid_cursor", _DAMAGED) from None


def _check_version(data: bytes, version: int) -> None:
    if data[:1] != bytes((version,)):
        raise Problem("invalid_cursor", "the cursor is of another version; start again without it")


def _digest(scope: tuple[str, ...]) -> bytes:
    # A cursor is its user's. It grants nothing, as rights are asked at every page; but it tells where another one was.
    caller = CALLER.get()
    if caller is not None and caller.method is not Method.ANONYMOUS:
        scope = (*scope, caller.user)
    return hashlib.sha256("\0".join(scope).encode()).digest()[:SCOPE_BYTES]
