"""Indexes in step with documents: every write of documents passes `store`, which changes entries in the same batch.

A write that an index refuses changes nothing. What indexes cost is counted (`costs`): each reads the documents before
and after, and has values to look at and entries.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import orjson

from collectionstore_node.indexes.entries import (
    NO_ENTRIES,
    VALUES_MAX,
    Entries,
    TooManyEntries,
    document_id_in,
    stored_entry,
)
from collectionstore_node.statemachine.catalog import Catalog, OpenIndex
from collectionstore_node.statemachine.commands import Code, DocumentRef, Ref, RefusedBy
from collectionstore_node.statemachine.costs import INDEX_ENTRY_COST_BYTES, INDEX_VALUE_COST_BYTES
from collectionstore_node.statemachine.history import ChangeKind
from collectionstore_node.statemachine.index_catalog import Statistics
from collectionstore_node.statemachine.metering import admit
from collectionstore_node.statemachine.metering import count as count_usage
from collectionstore_node.statemachine.stored import EXPIRING, revisions_of, value_start
from collectionstore_node.statemachine.view import Overlay

_NOTHING: Final[dict[str, Any]] = {}


class Write(NamedTuple):
    """A write of one document or raw value."""

    ref: Ref
    key: bytes
    """Where it is stored."""
    previous: bytes | None
    """The record before the command; None if there is none."""
    record: bytes | None
    """The record to store; None to delete."""
    kind: ChangeKind | None = None
    """What the history says of it; None for INSERT, REPLACE or DELETE, as the records say."""


class Refused(NamedTuple):
    """Why an index or a quota refuses writes."""

    code: Code
    """UNIQUE_VIOLATION, INDEX_ENTRIES, TRANSACTION_TOO_LARGE, or QUOTA_EXCEEDED; ACCESS_DOCUMENT or ACCESS_FIELDS."""
    position: int
    """Of the write among those of the command."""
    by: RefusedBy


def store(overlay: Overlay, catalog: Catalog, writes: Sequence[Write], cost_max: int | None = None) -> Refused | None:
    """Store all of `writes`, of different targets, with the entries of their documents; or nothing, and say why.

    Whether values are unique is decided by what is there behind all of them. `cost_max` is where `Overlay.cost` may be
    behind the second write and those that follow.
    """
    # BEFORE indexes: what refuses a write there may be a document that the caller does not see.
    if catalog.restrictions is not None and (forbidden := catalog.restrictions.refusal(writes)) is not None:
        return Refused(*forbidden, RefusedBy("", ""))
    metered = catalog.metered
    if metered:
        exceeded = admit(catalog, writes)
        if exceeded is not None:
            return Refused(Code.QUOTA_EXCEEDED, exceeded.position, exceeded.by)
    # Most batches have met no collection with indexes: then this is all that indexes cost.
    if catalog.indexed:
        refused = _index(overlay, catalog, writes, cost_max)
        if refused is not None:
            return refused
    if metered:
        count_usage(catalog, writes)
    for ref, key, previous, record, _ in writes:
        if record is None:
            overlay.delete(key)
        else:
            overlay.put(key, record)
        if (previous is not None and previous[:1] == EXPIRING) or (record is not None and record[:1] == EXPIRING):
            catalog.deadlines.moved(ref, key, previous, record)
    changes = catalog.changes
    if changes is not None:
        revision = catalog.revision
        # Behind what the same command has changed before: it may have met records that have expired.
        position = changes[-1][1] + 1 if changes and changes[-1][0] == revision else 0
        for ref, _, previous, record, kind in writes:
            # A write that only moves the deadline keeps the revision of the record, and is no change.
            if record is None or revisions_of(record)[0] == revision:
                changes.append((revision, position, int(_kind(kind, previous, record)), ref, "", previous, record))
                position += 1
    return None


def live(overlay: Overlay, catalog: Catalog, ref: Ref, key: bytes, record: bytes) -> bytes | None:
    """Return a stored record, or None if it has expired: then it is removed now, whatever becomes of the command.

    So a command meets none that has expired, in an index neither. Nothing that a client can see changes by it. Nor does
    it meet one that its caller may neither read nor write.
    """
    if not lives(overlay, catalog, ref, key, record):
        return None
    restrictions = catalog.restrictions
    return record if restrictions is None or restrictions.sees(ref, record) else None


def lives(overlay: Overlay, catalog: Catalog, ref: Ref, key: bytes, record: bytes) -> bool:
    """Whether a stored record has not expired; one that has is removed, see `live`."""
    if not catalog.deadlines.has_expired(record):
        return True
    expire(overlay, catalog, ref, key, record)
    return False


def expire(overlay: Overlay, catalog: Catalog, ref: Ref, key: bytes, record: bytes) -> None:
    """Remove a record that has expired."""
    # It adds no entries, so no index refuses it.
    store(overlay, catalog, (Write(ref, key, record, None, ChangeKind.EXPIRE),))
    catalog.deadlines.count(expired=1)


def _kind(given: ChangeKind | None, previous: bytes | None, record: bytes | None) -> ChangeKind:
    if record is None:
        return ChangeKind.DELETE if given is None else given
    if previous is None:
        return ChangeKind.INSERT
    return ChangeKind.REPLACE if given is None else given


def _index(overlay: Overlay, catalog: Catalog, writes: Sequence[Write], cost_max: int | None) -> Refused | None:
    changes: list[_Change] = []
    for position, (ref, _, previous, record, _) in enumerate(writes):
        if not isinstance(ref, DocumentRef) or ref.collection not in catalog.indexed:
            continue
        before, after = document_of(previous), document_of(record)
        size = len(previous or b"") + len(record or b"")
        for one in catalog.indexed[ref.collection]:
            if not one.maintains(ref.id):
                continue
            if cost_max is not None and position and overlay.cost > cost_max:
                return Refused(Code.TRANSACTION_TOO_LARGE, position, RefusedBy(one.index.definition.name, ""))
            # For each: a large text is read, and hashed, for every index that it is in.
            overlay.cost += size
            try:
                new = NO_ENTRIES if after is None else one.enter(after)
            except TooManyEntries:
                overlay.cost += INDEX_VALUE_COST_BYTES * VALUES_MAX
                return Refused(Code.INDEX_ENTRIES, position, RefusedBy(one.index.definition.name, ""))
            old = NO_ENTRIES if before is None else one.enter(before)
            overlay.cost += INDEX_ENTRY_COST_BYTES * (len(old.keys) + len(new.keys))
            overlay.cost += INDEX_VALUE_COST_BYTES * (old.values + new.values)
            changes.append(_Change(position, ref.collection, one, ref.id.encode(), old, new, previous, record))
    staged: dict[bytes, bytes | None] = {}
    kept: dict[bytes, bytes] = {}
    # What is removed BEFORE what is added, for all writes: a transaction may exchange the values of two documents.
    for change in changes:
        for key, value in change.entries(change.old, change.previous):
            staged[key] = None
            kept[key] = value
    for change in changes:
        unique = change.opened.index.definition.unique
        for key, value in change.entries(change.new, change.record):
            if unique:
                holder = staged[key] if key in staged else overlay.get(key)
                if holder is not None and not holder_expired(overlay, catalog, change.collection, holder):
                    by = RefusedBy(change.opened.index.definition.name, document_id_in(holder))
                    return Refused(Code.UNIQUE_VIOLATION, change.position, by)
            staged[key] = value
    for key, staged_value in staged.items():
        if staged_value is None:
            overlay.delete(key)
        elif kept.get(key) != staged_value:
            overlay.put(key, staged_value)
    for change in changes:
        count(catalog, change.opened, change.old, change.new)
    return None


def holder_expired(overlay: Overlay, catalog: Catalog, collection: str, holder: bytes) -> bool:
    """Whether the document of an entry that is in the way of another one has expired: then both are removed now."""
    documents = catalog.documents_of(collection)
    if documents is None or not catalog.deadlines.active:
        return False
    document_id = document_id_in(holder)
    key = documents + document_id.encode()
    record = overlay.get(key)
    return record is not None and not lives(overlay, catalog, DocumentRef(collection, document_id), key, record)


class _Change(NamedTuple):
    """The entries of one document in one index, before and after."""

    position: int
    collection: str
    opened: OpenIndex
    id: bytes
    old: Entries
    new: Entries
    previous: bytes | None
    record: bytes | None

    def entries(self, entries: Entries, record: bytes | None) -> list[tuple[bytes, bytes]]:
        """Return keys and values of `entries`, which are those of `record`."""
        return [] if record is None else stored_entries(self.opened, self.id, entries, record)


def stored_entries(index: OpenIndex, document_id: bytes, entries: Entries, record: bytes) -> list[tuple[bytes, bytes]]:
    """Return keys and values of the entries of a document, whose record is `record`."""
    revision, unique = revisions_of(record)[0], index.index.definition.unique
    return [
        stored_entry(index.prefix, key, document_id, entries.shape, revision, unique=unique) for key in entries.keys
    ]


def count(catalog: Catalog, index: OpenIndex, old: Entries, new: Entries) -> None:
    """Count entries out and in."""
    count_in(index.statistics, old, new)
    catalog.counted(index)


def count_in(statistics: Statistics, old: Entries, new: Entries) -> None:
    """Count entries out of and into statistics."""
    statistics.entries += len(new.keys) - len(old.keys)
    statistics.documents += bool(new.keys) - bool(old.keys)
    statistics.multikey += new.multikey - old.multikey
    statistics.long += new.long - old.long
    statistics.key_bytes += sum(map(len, new.keys)) - sum(map(len, old.keys))


def document_of(record: bytes | None) -> dict[str, Any] | None:
    """Return the document in a stored record."""
    if record is None:
        return None
    try:
        document = orjson.loads(memoryview(record)[value_start(record) :])
    except orjson.JSONDecodeError:
        # Not from a client: a member forwarded what is no JSON. An exception would stop every replica, for ever; the
        # document has no fields to any of them.
        return _NOTHING
    return document if type(document) is dict else _NOTHING
