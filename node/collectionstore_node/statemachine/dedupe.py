"""The idempotency table: outcomes of requests with an idempotency key, so that a retry has no further effect.

All outcomes are stored, failures too: a retry must return what the first attempt returned, even if it would succeed
now. They hold revisions and no values, so a record is small, whatever its request read. The oldest records are removed
first, by age, number or size, each in the order in which they were stored. A record may outlive its age, because only a
few are removed per command: the cost of a command must not depend on how long the store was idle. The bounds of number
and size always hold.

The expiry queue is numbered without gaps, so its head is found by a point read; a scan would cost more than the
command. The replicated time never goes back (`header.advance`), so the queue is in order of age.

All replicas must expire the same records at the same command: the table decides outcomes, so it is replicated state.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

import msgspec

from collectionstore_node.errors import InvariantViolated
from collectionstore_node.statemachine.codec import decode_own
from collectionstore_node.statemachine.commands import Code, Idempotency, Outcome
from collectionstore_node.statemachine.header import Header
from collectionstore_node.statemachine.keys import idempotency_key, queue_key
from collectionstore_node.statemachine.levels import BOUNDED
from collectionstore_node.statemachine.view import Overlay


class Limits(NamedTuple):
    """Limits of the table. Replicas with different limits would diverge: changing one needs a new feature level."""

    keep_ms: int = 24 * 60 * 60 * 1000
    """Minimum age, in the replicated time, at which a record expires."""
    entries_max: int = 100_000
    """Maximum number of records."""
    size_bytes_max: int = 64 << 20
    """Maximum bytes of all records with their keys and their places in the queue. A record has 4 KiB at most
    (TRANSACTION_ITEMS_MAX results and a key of 255 bytes), so at least 16,384 are kept whatever clients send."""
    removals_max: int = 2
    """Records removed per command by age. Above 1, or a table never shrinks."""
    evictions_max: int = 128
    """Records removed per command by number or size: as many as a large record may take the place of, so that the
    bounds always hold. Only a table of level 1 is beyond them, and shrinks by so many at each keyed command."""
    whole: bool = True
    """Whether `size_bytes_max` counts keys and the queue too."""


LIMITS: Final = Limits()
LIMITS_OF_LEVEL_1: Final = Limits(size_bytes_max=256 << 20, evictions_max=2, whole=False)
"""Outcomes hold values, and a large one may take the place of two small ones: not a bound."""


class Record(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The stored record of a request."""

    fingerprint: bytes
    outcome: Outcome


_QUEUED = struct.Struct(">QI")  # time_ms, size_bytes of the record; the record's key follows
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Record)


class IdempotencyTable:
    """The table as one batch reads and writes it; the ends of its queue are in `header`, which the caller stores."""

    __slots__ = ("_header", "_limits", "_overlay", "_queue")

    def __init__(self, overlay: Overlay, header: Header, limits: Limits | None = None) -> None:
        """`limits` are those of the header's level, except in tests."""
        self._overlay = overlay
        self._header = header
        self._queue = header.queue
        self._limits = limits or (LIMITS if header.level >= BOUNDED else LIMITS_OF_LEVEL_1)

    def expire(self) -> None:
        """Remove expired records, `removals_max` at most."""
        queue = self._queue
        for _ in range(self._limits.removals_max):
            # By the replicated time, never a clock: replicas apply the same entry at different moments.
            if queue.first == queue.next or self._header.time_ms - queue.oldest_ms < self._limits.keep_ms:
                return
            self._remove_oldest()

    def answer(self, idempotency: Idempotency, revision: int) -> Outcome | None:
        """Return the outcome for a known idempotency key, None for a new one.

        `revision` is that of the current request; it is in the outcome only if the key was used for another request.
        """
        data = self._overlay.get(idempotency_key(idempotency.key))
        if data is None:
            return None
        record = decode_own(_decoder, data, "an idempotency record")
        # A client that reuses a key by mistake must not receive the outcome of another request, and must not write
        # either.
        if record.fingerprint != idempotency.fingerprint:
            return Outcome(Code.IDEMPOTENCY_KEY_REUSED, revision)
        return msgspec.structs.replace(record.outcome, replayed=True)

    def store(self, idempotency: Idempotency, outcome: Outcome) -> None:
        """Store `outcome` for a new key; the oldest records are removed if a limit is exceeded."""
        queue, time_ms = self._queue, self._header.time_ms
        key = idempotency_key(idempotency.key)
        data = _encoder.encode(Record(idempotency.fingerprint, outcome))
        # `oldest_ms` is in the header so that `expire`, which runs for every command, needs no read.
        if queue.first == queue.next:
            queue.oldest_ms = time_ms
        position = queue_key(queue.next)
        size_bytes = len(data)
        if self._limits.whole:
            size_bytes += 2 * len(key) + len(position) + _QUEUED.size
        self._overlay.put(key, data)
        self._overlay.put(position, _QUEUED.pack(time_ms, size_bytes) + key)
        queue.next += 1
        queue.size_bytes += size_bytes
        self._enforce_limits()

    def _enforce_limits(self) -> None:
        queue, limits = self._queue, self._limits
        # A bounded number per command, so that a lower limit does not make one command remove the whole table.
        for _ in range(limits.evictions_max):
            if queue.next - queue.first <= limits.entries_max and queue.size_bytes <= limits.size_bytes_max:
                return
            self._remove_oldest()

    def _remove_oldest(self) -> None:
        queue = self._queue
        position = queue_key(queue.first)
        _, size_bytes, key = self._queued(position)
        self._overlay.delete(position)
        self._overlay.delete(key)
        queue.first += 1
        queue.size_bytes -= size_bytes
        if queue.first != queue.next:
            queue.oldest_ms = self._queued(queue_key(queue.first))[0]

    def _queued(self, position: bytes) -> tuple[int, int, bytes]:
        data = self._overlay.get(position)
        if data is None or len(data) < _QUEUED.size:
            raise InvariantViolated("the idempotency queue has a gap or a corrupt entry")
        time_ms, size_bytes = _QUEUED.unpack_from(data)
        return time_ms, size_bytes, data[_QUEUED.size :]
