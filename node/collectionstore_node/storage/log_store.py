"""The Raft log and the hard state in RocksDB.

`append` runs on the event loop and returns when the entries are with the operating system; `sync` runs in one
executor thread and returns when everything appended before it began is durable and in the tail marker. Only then may
anything that rests on it be sent.

Invariants:
- every entry's chain value is checked against its predecessor's when it is read from disk, and for the whole log
  when it is opened;
- the tail marker is at or behind the durable log at every instant (see `tail_marker`);
- what is applied, committed or compacted is never replaced.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Final

import msgspec
from rocksdict import WriteBatch

from collectionstore_node.errors import InvariantViolated
from collectionstore_node.raft.log_reader import Compacted, LogReader, Unavailable
from collectionstore_node.raft.messages import (
    NO_NODE,
    Entry,
    HardState,
    Index,
    SnapshotMetadata,
    Term,
    decode_hard_state,
    decode_metadata,
    encode,
)
from collectionstore_node.storage.corruption import Corrupted
from collectionstore_node.storage.failstop import FailStop
from collectionstore_node.storage.log_cache import LogCache
from collectionstore_node.storage.rocksdb.rocks import LOG_FAMILY, NODE_FAMILY, Rocks
from collectionstore_node.storage.state_store import StateStore
from collectionstore_node.storage.stored_entries import FIRST_KEY, LAST_KEY, StoredEntries, entry_key
from collectionstore_node.storage.tail_marker import TailMarker, TailRecord

_HARD_STATE: Final = b"hard_state"
_SNAPSHOT: Final = b"snapshot"


class LogStore(LogReader):
    """The stored log. Reads and `append` belong to the event loop; other threads see a consistent log too."""

    def __init__(
        self, rocks: Rocks, tail_marker: TailMarker, state: StateStore, failstop: FailStop, cache_bytes: int
    ) -> None:
        """Read and verify the stored log, changing nothing; `sync` before anything rests on it.

        Raises `Corrupted` when it is damaged or behind its tail_marker.
        """
        self._rocks = rocks
        self._tail_marker = tail_marker
        self._state = state
        self._failstop = failstop
        self._node = rocks.family(NODE_FAMILY)
        self._stored = StoredEntries(rocks.family(LOG_FAMILY), failstop)
        self._lock = threading.Lock()
        """Held for changes of the log and for reads; never through an fsync, but for a truncation's."""
        self._syncing = threading.Lock()
        self.reclaimable_bytes = 0
        """Approximate bytes that were compacted away and still lie on the disk; those before a restart not counted."""
        try:
            hard_state = self._node.get(_HARD_STATE)
            snapshot = self._node.get(_SNAPSHOT)
            self._hard_state = HardState() if hard_state is None else decode_hard_state(hard_state)
            self._cache = LogCache(SnapshotMetadata() if snapshot is None else decode_metadata(snapshot), cache_bytes)
            for entry in self._stored.read_all(self._cache.first, self._cache.snapshot.chain):
                self._cache.append((entry,))
        except msgspec.DecodeError as error:
            raise Corrupted(f"A record of the log cannot be read ({error}).") from error
        self._check_against_state()
        self._check_against_tail_marker()
        self._durable_applied = state.applied.index
        self._durable = (self._record(), tail_marker.epoch)

    # Reading

    def first_index(self) -> Index:
        """Return `snapshot().index + 1`."""
        with self._lock:
            return self._cache.first

    def last_index(self) -> Index:
        """Return the last stored index, durable or not."""
        with self._lock:
            return self._cache.last

    def snapshot(self) -> SnapshotMetadata:
        """Return the metadata of the compacted prefix."""
        with self._lock:
            return self._cache.snapshot

    def hard_state(self) -> HardState:
        """Return the stored hard state; its commit covers at least what is applied."""
        return self._hard_state

    @property
    def size_bytes(self) -> int:
        """Approximate bytes of the entries kept."""
        return self._cache.size_bytes

    def term(self, index: Index) -> Term:
        """Return the term at `index` in `[first_index - 1, last_index]`. Raises `Compacted` or `Unavailable`."""
        self._failstop.check()
        with self._lock:
            return self._cache.term(index)

    def chain(self, index: Index) -> bytes:
        """Return the chain value at `index` in `[first_index - 1, last_index]`. Raises as `term`."""
        self._failstop.check()
        with self._lock:
            return self._chain(index)

    def entries(self, lo: Index, hi: Index, bytes_max: int) -> tuple[Entry, ...]:
        """Return entries `[lo, hi)`, cut before `bytes_max` of data is passed but never empty when `lo < hi`.

        Raises `Compacted`, `Unavailable`, or `StorageFailed` when the disk fails or gives something else back.
        """
        self._failstop.check()
        if lo >= hi:
            return ()
        with self._lock:
            if lo < self._cache.first:
                raise Compacted
            if hi > self._cache.last + 1:
                raise Unavailable
            found: list[Entry] = []
            cached_first = self._cache.cached_first
            if lo < cached_first:
                uncached_end = min(hi, cached_first)
                found = self._read(lo, uncached_end, bytes_max)
                if found[-1].index + 1 < uncached_end or uncached_end == hi:
                    return tuple(found)
                lo = cached_first
            left = bytes_max - sum(len(entry.data) for entry in found)
            for entry in self._cache.cached_range(lo, hi):
                left -= len(entry.data)
                if left < 0 and found:
                    break
                found.append(entry)
            return tuple(found)

    # Writing

    def append(self, entries: Sequence[Entry], hard_state: HardState | None) -> None:
        """Write `entries` and `hard_state` in one batch, without a sync.

        When the first index is not behind the last stored one, the stored suffix from there on is replaced; only
        then does this wait for the disk, to lower the tail_marker. Raises `InvariantViolated` for what Raft excludes.
        """
        if not entries and hard_state is None:
            return
        with self._lock:
            batch = self._rocks.batch(self._stored.family)
            if entries:
                self._check_append(entries)
                if entries[0].index <= self._cache.last:
                    self._truncate(Index(entries[0].index - 1), batch)
                for entry in entries:
                    batch[entry_key(entry.index)] = encode(entry)
            if hard_state is not None:
                self._check_hard_state(hard_state)
                batch.put(_HARD_STATE, encode(hard_state), self._node.handle)
            self._rocks.write(batch)
            self._cache.append(entries)
            self._hard_state = hard_state or self._hard_state

    def sync(self) -> None:
        """Return when everything appended before the call is durable, in the log first and then in the tail_marker.

        Blocks, mostly without the GIL.
        """
        self.sync_entries()
        while not self.sync_marker():
            # A truncation came between: what we looked at is not the log any more, so look again.
            self.sync_entries()

    def sync_entries(self) -> None:
        """Return when everything appended before the call is durable; `sync_marker` is for the tail marker."""
        with self._syncing:
            with self._lock:
                record, epoch = self._record(), self._tail_marker.epoch
            applied = self._state.applied.index
            self._rocks.sync_wal()
            self._durable_applied = max(self._durable_applied, applied)
            self._durable = (record, epoch)

    def sync_marker(self) -> bool:
        """Make the tail marker say, durably, what the last sync made durable; False when a truncation came between.

        Blocks, mostly without the GIL. May run beside the next sync.
        """
        return self._tail_marker.raise_to(*self._durable)

    def compact(self, to: SnapshotMetadata) -> None:
        """Drop the entries up to `to.index`, which must be applied. Cheap: one small write.

        What is dropped must never be needed again, so the state at `to.index` is made durable first; as every sync
        covers the state too, that costs a sync here only when none came since it was applied.
        """
        with self._lock:
            if to.index <= self._cache.snapshot.index:
                return
            if to.index > self._state.applied.index:
                raise InvariantViolated(f"compaction to {to.index}, but only {self._state.applied.index} is applied")
            if (to.term, to.chain) != (self._cache.term(to.index), self._chain(to.index)):
                raise InvariantViolated(f"compaction to {to.index} with another term or chain than the log's")
            if to.index > self._durable_applied:
                self._rocks.sync_wal()
                self._durable_applied = to.index
            batch = self._rocks.batch(self._stored.family)
            batch.delete_range(FIRST_KEY, entry_key(to.index + 1), self._stored.family.handle)
            batch.put(_SNAPSHOT, encode(to), self._node.handle)
            self._rocks.write(batch)
            kept = self._cache.size_bytes
            self._cache.compact(to)
            self.reclaimable_bytes += kept - self._cache.size_bytes

    def reclaim(self) -> None:
        """Give what `compact` dropped back to the disk: in tables, and in the WAL, which holds the state as well.

        Blocks, without the GIL; appends and commits go on. Costs the writing of everything that is not in tables yet.
        """
        with self._lock:
            self.reclaimable_bytes = 0
            end = entry_key(self._cache.first)
        self._stored.family.reclaim(FIRST_KEY, end)
        for family in (self._state.family, self._node):
            # A WAL file goes when every family has what it wrote there in tables.
            family.flush()

    def reset_to_snapshot(self, snapshot: SnapshotMetadata, batch: WriteBatch) -> None:
        """Empty the log, to go on behind `snapshot`, in one durable step with what is in `batch`; keep term and vote.

        Blocks. Part of a snapshot install; see `snapshots`.
        """
        with self._lock:
            # The lowest statement that is true of the old log and of the new one.
            old = self._cache.snapshot
            self._tail_marker.lower(old.index, old.term, old.chain)
            hard_state = HardState(
                self._hard_state.term, self._hard_state.vote, max(self._hard_state.commit, snapshot.index)
            )
            batch.delete_range(FIRST_KEY, LAST_KEY, self._stored.family.handle)
            batch.put(_SNAPSHOT, encode(snapshot), self._node.handle)
            batch.put(_HARD_STATE, encode(hard_state), self._node.handle)
            self._rocks.write(batch)
            self._cache.reset(snapshot)
            self._hard_state = hard_state
        self.sync()

    # Inside

    def _truncate(self, last: Index, batch: WriteBatch) -> None:
        """Take everything behind `last` away, with the tail marker first."""
        self._tail_marker.lower(last, self._cache.term(last), self._chain(last))
        batch.delete_range(entry_key(last + 1), entry_key(self._cache.last + 1), self._stored.family.handle)
        self._cache.truncate(last)

    def _check_append(self, entries: Sequence[Entry]) -> None:
        first = entries[0].index
        if first > self._cache.last + 1:
            raise InvariantViolated(f"entry {first} would leave a hole behind {self._cache.last}")
        if first <= max(self._cache.snapshot.index, self._hard_state.commit, self._state.applied.index):
            raise InvariantViolated(f"entry {first} would replace what is committed")
        term = self._cache.term(Index(first - 1))
        for expected, entry in enumerate(entries, first):
            if entry.index != expected or entry.term < term:
                raise InvariantViolated(f"entry {entry.index} of term {entry.term} where {expected} should come")
            term = entry.term

    def _check_hard_state(self, new: HardState) -> None:
        old = self._hard_state
        if new.term < old.term or new.commit < old.commit:
            raise InvariantViolated(f"hard state would go back from {old} to {new}")
        if new.term == old.term and old.vote not in (NO_NODE, new.vote):
            raise InvariantViolated(f"a second vote in term {old.term}: {new.vote:016x} after {old.vote:016x}")

    def _record(self) -> TailRecord:
        """Return what the tail marker may say once everything written so far is durable."""
        last = self._cache.last
        return TailRecord(last, self._cache.term(last), self._chain(last), self._hard_state.term, self._hard_state.vote)

    def _chain(self, index: Index) -> bytes:
        if index == self._cache.snapshot.index:
            return self._cache.snapshot.chain
        self._cache.check(index)
        if index >= self._cache.cached_first:
            return self._cache.cached(index).chain
        return self._read(index, Index(index + 1), 0)[0].chain

    def _read(self, lo: Index, hi: Index, bytes_max: int) -> list[Entry]:
        """Return the entries `[lo, hi)` from disk, cut as in `entries`."""
        # One earlier, unless that is the snapshot, for the chain value to check the first one against.
        start = max(Index(lo - 1), self._cache.first)
        previous = self._cache.snapshot.chain if start == lo else None
        return self._stored.read(lo, hi, bytes_max, start=start, previous=previous)

    def _check_against_state(self) -> None:
        applied, tail = self._state.applied, self._cache
        if not tail.snapshot.index <= applied.index <= tail.last:
            raise Corrupted(
                f"The state machine stands at {applied.index}, but the log holds {tail.first} to {tail.last}."
            )
        if self._chain(applied.index) != applied.chain:
            raise Corrupted(f"The state machine was made by another log: their chains differ at {applied.index}.")
        if self._hard_state.commit > tail.last:
            raise Corrupted(f"The log ends at {tail.last}, but {self._hard_state.commit} was committed.")
        if applied.index > self._hard_state.commit:
            self._hard_state = HardState(self._hard_state.term, self._hard_state.vote, applied.index)

    def _check_against_tail_marker(self) -> None:
        marker, cache, hard_state = self._tail_marker.record, self._cache, self._hard_state
        if cache.last < marker.last_index:
            raise Corrupted(f"The log ends at {cache.last}, but this node had stored up to {marker.last_index}.")
        if marker.last_index >= cache.snapshot.index:
            stored = (cache.term(marker.last_index), self._chain(marker.last_index))
            if stored != (marker.last_term, marker.chain):
                raise Corrupted(f"Entry {marker.last_index} is not the one this node had stored.")
        forgotten = hard_state.term == marker.term and marker.vote not in (NO_NODE, hard_state.vote)
        if hard_state.term < marker.term or forgotten:
            raise Corrupted(
                f"The stored term {hard_state.term} and vote {hard_state.vote:016x} are older than "
                f"term {marker.term} and vote {marker.vote:016x}, which this node had promised."
            )
