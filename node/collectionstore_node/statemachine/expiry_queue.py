"""What expires when: the queues of records and of leases, in the order of their deadlines, and how they are read.

A deadline is a moment of the replicated time (`header.advance`), never of a clock of a member or of the day. A record
is there as long as the replicated time of the state is before its deadline, or before that of the lease that it is
attached to. So it is there or not for every member that has applied the same entries, and never comes back, because
that time never goes back. That a deadline has passed is known once an entry of a later time is applied; the leader
proposes one at once (`service.expirer`).

A queue begins where its summary says, so that finding its head does not pass what was removed before it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

import msgspec

from collectionstore_node.errors import ManyDeleted
from collectionstore_node.statemachine.codec import decode_own
from collectionstore_node.statemachine.commands import Code, Ref
from collectionstore_node.statemachine.costs import LEASE_RECORDS_MAX, TTL_MAX_MS, TTL_MIN_MS
from collectionstore_node.statemachine.header import Header, read_header
from collectionstore_node.statemachine.keys import (
    DUE_LEASES,
    DUE_RECORDS,
    EXPIRY_SUMMARY_KEY,
    attached_prefix,
    due_at,
    due_lease_at,
    due_lease_key,
    due_record_key,
    lease_key,
    prefix_end,
)
from collectionstore_node.statemachine.leases import Lease, encode_lease, encode_ref, read_lease
from collectionstore_node.statemachine.levels import CHANGES
from collectionstore_node.statemachine.stored import EXPIRING, NEVER, Expiry, expiry_of
from collectionstore_node.statemachine.view import Overlay, View


class Summary(msgspec.Struct, array_like=True):
    """What is counted of the queues. Add fields at the end, with a default."""

    records_from: bytes = DUE_RECORDS
    leases_from: bytes = DUE_LEASES
    """No place of the queue is before it."""
    queued: int = 0
    """Records in the queue: those that have a deadline of their own."""
    leases: int = 0
    """Leases, those that have ended and are not removed yet among them."""
    expired: int = 0
    """Records that were removed because they had expired, since ever."""
    past_ms: int | None = None
    """Never stored: a view of the past has it, and no queue. The replicated time of that state, as far as is known."""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Summary)
_SUMMARY: Final = "the summary of what expires"


def read_summary(view: View) -> Summary:
    """Return what is counted; as of nothing before the first record that expires."""
    data = view.get(EXPIRY_SUMMARY_KEY)
    return Summary() if data is None else decode_own(_decoder, data, _SUMMARY)


def past_summary(time_ms: int) -> bytes:
    """Return what stands for the summary in a view of the past."""
    return _encoder.encode(Summary(past_ms=time_ms))


def next_deadline_ms(view: View) -> int | None:
    """Return the deadline of what expires next, or has expired and is not removed yet; None if nothing does.

    Raises `ManyDeleted`, as a scan does.
    """
    summary = read_summary(view)
    found = [due_at(place)[0] for place, _ in _first(view, summary.records_from, DUE_RECORDS)]
    found += [due_lease_at(place)[0] for place, _ in _first(view, summary.leases_from, DUE_LEASES)]
    return min(found, default=None)


def _first(view: View, lo: bytes, queue: bytes) -> list[tuple[bytes, bytes]]:
    for pair in view.scan(lo, prefix_end(queue)):
        return [pair]
    return []


def _is_due(view: View, lo: bytes, hi: bytes) -> bool:
    """Whether there is a place of a queue in `[lo, hi)`."""
    # Nearly always the queue begins behind what can be due: without a scan, which would pass what was deleted there.
    return lo < hi and any(True for _ in view.scan(lo, hi))


def _records_due(view: View, summary: Summary, time_ms: int) -> bool:
    try:
        return _is_due(view, summary.records_from, due_record_key(time_ms + 1, b""))
    except ManyDeleted:
        # Of records that are renewed all the time. Each record tells by itself whether it has expired.
        return True


def is_there(view: View) -> Callable[[bytes], bool] | None:
    """Return what tells whether a record of this state has not expired; None if none has: nearly always.

    Of the state as it is at the call, for scans that go on later. Raises `ManyDeleted`.
    """
    data = view.get(EXPIRY_SUMMARY_KEY)
    if data is None:
        return None  # nothing has ever had a deadline
    summary, time_ms = decode_own(_decoder, data, _SUMMARY), read_header(view).time_ms
    if summary.past_ms is not None:
        return partial(_was_there, summary.past_ms)
    due = _records_due(view, summary, time_ms)
    lo, hi = summary.leases_from, due_lease_key(time_ms + 1, 0)
    # All of them, as they are now: a lease may be removed while a scan goes on that has its records.
    ended = frozenset(due_lease_at(place)[1] for place, _ in view.scan(lo, hi)) if lo < hi else frozenset()
    if not due and not ended:
        return None

    def there(record: bytes) -> bool:
        if record[:1] != EXPIRING:
            return True
        deadline_ms, lease = expiry_of(record)
        return lease not in ended if lease else deadline_ms > time_ms

    return there


def _was_there(time_ms: int, record: bytes) -> bool:
    if record[:1] != EXPIRING:
        return True
    deadline_ms, lease = expiry_of(record)
    # When a lease ended is not kept: what was attached was there until it was removed.
    return lease != 0 or deadline_ms > time_ms


class Left(NamedTuple):
    """What is left of the life of a record."""

    there: bool
    milliseconds: int | None = None
    """In the time of the state; None if it is not known."""


def left_of(view: View, record: bytes) -> Left:
    """Return how long a record that expires is still there."""
    deadline_ms, lease = expiry_of(record)
    past_ms = read_summary(view).past_ms
    if lease:
        if past_ms is not None:
            return Left(there=True)
        found = read_lease(view, lease)
        deadline_ms = 0 if found is None else found.deadline_ms
    left = deadline_ms - (read_header(view).time_ms if past_ms is None else past_ms)
    return Left(there=left > 0, milliseconds=left)


class Deadlines:
    """What expires, as one batch reads and writes it; `finish` at the end of it."""

    __slots__ = ("_changed", "_overlay", "_summary", "active", "time_ms")

    def __init__(self, overlay: Overlay) -> None:
        self._overlay = overlay
        self._summary: Summary | None = None
        self._changed = False
        self.time_ms = 0
        """The replicated time of the entry."""
        self.active = False
        """Whether anything can expire: from level `CHANGES` on."""

    def open(self, header: Header) -> None:
        """Take time and level of an entry."""
        self.time_ms, self.active = header.time_ms, header.level >= CHANGES

    @property
    def summary(self) -> Summary:
        """What is counted; call `count` when it is changed."""
        if self._summary is None:
            self._summary = read_summary(self._overlay)
        return self._summary

    def count(self, *, queued: int = 0, leases: int = 0, expired: int = 0) -> None:
        """Add to what is counted."""
        summary = self.summary
        summary.queued += queued
        summary.leases += leases
        summary.expired += expired
        self._changed = True

    def begin_at(self, *, records: bytes, leases: bytes) -> None:
        """Note where the queues begin now."""
        summary = self.summary
        if (summary.records_from, summary.leases_from) != (records, leases):
            summary.records_from, summary.leases_from = records, leases
            self._changed = True

    def finish(self) -> None:
        """Store what was counted."""
        if self._changed:
            self._overlay.put(EXPIRY_SUMMARY_KEY, _encoder.encode(self.summary))

    @property
    def overdue(self) -> bool:
        """Whether something has expired that is not removed yet, so that the history does not tell of it."""
        if not self.active:
            return False
        # As counted so far: a command of the same entry may have ended a lease.
        overlay, summary, time_ms = self._overlay, self.summary, self.time_ms
        return _is_due(overlay, summary.records_from, due_record_key(time_ms + 1, b"")) or _is_due(
            overlay, summary.leases_from, due_lease_key(time_ms + 1, 0)
        )

    def has_expired(self, record: bytes) -> bool:
        """Whether a record is gone."""
        if record[:1] != EXPIRING:
            return False
        deadline_ms, lease = expiry_of(record)
        return self.lease(lease) is None if lease else deadline_ms <= self.time_ms

    def lease(self, lease: int) -> Lease | None:
        """Return a lease that has not ended, None if there is none of this ID."""
        if not 0 < lease < 1 << 63:
            return None
        found = read_lease(self._overlay, lease)
        return None if found is None or found.deadline_ms <= self.time_ms else found

    def expiry(self, ttl_ms: int, lease: int, previous: bytes | None, *, attached: int = 0) -> Expiry | Code:
        """Return until when a record is there that is written now, or why it cannot be.

        `previous` is the record before it; one that is attached to the lease takes no other place. `attached` are those
        that the same command attaches before it.
        """
        if lease and not ttl_ms:
            found = self.lease(lease)
            if found is None:
                return Code.LEASE_NOT_FOUND
            stays = previous is not None and expiry_of(previous).lease == lease
            full = not stays and found.attached + attached >= LEASE_RECORDS_MAX
            return Code.LEASE_FULL if full else Expiry(lease=lease)
        if lease or (ttl_ms and not TTL_MIN_MS <= ttl_ms <= TTL_MAX_MS):
            return Code.INVALID_EXPIRY
        return Expiry(self.deadline_ms(ttl_ms)) if ttl_ms else NEVER

    def deadline_ms(self, ttl_ms: int) -> int:
        """Return the moment from which on something is gone that lives so long."""
        # One more: both times are cut to milliseconds, and it must not be gone early.
        return self.time_ms + ttl_ms + 1

    def moved(self, ref: Ref, key: bytes, previous: bytes | None, record: bytes | None) -> None:
        """Keep queue and leases in step with a write of `key`."""
        old = NEVER if previous is None else expiry_of(previous)
        new = NEVER if record is None else expiry_of(record)
        if old == new:
            return
        if old.deadline_ms:
            self._overlay.delete(due_record_key(old.deadline_ms, key))
            self.count(queued=-1)
        if old.lease:
            self.detach(old.lease, key)
        if new.deadline_ms:
            place = due_record_key(new.deadline_ms, key)
            self._overlay.put(place, encode_ref(ref))
            self.count(queued=1)
            self.summary.records_from = min(self.summary.records_from, place)
        if new.lease:
            self._overlay.put(attached_prefix(new.lease) + key, encode_ref(ref))
            self._attached(new.lease, 1)

    def detach(self, lease: int, key: bytes) -> None:
        """Take a record off a lease."""
        self._overlay.delete(attached_prefix(lease) + key)
        self._attached(lease, -1)

    def place_lease(self, lease: int, before: Lease | None, after: Lease | None) -> None:
        """Store a lease and its place in the queue, or remove both."""
        overlay = self._overlay
        if before is not None:
            overlay.delete(due_lease_key(before.deadline_ms, lease))
        if after is None:
            overlay.delete(lease_key(lease))
        else:
            place = due_lease_key(after.deadline_ms, lease)
            overlay.put(place, b"")
            overlay.put(lease_key(lease), encode_lease(after))
            if place < self.summary.leases_from:
                self.summary.leases_from = place
                self._changed = True
        if before is None or after is None:
            self.count(leases=1 if before is None else -1)

    def _attached(self, lease: int, change: int) -> None:
        found = read_lease(self._overlay, lease)
        if found is not None:
            changed = msgspec.structs.replace(found, attached=max(0, found.attached + change))
            self._overlay.put(lease_key(lease), encode_lease(changed))
