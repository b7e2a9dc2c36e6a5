"""Reads of the past: the state as it was at a revision, told from the state of now and the changes since.

What differs is collected into an `Undo`: of each document or value that was changed since, the record before its first
change. Entries of indexes and their statistics follow from the documents, so those are undone as well, for indexes as
they are defined now: whatever reads a `PastView`, by an index or without, reads one state of the past. An index that
cannot hold the past is left out: one that is unique now, over documents that were not.

Only the collections and the bucket of a `Scope` are undone; nothing else of a `PastView` may be read.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from collectionstore_node.errors import HistoryGone, UpgradePending
from collectionstore_node.indexes.entries import NO_ENTRIES, Entries, TooManyEntries
from collectionstore_node.statemachine.catalog import OpenIndex, find_collection
from collectionstore_node.statemachine.commands import DocumentRef, Ref
from collectionstore_node.statemachine.expiry_queue import past_summary
from collectionstore_node.statemachine.header import read_header
from collectionstore_node.statemachine.history import OMITTED, Change, ChangeKind, Entry, decode_entry, time_at
from collectionstore_node.statemachine.index_catalog import (
    Index,
    IndexState,
    encode_indexes,
    encode_statistics,
    read_indexes,
)
from collectionstore_node.statemachine.indexing import count_in, document_of, stored_entries
from collectionstore_node.statemachine.keys import (
    EXPIRY_SUMMARY_KEY,
    HISTORY,
    bucket_prefix,
    collection_key,
    documents_prefix,
    history_key,
    indexes_key,
    prefix_end,
    statistics_key,
    successor,
)
from collectionstore_node.statemachine.levels import CHANGES
from collectionstore_node.statemachine.view import View

STEP_BYTES: Final = 256 << 10
"""Of the history, between two pauses: about a millisecond."""
RECORD_BYTES: Final = 128
"""What a record counts beside its bytes."""
STEP_DOCUMENTS: Final = 32
"""Whose entries are made between two pauses."""
KEPT_BYTES: Final = 200
"""What it takes to keep a record, beside its bytes."""


class Scope(NamedTuple):
    """What is read of the past."""

    collections: frozenset[str] = frozenset()
    bucket: str | None = None
    ref: Ref | None = None
    """The only target, if it is one."""

    @staticmethod
    def of(ref: Ref) -> Scope:
        """Return the scope of a single target."""
        if isinstance(ref, DocumentRef):
            return Scope(frozenset((ref.collection,)), None, ref)
        return Scope(frozenset(), ref.bucket, ref)


class Undo:
    """What was different at a revision."""

    __slots__ = ("changed", "order", "revision", "time_ms", "values")

    def __init__(self, revision: int) -> None:
        self.revision = revision
        self.values: dict[bytes, bytes | None] = {}
        """By storage key: the value at that time, None for none."""
        self.order: list[bytes] = []
        """The keys, sorted, once everything is collected."""
        self.time_ms = 0
        """The replicated time at that revision: what had expired by then is left out."""
        self.changed = 0
        """Documents and values that were changed since."""


def collect(history: View, now: View, undo: Undo, scope: Scope, *, bytes_max: int) -> Generator[None, None, None]:
    """Fill `undo` with what was different at its revision, in steps.

    `history` and `now` are views of one state. Raises `HistoryGone` if the past cannot be told any more, or differs by
    more than `bytes_max`, and `UpgradePending` before there is a history.
    """
    # Nothing is undone in it yet: only its point reads are wanted, which tell nothing that was written since.
    now = PastView(Undo(undo.revision), now)
    header = read_header(now)
    if header.level < CHANGES or header.history is None:
        raise UpgradePending(
            f"the cluster is being upgraded: its feature level is {header.level}, and reads of the past need {CHANGES}"
        )
    kept = header.history.kept_after
    if undo.revision < kept:
        raise HistoryGone(
            f"what was changed since revision {undo.revision} is not kept any more; ask for {kept} or a later one",
            oldest=kept,
        )
    undo.time_ms = time_at(now, undo.revision)
    collector = _Collector(now, undo, scope, header.revision, bytes_max)
    read = 0
    for _, data in history.scan(history_key(undo.revision + 1), prefix_end(HISTORY)):
        if collector.concerns(data):
            collector.take(decode_entry(data))
            if collector.done:
                break
            read += len(data)
        # Of records that are passed over a part, and something for each: many have no changes.
        read += RECORD_BYTES + (len(data) >> 4)
        if read >= STEP_BYTES:
            read = 0
            yield
    yield
    yield from collector.finish()
    undo.order = sorted(undo.values)


class _Collector:
    """Takes the changes since a revision, and keeps the first record of each key, and the last one where it counts."""

    def __init__(self, now: View, undo: Undo, scope: Scope, revision: int, bytes_max: int) -> None:
        self._now = now
        self._undo = undo
        self._scope = scope
        self._revision = revision
        self._bytes_max = bytes_max
        self._bytes = 0
        self._created: set[str] = set()
        self._collections = {name: find_collection(now, name) for name in scope.collections}
        self._documents = {
            name: documents_prefix(found.id) for name, found in self._collections.items() if found is not None
        }
        self._bucket = b"" if scope.bucket is None else bucket_prefix(scope.bucket)
        # Of documents with entries: ID, and record of now; OMITTED for a large one.
        self._now_of: dict[bytes, tuple[str, bytes | None]] = {}
        texts = [name.encode() for name in scope.collections]
        self._texts = texts if scope.bucket is None else [*texts, scope.bucket.encode()]
        self.done = False
        """Whether the rest of the history makes no difference."""

    def concerns(self, data: bytes) -> bool:
        """Whether the record of an entry may be of the scope: names are in it as they are."""
        return any(text in data for text in self._texts)

    def take(self, entry: Entry) -> None:
        """Take the changes of an entry. Raises `HistoryGone`."""
        for change in entry.changes:
            if change.revision > self._undo.revision:
                self._take(change)

    def _take(self, change: Change) -> None:
        ref, scope = change.ref, self._scope
        if ref is None:
            if change.collection in scope.collections:
                self._of_collection(change)
            return
        if isinstance(ref, DocumentRef):
            prefix = self._documents.get(ref.collection)
            # Without one it was dropped since, which a later change says.
            if prefix is None or ref.collection in self._created or not self._wanted(ref):
                return
            found = self._collections[ref.collection]
            self._keep(prefix + ref.id.encode(), change, ref, indexed=found is not None and found.indexed)
        elif ref.bucket == scope.bucket and self._wanted(ref):
            self._keep(self._bucket + ref.key.encode(), change, ref, indexed=False)

    def _wanted(self, ref: Ref) -> bool:
        return self._scope.ref is None or ref == self._scope.ref

    def _of_collection(self, change: Change) -> None:
        name = change.collection
        if change.kind is ChangeKind.DROP_COLLECTION and name not in self._created:
            raise HistoryGone(
                f"the collection {name!r} was dropped at revision {change.revision}, and what was in it is not kept",
                oldest=change.revision,
            )
        if change.kind is ChangeKind.CREATE_COLLECTION:
            self._created.add(name)
            self._undo.values[collection_key(name)] = None
            self.done = self._scope.ref is not None

    def _keep(self, key: bytes, change: Change, ref: Ref, *, indexed: bool) -> None:
        values = self._undo.values
        if key not in values:
            values[key] = change.before
            self._count(len(change.before or b""))
            self._undo.changed += 1
            if self._scope.ref is not None:
                self.done = True
                return
        if indexed and isinstance(ref, DocumentRef):
            known = self._now_of.get(key)
            self._count(len(change.after or b"") - (0 if known is None else len(known[1] or b"") + KEPT_BYTES))
            self._now_of[key] = ref.id, change.after

    def _count(self, size: int) -> None:
        self._bytes += size + KEPT_BYTES
        if self._bytes > self._bytes_max:
            raise HistoryGone(
                f"more than {self._bytes_max >> 20} MiB of what is read were changed since revision "
                f"{self._undo.revision}; ask for a later one",
                oldest=self._revision,
            )

    def finish(self) -> Generator[None, None, None]:
        """Undo what follows from the documents: entries of indexes, and what is counted of them."""
        if not self._now_of:
            return
        for name, found in self._collections.items():
            if found is None or not found.indexed or name in self._created:
                continue
            left_out: set[int] = set()
            indexes = read_indexes(self._now, found.id)
            for index in indexes:
                if index.state is IndexState.READY and not (yield from self._undo_index(found.id, index)):
                    left_out.add(index.id)
            if left_out:
                kept = tuple(one for one in indexes if one.id not in left_out)
                self._undo.values[indexes_key(found.id)] = encode_indexes(kept)

    def _undo_index(self, collection: int, index: Index) -> Generator[None, None, bool]:
        """Undo the entries of an index; return False if it cannot hold those of the past."""
        opened = OpenIndex(self._now, collection, index)
        prefix, values = documents_prefix(collection), self._undo.values
        hidden: dict[bytes, bytes | None] = {}
        shown: dict[bytes, bytes] = {}
        for number, (key, (document_id, record)) in enumerate(self._now_of.items(), 1):
            if not key.startswith(prefix):
                continue
            name, before = document_id.encode(), values[key]
            if record == OMITTED:
                record = self._now.get(key)  # what the last change of a document has left is there now
            try:
                new, old = _entries(opened, record), _entries(opened, before)
            except TooManyEntries:
                return False
            if record is not None:
                hidden.update(dict.fromkeys(one for one, _ in stored_entries(opened, name, new, record)))
            if before is not None:
                for entry, value in stored_entries(opened, name, old, before):
                    if entry in shown:
                        return False  # two documents had the values
                    shown[entry] = value
                    self._count(len(entry) + len(value))
            count_in(opened.statistics, new, old)
            if number % STEP_DOCUMENTS == 0:
                yield
        if index.definition.unique and any(entry not in hidden and self._now.get(entry) is not None for entry in shown):
            return False
        values.update(hidden)
        values.update(shown)
        values[statistics_key(collection, index.id)] = encode_statistics(opened.statistics)
        return True


def _entries(opened: OpenIndex, record: bytes | None) -> Entries:
    document = document_of(record)
    return NO_ENTRIES if document is None else opened.enter(document)


class PastView(View):
    """The state as an `Undo` tells it, over the state of now.

    `now` is a fixed view, whose reads end the scan before them; each scan but the last takes one of `spare`, views of
    the same state, so that as many go on at a time.
    """

    __slots__ = ("_now", "_spare", "_undo")

    def __init__(self, undo: Undo, now: View, spare: Sequence[View] = ()) -> None:
        self._undo = undo
        self._now = now
        self._spare = list(spare)

    def get(self, key: bytes) -> bytes | None:
        """Return the value that `key` had, or None."""
        values = self._undo.values
        if key == EXPIRY_SUMMARY_KEY:
            # Nothing to leave out where nothing ever had a deadline: then entries tell of their documents.
            return None if _get(self._now, key) is None else past_summary(self._undo.time_ms)
        return values[key] if key in values else _get(self._now, key)

    def scan(self, lo: bytes, hi: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Return the pairs with `lo <= key < hi`, in key order."""
        return self.scan_ranges(((lo, hi),))

    def scan_ranges(self, ranges: Sequence[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
        """Return the pairs in each of `ranges`, one after the other."""
        base = self._base()
        return (pair for lo, hi in ranges for pair in self._merged(base, lo, hi))

    def pick(self, keys: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
        """Return the pairs of those of `keys` that existed."""
        base, values = self._base(), self._undo.values

        def pairs() -> Iterator[tuple[bytes, bytes]]:
            for key in keys:
                value = values[key] if key in values else _get(base, key)
                if value is not None:
                    yield key, value

        return pairs()

    def _base(self) -> View:
        return self._spare.pop() if self._spare else self._now

    def _merged(self, base: View, lo: bytes, hi: bytes) -> Iterator[tuple[bytes, bytes]]:
        order, values = self._undo.order, self._undo.values
        at, end = bisect_left(order, lo), bisect_left(order, hi)
        for key, value in base.scan(lo, hi):
            while at < end and order[at] < key:
                past = values[order[at]]
                if past is not None:
                    yield order[at], past
                at += 1
            if at < end and order[at] == key:
                continue  # it comes before the next key, or at the end
            yield key, value
        while at < end:
            past = values[order[at]]
            if past is not None:
                yield order[at], past
            at += 1


def _get(view: View, key: bytes) -> bytes | None:
    # By a scan: a point read of a fixed view may tell what was written since, behind too many deleted keys.
    return next((value for _, value in view.scan(key, successor(key))), None)
