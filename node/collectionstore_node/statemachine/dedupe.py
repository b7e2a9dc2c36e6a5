"""The idempotency table: outcomes of requests with an idempotency key, so that a retry has no further effect.

All outcomes are stored, failures too: a retry must return what the first attempt returned, even if it would succeed
now. The oldest records are removed first, by age, number or size. A record may outlive its age, because only a few are
removed per command: the cost of a command must not depend on how long the store was idle.

The expiry queue is numbered without gaps, so its head is found by a point read; a scan would cost more than the
command. Time is the maximum over all batches, so the queue is in order of age.

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
from collectionstore_node.statemachine.view import Overlay


class Limits(NamedTuple):
    """Limits of the table. Replicas with different limits would diverge: changing one needs a new command format."""

    keep_ms: int = 24 * 60 * 60 * 1000
    """Minimum age, in the time of the batches, at which a record expires."""
    entries_max: int = 100_000
    """Maximum number of records."""
    size_bytes_max: int = 256 * 1024 * 1024
    """Maximum size of all records; outcomes of transactions contain the values that they read."""
    removals_max: int = 2
    """Records removed per command, by age, and again by number or size. Above 1, or a full table never shrinks."""


LIMITS: Final = Limits()


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

    def __init__(self, overlay: Overlay, header: Header, limits: Limits = LIMITS) -> None:
        self._overlay = overlay
        self._header = header
        self._queue = header.queue
        self._limits = limits

    def expire(self) -> None:
        """Remove expired records, `removals_max` at most."""
        queue = self._queue
        for _ in range(self._limits.removals_max):
            # By the time of the batches, never a clock: replicas apply the same entry at different moments.
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
        self._overlay.put(key, data)
        self._overlay.put(queue_key(queue.next), _QUEUED.pack(time_ms, len(data)) + key)
        queue.next += 1
        queue.size_bytes += len(data)
        self._enforce_limits()

    def _enforce_limits(self) -> None:
        queue, limits = self._queue, self._limits
        # A bounded number per command, so that lowering a limit does not make one command remove the whole table.
        for _ in range(limits.removals_max):
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
