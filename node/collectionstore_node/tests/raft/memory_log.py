"""A log kept in memory: the double of the storage adapter, for tests, simulations and examples."""

from __future__ import annotations

from collections.abc import Sequence

from collectionstore_node.errors import InvariantViolated
from collectionstore_node.raft.log_reader import Compacted, Unavailable
from collectionstore_node.raft.messages import Entry, Index, SnapshotMetadata, Term


class MemoryLog:
    """Implements `LogReader`; the writing half has the meaning that `Ready` gives to its fields."""

    def __init__(self, entries: Sequence[Entry] = (), snapshot: SnapshotMetadata | None = None) -> None:
        self._snapshot = snapshot or SnapshotMetadata()
        self._entries: list[Entry] = []
        if entries:
            self.append(entries)

    def first_index(self) -> Index:
        return Index(self._snapshot.index + 1)

    def last_index(self) -> Index:
        return Index(self._snapshot.index + len(self._entries))

    def term(self, index: Index) -> Term:
        if index == self._snapshot.index:
            return self._snapshot.term
        return self._entry(index).term

    def chain(self, index: Index) -> bytes:
        if index == self._snapshot.index:
            return self._snapshot.chain
        return self._entry(index).chain

    def entries(self, lo: Index, hi: Index, bytes_max: int) -> tuple[Entry, ...]:
        self._entry(lo)
        self._entry(Index(hi - 1))
        found = self._entries[lo - self.first_index() : hi - self.first_index()]
        size_bytes = 0
        for position, entry in enumerate(found):
            size_bytes += len(entry.data)
            if position and size_bytes > bytes_max:
                return tuple(found[:position])
        return tuple(found)

    def snapshot(self) -> SnapshotMetadata:
        return self._snapshot

    def kept(self) -> tuple[Entry, ...]:
        """Return every entry that is not compacted."""
        return tuple(self._entries)

    def append(self, entries: Sequence[Entry]) -> None:
        """Store `entries`, replacing a conflicting suffix. Raises `InvariantViolated` for a gap."""
        first = entries[0].index
        if not self.first_index() <= first <= self.last_index() + 1:
            raise InvariantViolated(f"entry {first} does not follow on [{self.first_index()}, {self.last_index()}]")
        del self._entries[first - self.first_index() :]
        self._entries.extend(entries)

    def compact(self, to: SnapshotMetadata) -> None:
        """Drop the entries up to `to.index`, which is in the log; `to.configuration` is the one applied there."""
        if to.index <= self._snapshot.index:
            return
        self._entry(to.index)
        del self._entries[: to.index - self._snapshot.index]
        self._snapshot = to

    def install(self, snapshot: SnapshotMetadata) -> None:
        """Replace the whole log by `snapshot`."""
        self._snapshot = snapshot
        self._entries.clear()

    def _entry(self, index: Index) -> Entry:
        if index < self.first_index():
            raise Compacted(index)
        if index > self.last_index():
            raise Unavailable(index)
        return self._entries[index - self.first_index()]
