"""The header of the state: revision, time, ends of the idempotency queue, digest, feature level and extent of the
history. Read first and written last by every batch."""

from __future__ import annotations

from typing import Final

import msgspec

from collectionstore_node.statemachine.codec import decode_own
from collectionstore_node.statemachine.keys import HEADER_KEY
from collectionstore_node.statemachine.levels import BOUNDED, CHANGES, FIRST
from collectionstore_node.statemachine.view import Overlay, View

DIGEST_BYTES: Final = 32
EMPTY_DIGEST: Final = bytes(DIGEST_BYTES)
"""Digest of the empty state."""

TIME_STEP_MAX_MS: Final = 10 * 60 * 1000
"""How far one entry may advance the replicated time, from level 2 on. A single wrong stamp costs this much of the life
of an idempotency key, and a store that was idle for longer ages them more slowly, never faster."""


class Queue(msgspec.Struct, array_like=True):
    """The expiry queue of the idempotency table: sequence numbers `[first, next)`, in order of age."""

    first: int = 0
    next: int = 0
    size_bytes: int = 0
    """Sum of the sizes of the records."""
    oldest_ms: int = 0
    """Time of the entry `first`; undefined if the queue is empty."""


class History(msgspec.Struct, array_like=True):
    """How far the history of changes goes back, and what it takes; see `history`."""

    kept_after: int
    """Every change with a greater revision is kept."""
    size_bytes: int = 0
    """Sum of keys and records."""
    open_bytes: int = 0
    """The same of the newest segment, which the next entries add to."""
    open_ms: int = 0
    """Time of its first record; undefined if it is empty."""
    closed: int = 0
    """Number of the segments before it."""
    oldest_ms: int = 0
    """When the first of them was closed; undefined if there is none."""
    bytes_max: int = 0
    """What `size_bytes` may be; 0 for the bound of the level."""
    kept_ms: int = 0
    """Replicated time of the state at `kept_after`."""


class Header(msgspec.Struct, array_like=True):
    """The record under HEADER_KEY. Add fields at the end, with a default."""

    revision: int = 0
    """Number of applied commands."""
    time_ms: int = 0
    """The replicated time: the clock of the state machine, which never goes back; see `advance`."""
    queue: Queue = msgspec.field(default_factory=Queue)
    digest: bytes = EMPTY_DIGEST
    """DIGEST_BYTES over every change of the state; see `digest`."""
    level: int = FIRST
    """Feature level of the state; see `levels`. Stored, and in the digest, from level 2 on only."""
    history: History | None = None
    """Stored from level `CHANGES` on only, and there from its first entry on."""
    access_revision: int = 0
    """Of the last change of users, roles, tokens or the access configuration; stored only once there was one."""

    def advance(self, time_ms: int) -> None:
        """Advance the replicated time towards that of a batch."""
        # Never this replica's clock. The maximum, because the next leader's clock may be behind: idempotency records
        # would live longer on one order of batches than on another.
        if self.level >= BOUNDED:
            time_ms = min(time_ms, self.time_ms + TIME_STEP_MAX_MS)
        self.time_ms = max(self.time_ms, time_ms)

    def bump(self, by: int) -> None:
        """Raise the revision of a cluster that begins with this state, beyond those that the old one may have given.

        What the old cluster changed behind this state is not in the history: it ends here.
        """
        if by:
            self.revision += by
            if self.history is not None:
                self.history.kept_after, self.history.kept_ms = self.revision, self.time_ms

    def stored(self) -> object:
        """Return what is encoded of it, in the state and for the digest."""
        # At each level the fields that it began with: their digests must be the same.
        if self.access_revision:
            return self
        common = (self.revision, self.time_ms, self.queue, self.digest)
        if self.level >= CHANGES:
            return (*common, self.level, self.history)
        return common if self.level == FIRST else (*common, self.level)


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Header)


def read_header(view: View) -> Header:
    """Return a mutable copy of the header; all zero in an empty store. Raises `InvariantViolated` if it is corrupt."""
    # Decoded anew for every batch: a batch that fails leaves a changed header behind, which must not be used again.
    data = view.get(HEADER_KEY)
    if data is None:
        return Header()
    return decode_own(_decoder, data, "the state's header")


def header_in(first: tuple[bytes, bytes] | None) -> Header:
    """Return the header of a state from its first record, which it is unless nothing was applied."""
    if first is None or first[0] != HEADER_KEY:
        return Header()
    return decode_own(_decoder, first[1], "the state's header")


def write_header(overlay: Overlay, header: Header) -> None:
    """Store `header`."""
    overlay.put(HEADER_KEY, _encoder.encode(header.stored()))
