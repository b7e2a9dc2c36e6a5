"""The header: the few numbers that every batch reads first and writes last, and the state's digest."""

from __future__ import annotations

from typing import Final

import msgspec

from collectionstore_node.statemachine.codec import decode_own
from collectionstore_node.statemachine.keys import HEADER_KEY
from collectionstore_node.statemachine.view import Overlay, View

DIGEST_BYTES: Final = 32
EMPTY_DIGEST: Final = bytes(DIGEST_BYTES)
"""Digest of a state to which nothing was done yet."""


class Queue(msgspec.Struct, array_like=True):
    """The idempotency records in order of age: entries with sequence numbers `[first, next)`."""

    first: int = 0
    next: int = 0
    size_bytes: int = 0
    """Sum of the sizes of the records."""
    oldest_ms: int = 0
    """Time of the entry `first`; meaningless when there is none."""


class Header(msgspec.Struct, array_like=True):
    """New fields go at the end with a default."""

    revision: int = 0
    """How many commands have been applied."""
    time_ms: int = 0
    """The highest time any batch carried: the clock of the state machine, which never goes back."""
    queue: Queue = msgspec.field(default_factory=Queue)
    digest: bytes = EMPTY_DIGEST
    """DIGEST_BYTES over everything that was ever done to the state; see `digest`."""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Header)


def read_header(view: View) -> Header:
    """Return a header of one's own to change; all zero in an empty store. Raises `InvariantViolated` when damaged."""
    data = view.get(HEADER_KEY)
    if data is None:
        return Header()
    return decode_own(_decoder, data, "the state's header")


def write_header(overlay: Overlay, header: Header) -> None:
    """Store `header`."""
    overlay.put(HEADER_KEY, _encoder.encode(header))
