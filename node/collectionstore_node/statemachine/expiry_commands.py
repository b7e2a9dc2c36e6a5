"""Renewing what expires, leases, and removing what has expired.

What has expired is gone for all commands and reads at once (`expiry_queue`); removing it is a matter of space. The
leader proposes `Expire`, one after the other, each of a bounded cost, so that ten thousand records that expire together
are no pause for writes. A command that meets one before that removes it by itself (`indexing.live`).
"""

from __future__ import annotations

from msgspec.structs import replace

from collectionstore_node.statemachine.catalog import Catalog
from collectionstore_node.statemachine.commands import (
    Code,
    DocumentRef,
    Expire,
    GrantLease,
    Item,
    KeepLease,
    Outcome,
    Ref,
    RevokeAttached,
    RevokeLease,
    Touch,
)
from collectionstore_node.statemachine.costs import (
    EXPIRE_COST,
    EXPIRE_ITEMS,
    LEASES_MAX,
    READ_COST_BYTES,
    TTL_MAX_MS,
    TTL_MIN_MS,
)
from collectionstore_node.statemachine.indexing import Write, expire, live
from collectionstore_node.statemachine.keys import (
    DUE_LEASES,
    DUE_RECORDS,
    due_at,
    due_lease_at,
    due_lease_key,
    due_record_key,
    prefix_end,
)
from collectionstore_node.statemachine.leases import Lease, decode_ref, scan_attached
from collectionstore_node.statemachine.stored import expiry_of, revisions_of, with_expiry
from collectionstore_node.statemachine.view import Overlay
from collectionstore_node.statemachine.writing import allows


def touch(overlay: Overlay, catalog: Catalog, command: Touch, revision: int) -> Outcome:
    """Change until when a record is there. No index changes, as its entries hold values and the revision."""
    key = catalog.key(command.ref)
    if key is None:
        return Outcome(Code.COLLECTION_NOT_FOUND, revision)
    record = overlay.get(key)
    if record is not None:
        record = live(overlay, catalog, command.ref, key, record)
    current = 0 if record is None else revisions_of(record)[0]
    if not allows(command.precondition, current):
        return Outcome(Code.PRECONDITION_FAILED, revision, current_revision=current)
    if record is None:
        return Outcome(Code.NOT_FOUND, revision)
    expiry = catalog.deadlines.expiry(command.ttl_ms, command.lease, record)
    if isinstance(expiry, Code):
        return Outcome(expiry, revision, current_revision=current)
    renewed = with_expiry(record, expiry)
    restrictions = catalog.restrictions
    if restrictions is not None:
        # A deadline ends the document: who may only read it must not set one.
        refused = restrictions.refusal((Write(command.ref, key, record, renewed),))
        if refused is not None:
            return Outcome(refused[0], revision, current_revision=current)
    overlay.put(key, renewed)
    catalog.deadlines.moved(command.ref, key, record, renewed)
    return Outcome(Code.OK, revision, current_revision=current)


def grant_lease(catalog: Catalog, grant: GrantLease, revision: int) -> Outcome:
    """Grant a lease, whose ID is `revision`."""
    deadlines = catalog.deadlines
    if not TTL_MIN_MS <= grant.ttl_ms <= TTL_MAX_MS:
        return Outcome(Code.INVALID_EXPIRY, revision)
    if deadlines.summary.leases >= LEASES_MAX:
        return Outcome(Code.TOO_MANY_LEASES, revision)
    deadlines.place_lease(revision, None, Lease(grant.ttl_ms, deadlines.deadline_ms(grant.ttl_ms)))
    return Outcome(Code.OK, revision, created=True)


def keep_lease(catalog: Catalog, keep: KeepLease, revision: int) -> Outcome:
    """Move the deadline of a lease; what is attached moves with it. Its item holds the ttl."""
    deadlines = catalog.deadlines
    found = deadlines.lease(keep.lease)
    if found is None:
        return Outcome(Code.LEASE_NOT_FOUND, revision)
    deadlines.place_lease(keep.lease, found, replace(found, deadline_ms=deadlines.deadline_ms(found.ttl_ms)))
    return Outcome(Code.OK, revision, items=(Item(found.ttl_ms),))


def revoke_lease(catalog: Catalog, revoke: RevokeLease, revision: int) -> Outcome:
    """End a lease: from here on all that is attached is gone, and removed by steps of `Expire`."""
    deadlines = catalog.deadlines
    found = deadlines.lease(revoke.lease)
    if found is None:
        return Outcome(Code.LEASE_NOT_FOUND, revision)
    deadlines.place_lease(revoke.lease, found, replace(found, deadline_ms=deadlines.time_ms))
    return Outcome(Code.OK, revision)


def revoke_attached(overlay: Overlay, catalog: Catalog, revoke: RevokeAttached, revision: int) -> Outcome:
    """End a lease if its caller may write all that is attached, which goes with it."""
    collections, buckets = frozenset(revoke.collections), frozenset(revoke.buckets)
    for _, ref in scan_attached(overlay, revoke.lease):
        overlay.cost += READ_COST_BYTES
        if not (ref.collection in collections if isinstance(ref, DocumentRef) else ref.bucket in buckets):
            return Outcome(Code.ACCESS_DOCUMENT, revision)
    return revoke_lease(catalog, RevokeLease(revoke.lease), revision)


def remove_expired(overlay: Overlay, catalog: Catalog, command: Expire, revision: int) -> Outcome:
    """Remove what has expired, up to the bounds of a step in `costs`."""
    del command
    step = _Step(overlay, catalog)
    leases = _remove_leases(step)
    records = _remove_records(step)
    catalog.deadlines.begin_at(records=records, leases=leases)
    return Outcome(Code.OK, revision)


class _Step:
    """What one step has removed."""

    __slots__ = ("_began", "_count", "catalog", "deadlines", "overlay")

    def __init__(self, overlay: Overlay, catalog: Catalog) -> None:
        self.overlay = overlay
        self.catalog = catalog
        self.deadlines = catalog.deadlines
        self._began = overlay.cost
        self._count = 0

    @property
    def full(self) -> bool:
        """Whether the step ends here."""
        return self._count >= EXPIRE_ITEMS or self.overlay.cost - self._began >= EXPIRE_COST

    def passed(self) -> None:
        """Count a place of a queue that is looked at."""
        self._count += 1
        self.overlay.cost += READ_COST_BYTES

    def record(self, ref: Ref, key: bytes) -> bytes | None:
        """Return the record that is stored under `key`, None if that is not where `ref` is."""
        # A collection that was dropped left its places in the queue, and another one may have its name.
        return self.overlay.get(key) if self.catalog.key(ref) == key else None


def _remove_records(step: _Step) -> bytes:
    """Remove records whose deadline has passed, and return where the queue begins then."""
    overlay, deadlines = step.overlay, step.deadlines
    for place, data in overlay.scan(deadlines.summary.records_from, prefix_end(DUE_RECORDS)):
        deadline_ms, key = due_at(place)
        if deadline_ms > deadlines.time_ms or step.full:
            return place
        step.passed()
        ref = decode_ref(data)
        record = step.record(ref, key)
        if record is not None and expiry_of(record).deadline_ms == deadline_ms:
            expire(overlay, step.catalog, ref, key, record)
        else:
            overlay.delete(place)
            deadlines.count(queued=-1)
    return due_record_key(deadlines.time_ms, b"")


def _remove_leases(step: _Step) -> bytes:
    """Do the same for leases, each behind all that is attached to it."""
    deadlines = step.deadlines
    for place, _ in step.overlay.scan(deadlines.summary.leases_from, prefix_end(DUE_LEASES)):
        deadline_ms, lease = due_lease_at(place)
        if deadline_ms > deadlines.time_ms or step.full:
            return place
        step.passed()
        if not _remove_attached(step, lease):
            return place
        deadlines.place_lease(lease, Lease(0, deadline_ms), None)
    return due_lease_key(deadlines.time_ms, 0)


def _remove_attached(step: _Step, lease: int) -> bool:
    """Remove records of a lease that has ended, and return whether that are all of them."""
    for key, ref in scan_attached(step.overlay, lease):
        if step.full:
            return False
        step.passed()
        record = step.record(ref, key)
        if record is not None and expiry_of(record).lease == lease:
            expire(step.overlay, step.catalog, ref, key, record)
        else:
            step.deadlines.detach(lease, key)
    return True
