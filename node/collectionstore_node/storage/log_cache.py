"""The stored log in memory: first and last index, terms and sizes of all entries, and a cache of the newest ones.

Pure. Invariants:
- the log is `[first, last]`, preceded by `snapshot`; the cache is `[cached_first, last]`, never beyond;
- terms never decrease along the log, so it is stored as a few runs of equal terms;
- the cache holds at most `cache_bytes` of data, or one larger entry.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Final

from collectionstore_node.errors import InvariantViolated
from collectionstore_node.raft.log_reader import Compacted, Unavailable
from collectionstore_node.raft.messages import Entry, Index, SnapshotMetadata, Term

ENTRY_OVERHEAD_BYTES: Final = 64
"""Overhead of an entry besides its data: key, fields, chain."""


class LogCache:
    """The in-memory view of the stored log."""

    __slots__ = (
        "_cache",
        "_cache_bytes",
        "_cache_bytes_max",
        "_run_starts",
        "_run_terms",
        "_sizes",
        "last",
        "size_bytes",
        "snapshot",
    )

    def __init__(self, snapshot: SnapshotMetadata, cache_bytes: int) -> None:
        self._cache_bytes_max = cache_bytes
        self.reset(snapshot)

    def reset(self, snapshot: SnapshotMetadata) -> None:
        """Remove every entry; the log now starts after `snapshot`."""
        self.snapshot = snapshot
        self.last = snapshot.index
        self.size_bytes = 0
        self._sizes = array("Q")
        self._run_starts: list[Index] = []
        self._run_terms: list[Term] = []
        self._cache: list[Entry] = []
        self._cache_bytes = 0

    @property
    def first(self) -> Index:
        """The first index of the log, even if it is empty."""
        return Index(self.snapshot.index + 1)

    @property
    def cached_first(self) -> Index:
        """The first index in the cache; `last + 1` when it is empty."""
        return Index(self.last + 1 - len(self._cache))

    def append(self, entries: Iterable[Entry]) -> None:
        """Append entries that directly follow `last`."""
        for entry in entries:
            if not self._run_terms or self._run_terms[-1] != entry.term:
                self._run_starts.append(entry.index)
                self._run_terms.append(entry.term)
            size = len(entry.data) + ENTRY_OVERHEAD_BYTES
            self._sizes.append(size)
            self.size_bytes += size
            self._cache.append(entry)
            self._cache_bytes += size
            self.last = entry.index
        self._evict()

    def truncate(self, last: Index) -> None:
        """Remove every entry after `last`, which is at least `first - 1`."""
        gone = self.last - last
        if gone <= 0:
            return
        self.size_bytes -= sum(self._sizes[-gone:])
        del self._sizes[-gone:]
        for entry in self._cache[-gone:]:
            self._cache_bytes -= len(entry.data) + ENTRY_OVERHEAD_BYTES
        del self._cache[-gone:]
        while self._run_starts and self._run_starts[-1] > last:
            self._run_starts.pop()
            self._run_terms.pop()
        self.last = last

    def compact(self, to: SnapshotMetadata) -> None:
        """Remove the entries up to `to.index`, which lies in `[first, last]`."""
        gone = to.index - self.snapshot.index
        self.size_bytes -= sum(self._sizes[:gone])
        del self._sizes[:gone]
        self._evict_first(max(0, to.index + 1 - self.cached_first))
        # The run of `to.index` now begins at the first remaining entry. It is deleted below if it has none.
        run = bisect_right(self._run_starts, to.index) - 1
        self._run_starts[: run + 1] = [Index(to.index + 1)]
        self._run_terms[: run + 1] = self._run_terms[run : run + 1]
        if to.index == self.last or self._run_starts[1:2] == [to.index + 1]:
            del self._run_starts[0], self._run_terms[0]
        self.snapshot = to

    def term(self, index: Index) -> Term:
        """Return the term at `index` in `[first - 1, last]`. Raises `Compacted` or `Unavailable`."""
        if index == self.snapshot.index:
            return self.snapshot.term
        self.check(index)
        return self._run_terms[bisect_right(self._run_starts, index) - 1]

    def check(self, index: Index) -> None:
        """Raise `Compacted` or `Unavailable` unless an entry is stored at `index`."""
        if index <= self.snapshot.index:
            raise Compacted
        if index > self.last:
            raise Unavailable

    def cached(self, index: Index) -> Entry:
        """Return the entry at `index`, which must lie in `[cached_first, last]`."""
        return self._cache[index - self.cached_first]

    def cached_range(self, lo: Index, hi: Index) -> Sequence[Entry]:
        """Return the entries `[lo, hi)`, all of which must be in the cache."""
        start = self.cached_first
        if not start <= lo <= hi <= self.last + 1:
            # A negative position would count from the end of the list, and return the wrong entries without an error.
            raise InvariantViolated(f"entries {lo} to {hi} are not in the cache of {start} to {self.last}")
        return self._cache[lo - start : hi - start]

    def _evict(self) -> None:
        """Shrink the cache to well below its limit, so that evictions are rare."""
        if self._cache_bytes <= self._cache_bytes_max:
            return
        count, left = 0, self._cache_bytes
        # The newest entry stays whatever its size: the leader sends it to its followers next.
        while left > self._cache_bytes_max * 3 // 4 and count < len(self._cache) - 1:
            left -= len(self._cache[count].data) + ENTRY_OVERHEAD_BYTES
            count += 1
        self._evict_first(count)

    def _evict_first(self, count: int) -> None:
        for entry in self._cache[:count]:
            self._cache_bytes -= len(entry.data) + ENTRY_OVERHEAD_BYTES
        del self._cache[:count]
