"""The header of the state: revision, time, ends of the idempotency queue and digest. Read first and written last by
every batch."""

from __future__ import annotations

from typing import Final

import msgspec

from collectionstore_node.statemachine.codec import decode_own
from collectionstore_node.statemachine.keys import HEADER_KEY
from collectionstore_node.statemachine.view import Overlay, View

DIGEST_BYTES: Final = 32
EMPTY_DIGEST: Final = bytes(DIGEST_BYTES)
"""Digest of the empty state."""


class Queue(msgspec.Struct, array_like=True):
    """The expiry queue of the idempotency table: sequence numbers `[first, next)`, in order of age."""

    first: int = 0
    next: int = 0
    size_bytes: int = 0
    """Sum of the sizes of the records."""
    oldest_ms: int = 0
    """Time of the entry `first`; undefined if the queue is empty."""


class Header(msgspec.Struct, array_like=True):
    """The record under HEADER_KEY. Add fields at the end, with a default."""

    revision: int = 0
    """Number of applied commands."""
    time_ms: int = 0
    """Maximum time of all batches: the clock of the state machine, which never goes back."""
    queue: Queue = msgspec.field(default_factory=Queue)
    digest: bytes = EMPTY_DIGEST
    """DIGEST_BYTES over every change of the state; see `digest`."""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Header)


def read_header(view: View) -> Header:
    """Return a mutable copy of the header; all zero in an empty store. Raises `InvariantViolated` if it is corrupt."""
    # Decoded anew for every batch: a batch that fails leaves a changed header behind, which must not be used again.
    data = view.get(HEADER_KEY)
    if data is None:
        return Header()
    return decode_own(_decoder, data, "the state's header")


def write_header(overlay: Overlay, header: Header) -> None:
    """Store `header`."""
    overlay.put(HEADER_KEY, _encoder.encode(header))
