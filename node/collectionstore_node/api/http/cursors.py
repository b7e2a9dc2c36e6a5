"""Cursors: where the next page of a list begins, as an opaque, versioned text that is valid for that list only.

Not signed: a cursor contains nothing that its client has not seen, and a forged one lists nothing that a prefix could
not.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Final

from collectionstore_node.api.http.problems import Problem

VERSION: Final = 1
SCOPE_BYTES: Final = 8
TEXT_MAX: Final = 2048

_HEAD_BYTES: Final = 1 + SCOPE_BYTES


def encode_cursor(scope: tuple[str, ...], after: str) -> str:
    """Return the cursor that continues the list `scope` (kind, collection, prefix) after the name `after`."""
    return base64.urlsafe_b64encode(bytes((VERSION,)) + _digest(scope) + after.encode()).decode().rstrip("=")


def decode_cursor(scope: tuple[str, ...], cursor: str) -> str:
    """Return the name after which the next page begins. Raises `Problem` for any text not from `encode_cursor`."""
    try:
        if len(cursor) > TEXT_MAX:
            raise ValueError
        data = base64.b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        after = data[_HEAD_BYTES:].decode()
    except (ValueError, binascii.Error):
        raise Problem("invalid_cursor", "the cursor is damaged; start again without it") from None
    if data[:1] != bytes((VERSION,)):
        raise Problem("invalid_cursor", "the cursor is of another version; start again without it")
    if data[1:_HEAD_BYTES] != _digest(scope):
        raise Problem("invalid_cursor", "the cursor is from a listing with another collection, bucket or prefix")
    return after


def _digest(scope: tuple[str, ...]) -> bytes:
    return hashlib.sha256("\0".join(scope).encode()).digest()[:SCOPE_BYTES]
