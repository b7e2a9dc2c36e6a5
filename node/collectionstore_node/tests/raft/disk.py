"""A simulated disk with fault injection: writes reach it in order, a crash keeps a prefix of the unsynced ones.

It models the checks of the storage adapter: the hash chain is verified when the log is opened and when it is read, and
the tail marker (`storage.tail_marker`) distinguishes a log that lost its end, or a term or vote that went back, from
one that never had them. A disk that fails the check is refused, as the adapter refuses it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from collectionstore_node.errors import DataDirectoryRefused, StorageFailed
from collectionstore_node.raft.log_reader import LogReader
from collectionstore_node.raft.messages import NO_NODE, Entry, HardState, Index, NodeId, SnapshotMetadata, Term
from collectionstore_node.tests.raft.memory_log import MemoryLog

EMPTY_SNAPSHOT: Final = SnapshotMetadata()
EMPTY_HARD_STATE: Final = HardState()


@dataclass(frozen=True, slots=True)
class Image:
    """What a disk holds at one moment; cheap to copy, as nothing in it changes."""

    snapshot: SnapshotMetadata = EMPTY_SNAPSHOT
    entries: tuple[Entry, ...] = ()
    hard_state: HardState = EMPTY_HARD_STATE
    applied: SnapshotMetadata = EMPTY_SNAPSHOT
    """Where the state machine stands."""

    @property
    def last_index(self) -> Index:
        return self.entries[-1].index if self.entries else self.snapshot.index

    def term_at(self, index: Index) -> Term | None:
        """Return the term of an entry or of the snapshot; None when the image knows none there."""
        if index == self.snapshot.index:
            return self.snapshot.term
        position = index - self.snapshot.index - 1
        return self.entries[position].term if 0 <= position < len(self.entries) else None


class TailRecord(NamedTuple):
    """Up to where the log was durable, and which term and vote were, when that was last written beside the log."""

    last_index: Index = Index(0)
    last_term: Term = Term(0)
    term: Term = Term(0)
    vote: NodeId = NO_NODE


class SyncMark(NamedTuple):
    """Where a sync began: how many writes there had been, and how many truncations."""

    writes: int
    truncations: int


class Disk:
    """The disk of one server. Writes and syncs raise `StorageFailed` while a fault is injected."""

    def __init__(self, image: Image) -> None:
        self._unsynced: list[Image] = []
        self._durable = image
        self._synced_writes = 0
        """How many writes there were before those in `_unsynced`."""
        self._truncations = 0
        self._tail_marker = _tail_of(image)
        self._next_tail = self._tail_marker
        self.full = False
        """Every write fails until there is room again."""
        self.sync_fails = False
        """The next sync reports an error; what it should have made durable may be so or not."""
        self.unreadable = False
        """Reading stored entries fails, until the process starts anew."""
        self.rotten: dict[Index, Term] = {}
        """Entries whose stored bytes are not what was written, by index and term."""
        self.cut_from: Index | None = None
        """The log lost everything from here on, without a trace in itself."""
        self.forgotten: HardState | None = None
        """The older term and vote that the disk shows in place of the newest."""

    @property
    def durable(self) -> Image:
        """What survives any crash."""
        return self._durable

    @property
    def current(self) -> Image:
        """What a read returns."""
        return self._unsynced[-1] if self._unsynced else self._durable

    @property
    def unsynced(self) -> int:
        """How many writes a crash may lose."""
        return len(self._unsynced)

    @property
    def tail_marker(self) -> TailRecord:
        return self._tail_marker

    def write(self, image: Image) -> None:
        """Add a write. Raises `StorageFailed` on a full disk, which holds nothing of it then."""
        if self.full:
            raise StorageFailed("write the log: no space left on device")
        self._unsynced.append(image)

    def begin_sync(self) -> SyncMark:
        """Return what a sync that begins now covers."""
        return SyncMark(self._synced_writes + len(self._unsynced), self._truncations)

    def sync(self, mark: SyncMark | None = None) -> None:
        """Make everything written before `mark` durable, by default everything.

        A new term or vote is in the tail marker then too, entries one sync later.
        """
        if self.sync_fails:
            self.sync_fails = False
            raise StorageFailed("sync the log: EIO")
        mark = mark or self.begin_sync()
        if not self._make_durable(mark):
            return
        record = _tail_of(self._durable)
        promised = (record.term, record.vote) != (self._tail_marker.term, self._tail_marker.vote)
        if mark.truncations != self._truncations:
            # What the sync began with is no tail of the log any more: a promise is recorded with the one that is.
            if not promised:
                return
            self._make_durable(self.begin_sync())
            record = _tail_of(self._durable)
        self._tail_marker = record if promised else self._next_tail
        self._next_tail = record

    def _make_durable(self, mark: SyncMark) -> bool:
        """Make what was written before `mark` durable; return whether any of it was not."""
        count = mark.writes - self._synced_writes
        if count <= 0:
            return False
        self._durable = self._unsynced[count - 1]
        del self._unsynced[:count]
        self._synced_writes = mark.writes
        return True

    def lower_marker(self, last_index: Index, last_term: Term) -> None:
        """Have the tail marker speak of no entry behind `last_index`, BEFORE a write takes entries away."""
        self._truncations += 1
        if last_index < self._tail_marker.last_index:
            self._tail_marker = self._tail_marker._replace(last_index=last_index, last_term=last_term)
        self._next_tail = self._tail_marker

    def crash(self, kept: int = 0) -> None:
        """Lose all unsynced writes but the first `kept`."""
        if kept:
            self._durable = self._unsynced[kept - 1]
        self._synced_writes += len(self._unsynced)
        self._unsynced.clear()
        self._next_tail = self._tail_marker
        self.sync_fails = self.unreadable = False

    def open(self) -> Image:
        """Return what the disk shows, durable from now on. Raises `DataDirectoryRefused` when that is not whole."""
        self.crash(len(self._unsynced))
        image = self._shown()
        for entry in image.entries:
            if self.rotten and self.rotten.get(entry.index) == entry.term:
                raise DataDirectoryRefused(f"the chain breaks at entry {entry.index}")
        if image.hard_state.commit > image.last_index or image.applied.index > image.last_index:
            raise DataDirectoryRefused("entries are missing that were committed")
        self._check_tail_marker(image)
        # What is damaged and was not found is not part of the log any more.
        self.rotten.clear()
        self.cut_from = self.forgotten = None
        self._durable = image
        self._tail_marker = self._next_tail = _tail_of(image)
        return image

    def _shown(self) -> Image:
        image = self._durable
        if self.cut_from is not None and self.cut_from <= image.last_index:
            kept = max(0, self.cut_from - image.snapshot.index - 1)
            image = replace(image, entries=image.entries[:kept])
        if self.forgotten is not None:
            image = replace(image, hard_state=self.forgotten)
        return image

    def _check_tail_marker(self, image: Image) -> None:
        marker, hard_state = self._tail_marker, image.hard_state
        if image.last_index < marker.last_index:
            raise DataDirectoryRefused(f"the log ends at {image.last_index}, but {marker.last_index} was stored")
        if marker.last_index >= image.snapshot.index and image.term_at(marker.last_index) != marker.last_term:
            raise DataDirectoryRefused(f"entry {marker.last_index} is not the one that was stored")
        other_vote = hard_state.term == marker.term and marker.vote not in (NO_NODE, hard_state.vote)
        if hard_state.term < marker.term or other_vote:
            raise DataDirectoryRefused("the stored term and vote are older than those that were promised")


def _tail_of(image: Image) -> TailRecord:
    last = image.last_index
    return TailRecord(last, image.term_at(last) or Term(0), image.hard_state.term, image.hard_state.vote)


class StoredLog(LogReader):
    """The log as a core reads it: entries come from the disk, which may fail; where it ends is known in memory."""

    def __init__(self, log: MemoryLog, disk: Disk) -> None:
        self._log = log
        self._disk = disk
        self.failed = False
        """A read failed. The process must not go on after that."""

    def first_index(self) -> Index:
        return self._log.first_index()

    def last_index(self) -> Index:
        return self._log.last_index()

    def term(self, index: Index) -> Term:
        return self._log.term(index)

    def snapshot(self) -> SnapshotMetadata:
        return self._log.snapshot()

    def chain(self, index: Index) -> bytes:
        if self._disk.rotten and index > self._log.snapshot().index:
            self._check(index, Index(index + 1))
        return self._log.chain(index)

    def entries(self, lo: Index, hi: Index, bytes_max: int) -> tuple[Entry, ...]:
        if self._disk.unreadable or self._disk.rotten:
            self._check(lo, hi)
        return self._log.entries(lo, hi, bytes_max)

    def _check(self, lo: Index, hi: Index) -> None:
        """Raise `StorageFailed` when entries `[lo, hi)` cannot be read, or are not what was written."""
        if self._disk.unreadable:
            self.failed = True
            raise StorageFailed("read the log: EIO")
        lo, hi = max(lo, self._log.first_index()), min(hi, Index(self._log.last_index() + 1))
        for index, term in self._disk.rotten.items():
            if lo <= index < hi and self._log.term(index) == term:
                self.failed = True
                raise StorageFailed(f"read the log: the chain breaks at entry {index}")
