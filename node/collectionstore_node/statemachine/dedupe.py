"""The idempotency table: what was answered to requests that carried a key, so that a retry changes nothing.

Every outcome is kept, failures too: a retry must hear what the first attempt heard, even when it would succeed by now.
Records leave oldest first, by age, number or size. An entry may outlive its age, since only a few are removed per
command: the work of a command must not depend on how long the store was idle.

The queue of ages is numbered without gaps, so its head is found by a point read; a scan per command would cost more
than the command. Time is the highest seen in any batch, so the order of the queue is the order of age.
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
    """When records leave. Replicas with different limits would part: a change belongs into a new command format."""

    keep_ms: int = 24 * 60 * 60 * 1000
    """Age from which a record may leave."""
    entries_max: int = 100_000
    """Never more records than this."""
    size_bytes_max: int = 256 * 1024 * 1024
    """Outcomes of transactions hold the values that they read; above this sum the oldest leave with every store."""
    removals_max: int = 2
    """Most records removed by age, and again by number or size, per command. Above 1, or a table never shrinks."""


LIMITS: Final = Limits()


class Record(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What is kept of a request."""

    fingerprint: bytes
    outcome: Outcome


_QUEUED = struct.Struct(">QI")  # time_ms, size_bytes of the record; the record's key follows
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Record)


class IdempotencyTable:
    """The table as one batch sees and changes it; its bounds are in `header`, which the caller reads and writes."""

    __slots__ = ("_header", "_limits", "_overlay", "_queue")

    def __init__(self, overlay: Overlay, header: Header, limits: Limits = LIMITS) -> None:
        self._overlay = overlay
        self._header = header
        self._queue = header.queue
        self._limits = limits

    def expire(self) -> None:
        """Remove the oldest records that are old enough to leave, a few at most."""
        queue = self._queue
        for _ in range(self._limits.removals_max):
            if queue.first == queue.next or self._header.time_ms - queue.oldest_ms < self._limits.keep_ms:
                return
            self._remove_oldest()

    def answer(self, idempotency: Idempotency, revision: int) -> Outcome | None:
        """Return what to tell a request that was seen before, or None for a new one.

        `revision` is that of the request now asking; it is told only when the key was used for something else.
        """
        data = self._overlay.get(idempotency_key(idempotency.key))
        if data is None:
            return None
        record = decode_own(_decoder, data, "an idempotency record")
        if record.fingerprint != idempotency.fingerprint:
            return Outcome(Code.IDEMPOTENCY_KEY_REUSED, revision)
        return msgspec.structs.replace(record.outcome, replayed=True)

    def store(self, idempotency: Idempotency, outcome: Outcome) -> None:
        """Keep `outcome` for a key that `answer` does not know; the oldest records make room."""
        queue, time_ms = self._queue, self._header.time_ms
        key = idempotency_key(idempotency.key)
        data = _encoder.encode(Record(idempotency.fingerprint, outcome))
        if queue.first == queue.next:
            queue.oldest_ms = time_ms
        self._overlay.put(key, data)
        self._overlay.put(queue_key(queue.next), _QUEUED.pack(time_ms, len(data)) + key)
        queue.next += 1
        queue.size_bytes += len(data)
        self._make_room()

    def _make_room(self) -> None:
        queue, limits = self._queue, self._limits
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
            raise InvariantViolated("the idempotency queue has a gap or a damaged entry")
        time_ms, size_bytes = _QUEUED.unpack_from(data)
        return time_ms, size_bytes, data[_QUEUED.size :]
