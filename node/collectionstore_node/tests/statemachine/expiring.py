"""States with records that expire, for tests: commands, and what queues and leases must be."""

from __future__ import annotations

from collections import Counter

from collectionstore_node.statemachine.apply import apply_batch
from collectionstore_node.statemachine.catalog import find_collection
from collectionstore_node.statemachine.commands import (
    Action,
    Command,
    DocumentRef,
    Expire,
    KeyRef,
    Outcome,
    Put,
    Ref,
    encode_batch,
)
from collectionstore_node.statemachine.expiry_queue import is_there, read_summary
from collectionstore_node.statemachine.header import read_header
from collectionstore_node.statemachine.keys import (
    ATTACHED,
    DOCUMENTS,
    DUE_LEASES,
    DUE_RECORDS,
    RAW,
    attached_prefix,
    bucket_prefix,
    documents_prefix,
    due_at,
    due_lease_at,
    due_record_key,
    prefix_end,
)
from collectionstore_node.statemachine.leases import decode_ref, read_lease, scan_leases
from collectionstore_node.statemachine.levels import CHANGES
from collectionstore_node.statemachine.stored import expiry_of
from collectionstore_node.statemachine.view import Overlay, View
from collectionstore_node.tests.statemachine.memory_view import MemoryView


def at(view: MemoryView, time_ms: int, *actions: Action, level: int = CHANGES) -> list[Outcome]:
    """Apply actions as one entry of that time, and return their outcomes as clients hear them."""
    overlay, answers = Overlay(view), dict[int, Outcome]()
    data = encode_batch(time_ms, [Command(one) for one in actions], level)
    outcomes = apply_batch(overlay, data, b"", answers)
    view.commit(overlay.writes)
    return [answers.get(position, outcome) for position, outcome in enumerate(outcomes)]


def value(key: str, data: bytes = b"v") -> Put:
    """Return the write of a raw value."""
    return Put(KeyRef("b", key), data)


def remove_all(view: MemoryView, time_ms: int) -> int:
    """Remove what has expired by then, and return in how many steps."""
    at(view, time_ms, Expire())
    steps = 1
    while is_there(view) is not None:
        at(view, time_ms, Expire())
        steps += 1
    return steps


def check(view: View) -> None:
    """Assert that queues, leases and what is counted of them are what the records say, and nothing else."""
    summary = read_summary(view)
    expiries = {
        key: expiry_of(record)
        for family in (DOCUMENTS, RAW)
        for key, record in view.scan(family, prefix_end(family))
        if expiry_of(record) != (0, 0)
    }
    due = {place: decode_ref(data) for place, data in view.scan(DUE_RECORDS, prefix_end(DUE_RECORDS))}
    wanted = {due_record_key(one.deadline_ms, key) for key, one in expiries.items() if one.deadline_ms}
    # What a dropped collection has left there goes when it is due.
    assert wanted == {place for place, ref in due.items() if key_of(view, ref) == due_at(place)[1]}
    assert wanted <= due.keys()
    assert summary.queued == len(due)
    assert all(place >= summary.records_from for place in due)
    attached = Counter[int]()
    for place, data in view.scan(ATTACHED, prefix_end(ATTACHED)):
        number = int.from_bytes(place[len(ATTACHED) : len(ATTACHED) + 8])
        key = place[len(ATTACHED) + 8 :]
        attached[number] += 1
        if key_of(view, decode_ref(data)) == key:
            assert expiries[key].lease == number
    for key, one in expiries.items():
        if one.lease:
            assert view.get(attached_prefix(one.lease) + key) is not None
            assert read_lease(view, one.lease) is not None
    leases = {one.id: one.lease for one in scan_leases(view)}
    places = [due_lease_at(place) for place, _ in view.scan(DUE_LEASES, prefix_end(DUE_LEASES))]
    queued = {number: deadline_ms for deadline_ms, number in places}
    assert len(queued) == len(places)
    assert queued == {number: lease.deadline_ms for number, lease in leases.items()}
    assert attached.keys() <= leases.keys()
    assert all(lease.attached == attached[number] for number, lease in leases.items())
    assert summary.leases == len(leases)
    assert all(place >= summary.leases_from for place, _ in view.scan(DUE_LEASES, prefix_end(DUE_LEASES)))
    time_ms = read_header(view).time_ms
    gone = [one for one in expiries.values() if _is_gone(view, one.deadline_ms, one.lease, time_ms)]
    there = is_there(view)
    assert not gone or there is not None
    if there is not None:
        hidden = [
            key
            for family in (DOCUMENTS, RAW)
            for key, record in view.scan(family, prefix_end(family))
            if not there(record)
        ]
        assert len(hidden) == len(gone)


def _is_gone(view: View, deadline_ms: int, lease: int, time_ms: int) -> bool:
    if lease:
        found = read_lease(view, lease)
        return found is None or found.deadline_ms <= time_ms
    return deadline_ms <= time_ms


def key_of(view: View, ref: Ref) -> bytes | None:
    """Return the storage key of a reference, None if its collection does not exist."""
    if isinstance(ref, DocumentRef):
        found = find_collection(view, ref.collection)
        return None if found is None else documents_prefix(found.id) + ref.id.encode()
    return bucket_prefix(ref.bucket) + ref.key.encode()
