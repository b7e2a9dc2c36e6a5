"""The Raft log and the hard state in RocksDB.

`append` runs on the event loop and returns once the operating system has the entries; `sync` runs in an executor thread
and returns once everything appended BEFORE its call is durable and covered by the tail marker. Only then may a message
that depends on it be sent.

Invariants:
- the chain value of every entry is checked against its predecessor's when it is read from disk, and for the whole log
  when it is opened;
- the tail marker is at or behind the durable log at every instant (see `tail_marker`);
- an applied, committed or compacted entry is never replaced.
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
        """Read and verify the stored log without writing; `sync` before anything depends on it.

        Raises `Corrupted` if it is corrupt or behind its tail marker.
        """
        self._rocks = rocks
        self._tail_marker = tail_marker
        self._state = state
        self._failstop = failstop
        self._node = rocks.family(NODE_FAMILY)
        self._stored = StoredEntries(rocks.family(LOG_FAMILY), failstop)
        self._lock = threading.Lock()
        """Held for reads and writes of the log, by the event loop too. So never during a sync, except the tail marker's
        in a truncation: the loop would stop for as long as the disk does."""
        self._syncing = threading.Lock()
        """One sync at a time, so that `_durable` and `_durable_applied` never go back."""
        self.reclaimable_bytes = 0
        """Approximate bytes of compacted entries that still occupy disk space, since the start of the process."""
        try:
            hard_state = self._node.get(_HARD_STATE)
            snapshot = self._node.get(_SNAPSHOT)
            self._hard_state = HardState() if hard_state is None else decode_hard_state(hard_state)
            self._cache = LogCache(SnapshotMetadata() if snapshot is None else decode_metadata(snapshot), cache_bytes)
            for entry in self._stored.read_all(self._cache.first, self._cache.snapshot.chain):
                self._cache.append((entry,))
        except msgspec.DecodeError as error:
            raise Corrupted(f"A record of the log cannot be decoded ({error}).") from error
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
        """Return the stored hard state; its commit index is at or above the applied index."""
        return self._hard_state

    @property
    def size_bytes(self) -> int:
        """Approximate size of the entries in the log."""
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

        Raises `Compacted`, `Unavailable`, or `StorageFailed` on an I/O error or if an entry is not what was written.
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
                # The limit cut the disk part short: adding the cached part would leave a hole between them.
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

        If the first index is not past the last stored one, the stored suffix from there on is replaced; only then does
        this wait for the disk, to lower the tail marker. Raises `InvariantViolated` if Raft excludes the write.
        """
        if not entries and hard_state is None:
            return
        with self._lock:
            # ONE batch, hence atomic: entries of a term without the term, or a membership change without the commit
            # index that permits it, must not survive a crash alone.
            batch = self._rocks.batch(self._stored.family)
            if entries:
                self._check_append(entries)
                if entries[0].index <= self._cache.last:
                    self._truncate(Index(entries[0].index - 1), batch)
                seal = self._stored.family.seal
                for entry in entries:
                    key, value = entry_key(entry.index), encode(entry)
                    batch[key] = value if seal is None else seal(key, value)
            if hard_state is not None:
                self._check_hard_state(hard_state)
                batch.put(_HARD_STATE, encode(hard_state), self._node.handle)
            # In memory AFTER the write. If it fails, the latch refuses every later read, so neither these entries nor a
            # cache that `_truncate` has already cut are ever seen.
            self._rocks.write(batch)
            self._cache.append(entries)
            self._hard_state = hard_state or self._hard_state

    def sync(self) -> None:
        """Make everything appended before the call durable, in the log first and THEN in the tail marker.

        Blocks, mostly without the GIL.
        """
        self.sync_entries()
        while not self.sync_marker():
            # A truncation came between, so the recorded tail is no longer part of the log: record it again.
            self.sync_entries()

    def sync_entries(self) -> None:
        """Make everything appended before the call durable in the log; `sync_marker` updates the tail marker."""
        with self._syncing:
            # Recorded BEFORE the sync: entries appended while it runs may or may not be covered by it. Taken after it,
            # the record could name an entry that a crash loses, and the node would refuse to start.
            with self._lock:
                record, epoch = self._record(), self._tail_marker.epoch
            applied = self._state.applied.index
            self._rocks.sync_wal()
            self._durable_applied = max(self._durable_applied, applied)
            self._durable = (record, epoch)

    def sync_marker(self) -> bool:
        """Advance the tail marker, durably, to the tail of the last sync; return False if a truncation came between.

        Blocks, mostly without the GIL. May run concurrently with the next sync.
        """
        return self._tail_marker.advance_to(*self._durable)

    def compact(self, to: SnapshotMetadata) -> None:
        """Drop the entries up to `to.index`, which must be applied. Cheap: one small write."""
        with self._lock:
            if to.index <= self._cache.snapshot.index:
                return
            if to.index > self._state.applied.index:
                raise InvariantViolated(f"compaction to {to.index}, but only {self._state.applied.index} is applied")
            if (to.term, to.chain) != (self._cache.term(to.index), self._chain(to.index)):
                raise InvariantViolated(f"compaction to {to.index} with another term or chain than the log's")
            # The applied state is written without a sync because the log can replay it. So it must be durable BEFORE
            # the entries that could replay it are dropped. A sync of the log covers the state too, as both are in one
            # WAL; one is due here only if none came since `to.index` was applied.
            if to.index > self._durable_applied:
                self._rocks.sync_wal()
                self._durable_applied = to.index
            # Prefix and its metadata in one batch: without the metadata the remaining log would start nowhere.
            # `delete_range` takes the family explicitly; rocksdict ignores the batch's default family here.
            batch = self._rocks.batch(self._stored.family)
            batch.delete_range(FIRST_KEY, entry_key(to.index + 1), self._stored.family.handle)
            batch.put(_SNAPSHOT, encode(to), self._node.handle)
            self._rocks.write(batch)
            kept = self._cache.size_bytes
            self._cache.compact(to)
            self.reclaimable_bytes += kept - self._cache.size_bytes

    def reclaim(self) -> None:
        """Free the disk space of compacted entries, in table files and in the WAL.

        Blocks, without the GIL; appends and commits go on. Costs a flush of all memtables.
        """
        with self._lock:
            self.reclaimable_bytes = 0
            end = entry_key(self._cache.first)
        self._stored.family.reclaim(FIRST_KEY, end)
        for family in (self._state.family, self._node):
            # RocksDB deletes a WAL file only once EVERY family has flushed what it wrote there. A family with few
            # writes is seldom flushed, and would keep all WAL files.
            family.flush()

    def adopt_snapshot_term(self) -> None:
        """Raise a term that is below that of the snapshot which the log consists of; unsynced, for the opening node.

        Earlier versions stored the term AFTER the snapshot that had brought it, and a crash in between left this. The
        node has promised nothing in the terms between: a vote or an acknowledgement leaves after its term is durable,
        and the tail marker, which was checked, knows of none.
        """
        snapshot, state = self._cache.snapshot, self._hard_state
        if state.term < snapshot.term and self._cache.last == snapshot.index:
            self.append((), HardState(snapshot.term, NO_NODE, state.commit))

    def reset_to_snapshot(
        self, snapshot: SnapshotMetadata, batch: WriteBatch, hard_state: HardState | None = None
    ) -> None:
        """Replace the whole log by `snapshot`, atomically with `batch` and durably.

        Term and vote become those of `hard_state`, if given. Its commit index is stored with the entries that follow
        the snapshot. Blocks. Part of a snapshot install; see `snapshots`.
        """
        with self._lock:
            # BEFORE the write, and to the one position that is valid for the old log as well as for the new one: a
            # crash on either side of the write must find the marker at or behind the log.
            old = self._cache.snapshot
            self._tail_marker.lower(old.index, old.term, old.chain)
            promised = hard_state or self._hard_state
            hard_state = HardState(promised.term, promised.vote, max(self._hard_state.commit, snapshot.index))
            self._check_hard_state(hard_state)
            batch.delete_range(FIRST_KEY, LAST_KEY, self._stored.family.handle)
            batch.put(_SNAPSHOT, encode(snapshot), self._node.handle)
            batch.put(_HARD_STATE, encode(hard_state), self._node.handle)
            self._rocks.write(batch)
            self._cache.reset(snapshot)
            self._hard_state = hard_state
        self.sync()

    # Internals

    def _truncate(self, last: Index, batch: WriteBatch) -> None:
        """Remove every entry after `last`. The tail marker is lowered, durably, BEFORE the caller writes `batch`."""
        self._tail_marker.lower(last, self._cache.term(last), self._chain(last))
        batch.delete_range(entry_key(last + 1), entry_key(self._cache.last + 1), self._stored.family.handle)
        self._cache.truncate(last)

    def _check_append(self, entries: Sequence[Entry]) -> None:
        first = entries[0].index
        if first > self._cache.last + 1:
            raise InvariantViolated(f"entry {first} leaves a gap after the last index {self._cache.last}")
        if first <= max(self._cache.snapshot.index, self._hard_state.commit, self._state.applied.index):
            # Acknowledged to a client, perhaps: no message may lead here, see `follower.on_append_entries`.
            raise InvariantViolated(f"entry {first} would replace a committed entry")
        term = self._cache.term(Index(first - 1))
        for expected, entry in enumerate(entries, first):
            if entry.index != expected or entry.term < term:
                raise InvariantViolated(
                    f"entry {entry.index} of term {entry.term} follows {expected - 1} of term {term}"
                )
            term = entry.term

    def _check_hard_state(self, new: HardState) -> None:
        old = self._hard_state
        if new.term < old.term or new.commit < old.commit:
            raise InvariantViolated(f"the hard state would decrease from {old} to {new}")
        # Votes are kept within a term (Raft 5.2): a changed one would allow two leaders in it.
        if new.term == old.term and old.vote not in (NO_NODE, new.vote):
            raise InvariantViolated(f"a second vote in term {old.term}: {new.vote:016x} after {old.vote:016x}")

    def _record(self) -> TailRecord:
        """Return the tail to record once everything written so far is durable."""
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
        # From one entry earlier, unless that is the snapshot: its chain value verifies the first one.
        start = max(Index(lo - 1), self._cache.first)
        previous = self._cache.snapshot.chain if start == lo else None
        return self._stored.read(lo, hi, bytes_max, start=start, previous=previous)

    def _check_against_state(self) -> None:
        applied, tail = self._state.applied, self._cache
        if not tail.snapshot.index <= applied.index <= tail.last:
            raise Corrupted(
                f"The state machine has applied index {applied.index}, but the log holds {tail.first} to {tail.last}."
            )
        if self._chain(applied.index) != applied.chain:
            raise Corrupted(
                f"The state machine and the log do not belong together: their chains differ at {applied.index}."
            )
        if self._hard_state.commit > tail.last:
            raise Corrupted(f"The log ends at {tail.last}, but its commit index is {self._hard_state.commit}.")
        # The stored commit index may be old, as it is not synced for its own sake; an applied entry was committed. A
        # core that starts with applied > commit would panic (etcd-io/etcd#10217).
        if applied.index > self._hard_state.commit:
            self._hard_state = HardState(self._hard_state.term, self._hard_state.vote, applied.index)

    def _check_against_tail_marker(self) -> None:
        marker, cache, hard_state = self._tail_marker.record, self._cache, self._hard_state
        # Lost data, and not a crash: the marker is at or behind the log after any crash. An entry acknowledged by this
        # node may have been committed with it; if it voted now, a leader without the entry could be elected.
        if cache.last < marker.last_index:
            raise Corrupted(f"The log ends at {cache.last}, but this node had synced it up to {marker.last_index}.")
        if marker.last_index >= cache.snapshot.index:
            stored = (cache.term(marker.last_index), self._chain(marker.last_index))
            if stored != (marker.last_term, marker.chain):
                raise Corrupted(f"Entry {marker.last_index} is not the one that this node had synced.")
        # An older term or vote means that this node could vote a second time in a term (bakwc/PySyncObj#84).
        forgotten = hard_state.term == marker.term and marker.vote not in (NO_NODE, hard_state.vote)
        if hard_state.term < marker.term or forgotten:
            raise Corrupted(
                f"The stored term {hard_state.term} and vote {hard_state.vote:016x} are older than "
                f"term {marker.term} and vote {marker.vote:016x}, which this node had synced."
            )
