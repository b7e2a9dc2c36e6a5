"""Tokens: a place in the history of a cluster, as an opaque text from which any watch can go on.

A token has the cluster that it is of, the revision of a command, and how many of its changes were passed. The cluster
is known by its ID, which a recovery and a restore change: a token is never taken for one of another history. It is not
secret, and not signed: it shows its client nothing new, and a forged one reads nothing that a revision would not. The
check at its end tells a damaged text from a place.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
from typing import Final, NamedTuple

from collectionstore_node.errors import InvalidRequest

VERSION: Final = 1
TOKEN_CHARACTERS: Final = 36
ALL: Final = 0xFFFF_FFFF
"""All changes of a command, however many it has."""
REVISION_MAX: Final = (1 << 63) - 1

_PLACE: Final = struct.Struct(">B8sQI")
_CHECK_BYTES: Final = 6
_DAMAGED: Final = "the token is damaged: a token is sent back as it was received"


class Position(NamedTuple):
    """A place in the history: between two changes. Positions compare like the places."""

    revision: int
    passed: int = ALL
    """How many changes of the command with that revision lie before the place; `ALL` for the place behind it."""


class Tokens:
    """Makes and reads the tokens of one cluster."""

    __slots__ = ("_mark",)

    def __init__(self, cluster_id: str) -> None:
        self._mark = hashlib.sha256(b"collectionstore history\0" + cluster_id.encode()).digest()[:8]

    def encode(self, position: Position) -> str:
        """Return the token of a place: 36 characters that need no escape in a URL, a header or JSON."""
        place = _PLACE.pack(VERSION, self._mark, *position)
        return base64.urlsafe_b64encode(place + _check(place)).decode()

    def decode(self, token: str) -> Position:
        """Return the place. Raises `InvalidRequest`: `invalid_token`, or `foreign_token` for one of another cluster."""
        try:
            if len(token) != TOKEN_CHARACTERS:
                raise ValueError
            data = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True)
        except (ValueError, binascii.Error):
            raise InvalidRequest("invalid_token", _DAMAGED) from None
        place, check = data[: _PLACE.size], data[_PLACE.size :]
        if check != _check(place):
            raise InvalidRequest("invalid_token", _DAMAGED)
        version, mark, revision, passed = _PLACE.unpack(place)
        if version != VERSION or revision > REVISION_MAX:
            raise InvalidRequest("invalid_token", "the token is of another version of the store: start without it")
        if mark != self._mark:
            raise InvalidRequest(
                "foreign_token",
                "the token is of another cluster, or of this one before it was restored: read everything again",
            )
        return Position(revision, passed)


def _check(place: bytes) -> bytes:
    return hashlib.sha256(place).digest()[:_CHECK_BYTES]
