"""The log as the algorithm sees it: the stored entries, followed by those that are only in memory yet.

```
  compacted | stored, read through LogReader | tail: in memory, partly stored
            ^first_index                     ^      ^stable ^written ^last_index
```
The driver has taken the entries up to `written`; those up to `stable` are durable, the others are in `writes`.
The newest entries stay in memory for a while after they are stored, because they are about to be replicated and
applied. A compacted entry is gone for every reader, even while the tail still holds it.

Invariants:
- applied <= commit <= last_index, stable <= written <= last_index; applied and commit never decrease;
- an entry at or below commit is never replaced;
- `stable` covers an entry only after a write of exactly that entry, with none of another one behind it, is durable: a
  write that loses entries to a truncation speaks for the rest alone (see `writes`).
Names follow etcd-io/raft `log.go`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

from collectionstore_node.errors import InvariantViolated
from collectionstore_node.raft.log_reader import Compacted, LogReader, Unavailable
from collectionstore_node.raft.messages import (
    Entry,
    EntryKind,
    HardState,
    Index,
    Message,
    SnapshotMetadata,
    Term,
    chain_hash,
)
from collectionstore_node.raft.writes import Write, Writes

TAIL_BYTES_MAX: Final = 8 * 1024 * 1024
TAIL_ENTRIES_MAX: Final = 4096


class RaftLog:
    """The log of one node. Attributes are read-only outside this class."""

    __slots__ = (
        "_reader",
        "_tail",
        "_tail_bytes",
        "_tail_first",
        "applied",
        "commit",
        "last_index",
        "last_term",
        "pending_snapshot",
        "stable",
        "writes",
        "written",
    )

    def __init__(self, reader: LogReader, commit: Index, applied: Index) -> None:
        """Open the stored log. Raises `InvariantViolated` if `commit` or `applied` lies outside of it."""
        snapshot = reader.snapshot()
        last_index = reader.last_index()
        if not snapshot.index <= applied <= last_index:
            raise InvariantViolated(f"applied index {applied} lies outside the log [{snapshot.index}, {last_index}]")
        if commit > last_index:
            # Committed entries are missing. To wait for them would be a deadlock (bakwc/PySyncObj#197), and to go on
            # would let this node vote for a leader without them.
            raise InvariantViolated(f"commit {commit} is beyond the last index {last_index}: entries were lost")
        self._reader = reader
        self._tail: list[Entry] = []
        self._tail_first = last_index + 1
        self._tail_bytes = 0
        self.applied = applied
        # The stored commit index is not synced for its own sake and may be old; an applied entry was committed.
        self.commit = max(commit, applied)
        self.last_index = last_index
        self.last_term = reader.term(last_index)
        self.stable = self.written = last_index
        self.writes = Writes()
        """What the driver has taken and not yet made durable."""
        self.pending_snapshot: SnapshotMetadata | None = None
        """Accepted from the leader, not yet installed by the driver."""

    # Reading

    def first_index(self) -> Index:
        """Return the first index that is not compacted."""
        if self.pending_snapshot is not None:
            return Index(self.pending_snapshot.index + 1)
        return self._reader.first_index()

    def term(self, index: Index) -> Term:
        """Return the term at `index`; 0 at index 0. Raises `Compacted` or `Unavailable`."""
        if index == self.last_index:
            return self.last_term
        if index > self.last_index:
            raise Unavailable(index)
        pending = self.pending_snapshot
        if pending is not None and index <= pending.index:
            if index < pending.index:
                raise Compacted(index)
            return pending.term
        if index >= self._tail_first:
            # The tail may reach below the compaction. Its terms must not be used: they would let an append match at an
            # entry that can no longer be compared by any other path.
            if index < self._reader.first_index() - 1:
                raise Compacted(index)
            return self._tail[index - self._tail_first].term
        return self._reader.term(index)

    def chain(self, index: Index) -> bytes:
        """Return the chain value at `index`. Raises `Compacted` or `Unavailable`."""
        if index > self.last_index:
            raise Unavailable(index)
        if index >= self._tail_first:
            return self._tail[index - self._tail_first].chain
        pending = self.pending_snapshot
        if pending is not None:
            if index < pending.index:
                raise Compacted(index)
            return pending.chain
        return self._reader.chain(index)

    def snapshot(self) -> SnapshotMetadata:
        """Return the metadata of the compacted prefix."""
        return self._reader.snapshot()

    def can_serve_after(self, index: Index) -> bool:
        """Whether the entries after `index` can be served from the log, without a snapshot."""
        return self.first_index() - 1 <= index <= self.last_index

    def match_term(self, index: Index, term: Term) -> bool:
        """Whether the entry at `index` has `term`; by the Log Matching Property all entries before it match too."""
        try:
            return self.term(index) == term
        except (Compacted, Unavailable):
            # No match, and never term 0, which would equal the 0 that a message carries before the first entry
            # (etcd-io/raft 76f1249).
            return False

    def is_up_to_date(self, last_index: Index, last_term: Term) -> bool:
        """Whether a log ending in (`last_index`, `last_term`) is at least as up to date as this one (Raft 5.4.1)."""
        return (last_term, last_index) >= (self.last_term, self.last_index)

    def find_conflict_by_term(self, index: Index, term: Term) -> tuple[Index, Term]:
        """Return the last (index, term) at or below `index` whose term is at most `term`.

        Terms never decrease along a log, so bisection finds it. Below the first known entry the term is given as 0.
        """
        lo = self.first_index() - 1
        if index < lo:
            return index, Term(0)
        count = bisect_right(range(lo, index + 1), term, key=lambda at: self.term(Index(at)))
        if count == 0:
            return Index(max(lo - 1, 0)), Term(0)
        found = Index(lo + count - 1)
        return found, self.term(found)

    def entries(self, lo: Index, hi: Index, bytes_max: int) -> tuple[Entry, ...]:
        """Return entries `[lo, hi)`, cut after `bytes_max` of data but never empty when `lo < hi`.

        Raises `Compacted`, `Unavailable` and the reader's I/O errors: an unreadable log is never an empty one.
        """
        if lo >= hi:
            return ()
        if hi > self.last_index + 1:
            raise Unavailable(hi)
        if lo < self.first_index():
            raise Compacted(lo)
        first = self._tail_first
        if lo >= first:
            return _limit_size(self._tail, lo - first, hi - first, bytes_max)
        stored = self._reader.entries(lo, Index(min(hi, first)), bytes_max)
        if not stored or stored[0].index != lo:
            raise InvariantViolated(f"the stored log has no entry {lo}")
        # The reader cut the page short: adding the tail would leave a hole between them.
        if hi <= first or stored[-1].index + 1 < first:
            return stored
        rest = bytes_max - sum([len(entry.data) for entry in stored])
        if rest < len(self._tail[0].data):
            return stored
        return stored + _limit_size(self._tail, 0, hi - first, rest)

    def find_change(self, lo: Index, hi: Index) -> Index:
        """Return the index of a membership change in entries `[lo, hi)`, which are read page by page; 0 if none is."""
        while lo < hi:
            page = self.entries(lo, hi, 1024 * 1024)
            for entry in reversed(page):
                if entry.kind is EntryKind.CHANGE:
                    return entry.index
            lo = Index(page[-1].index + 1)
        return Index(0)

    def count_changes(self, lo: Index, hi: Index, at_most: int) -> int:
        """Return how many membership changes entries `[lo, hi)` contain, counting no further than `at_most`."""
        count = 0
        while lo < hi and count < at_most:
            page = self.entries(lo, hi, 1024 * 1024)
            count += sum(1 for entry in page if entry.kind is EntryKind.CHANGE)
            lo = Index(page[-1].index + 1)
        return min(count, at_most)

    def find_conflict(self, entries: Sequence[Entry]) -> int:
        """Return the position of the first of `entries` that is missing or in conflict; their number if none.

        The caller has checked that the entry before them matches.
        """
        if not entries or entries[0].index > self.last_index:
            return 0
        for position, entry in enumerate(entries):
            if not self.match_term(entry.index, entry.term):
                return position
        return len(entries)

    # Work for the next Ready

    def unwritten(self) -> tuple[Entry, ...]:
        """Return the entries that the driver has not taken yet."""
        if self.written == self.last_index:
            return ()
        return tuple(self._tail[self.written + 1 - self._tail_first :])

    def has_next_committed(self) -> bool:
        """Whether there are committed entries that are not applied."""
        return self.applied < self.commit and self.pending_snapshot is None

    def next_committed(self, bytes_max: int) -> tuple[Entry, ...]:
        """Return the next committed entries, cut after `bytes_max` of data."""
        if not self.has_next_committed():
            return ()
        return self.entries(Index(self.applied + 1), Index(self.commit + 1), bytes_max)

    # Updates

    def append_own(self, term: Term, kind: EntryKind, data: bytes) -> Entry:
        """Append an entry proposed by this node as the leader of `term`, and return it."""
        index = Index(self.last_index + 1)
        entry = Entry(index, term, kind, data, chain_hash(self.chain(self.last_index), index, term, kind, data))
        self._push((entry,))
        return entry

    def append(self, entries: Sequence[Entry]) -> None:
        """Append `entries`, replacing the log's suffix from the first of them on.

        Raises `InvariantViolated` for a gap, or if a committed entry would be replaced.
        """
        first = entries[0].index
        if first > self.last_index + 1:
            raise InvariantViolated(f"entry {first} leaves a gap after the last index {self.last_index}")
        if first <= self.last_index:
            self._truncate(first)
        self._push(entries)

    def _push(self, entries: Sequence[Entry]) -> None:
        self._tail.extend(entries)
        self._tail_bytes += sum([len(entry.data) for entry in entries])
        self.last_index = entries[-1].index
        self.last_term = entries[-1].term

    def _truncate(self, first: Index) -> None:
        if first <= self.commit:
            raise InvariantViolated(f"entry {first} would be replaced, but the commit index is {self.commit}")
        if first <= self._tail_first:
            self._tail.clear()
            self._tail_first = first
            self._tail_bytes = 0
        else:
            del self._tail[first - self._tail_first :]
            self._tail_bytes = sum([len(entry.data) for entry in self._tail])
        # The suffix is being replaced: what comes in its place is neither written nor durable, whatever its index.
        last = Index(first - 1)
        self.written = min(self.written, last)
        self.stable = min(self.stable, last)
        self.writes.replaced_after(last)

    def commit_to(self, index: Index) -> bool:
        """Advance commit to `index`; return whether it advanced. Raises `InvariantViolated` beyond the last index."""
        # A delayed message carries an old commit index; commit never decreases (bakwc/PySyncObj#166).
        if index <= self.commit:
            return False
        if index > self.last_index:
            raise InvariantViolated(f"commit {index} is beyond the last index {self.last_index}: entries were lost")
        self.commit = index
        return True

    def restore(self, snapshot: SnapshotMetadata) -> None:
        """Replace the whole log by `snapshot`, which the driver installs with the next Ready."""
        self.pending_snapshot = snapshot
        self._tail.clear()
        self._tail_first = snapshot.index + 1
        self._tail_bytes = 0
        self.last_index = snapshot.index
        self.last_term = snapshot.term
        self.commit = snapshot.index
        self.written = self.stable = snapshot.index
        # The writes under way are of a log that this one replaces as a whole.
        self.writes.replaced_after(Index(0))

    # What the driver takes, and its completions

    def begin_write(self, hard_state: HardState | None, messages: list[Message]) -> int:
        """Record that the driver takes the rest of the log, with `hard_state`; return the number of the write.

        `messages` wait for it to be durable.
        """
        self.written = self.last_index
        return self.writes.begin(self.last_index, hard_state, messages)

    def stable_snapshot_to(self, snapshot: SnapshotMetadata) -> None:
        """Record that the driver installed `snapshot`."""
        # A newer one may have been accepted meanwhile and is still to be installed (etcd-io/etcd#18055).
        if self.pending_snapshot is not None and self.pending_snapshot.index == snapshot.index:
            self.pending_snapshot = None
        self.applied_to(snapshot.index)

    def durable_to(self, number: int) -> list[Write]:
        """Record that the driver made the writes up to `number` durable; return those that were under way until now."""
        ended = self.writes.end(number)
        # The newest one covers the others: a truncation in between has lowered what they cover.
        if ended and ended[-1].covers > self.stable:
            self.stable = ended[-1].covers
            self._shrink_tail()
        return ended

    def applied_to(self, index: Index) -> None:
        """Record that the driver applied everything up to `index`."""
        if not self.applied <= index <= self.commit:
            raise InvariantViolated(
                f"applied index cannot move from {self.applied} to {index} with commit {self.commit}"
            )
        self.applied = index

    def _shrink_tail(self) -> None:
        """Bound the tail: once it is too large, drop its oldest half, but only entries that are durable."""
        if self._tail_bytes <= TAIL_BYTES_MAX and len(self._tail) <= TAIL_ENTRIES_MAX:
            return
        count = 0
        for entry in self._tail:
            small = self._tail_bytes <= TAIL_BYTES_MAX // 2 and len(self._tail) - count <= TAIL_ENTRIES_MAX // 2
            if small or entry.index > self.stable:
                break
            self._tail_bytes -= len(entry.data)
            count += 1
        del self._tail[:count]
        self._tail_first += count


def _limit_size(entries: list[Entry], lo: int, hi: int, bytes_max: int) -> tuple[Entry, ...]:
    """Return `entries[lo:hi]`, cut before it exceeds `bytes_max` of data, but never empty."""
    size_bytes = 0
    for position in range(lo, hi):
        size_bytes += len(entries[position].data)
        if size_bytes > bytes_max and position > lo:
            return tuple(entries[lo:position])
    return tuple(entries[lo:hi])
