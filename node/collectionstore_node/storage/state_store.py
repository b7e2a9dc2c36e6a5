"""The state machine's data in RocksDB, with the index up to which the log is applied.

Invariants:
- `applied` is written in the same batch and column family as the writes that it covers, so no entry is applied twice or
  skipped after a crash;
- nothing here is synced: the log can replay it, and compaction waits until it is durable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, TypeAlias

import msgspec

from collectionstore_node.errors import InvariantViolated
from collectionstore_node.raft.messages import SnapshotMetadata, decode_metadata, encode
from collectionstore_node.statemachine.view import View, Writes
from collectionstore_node.storage.corruption import Corrupted
from collectionstore_node.storage.rocksdb.family import Family, FixedFamily
from collectionstore_node.storage.rocksdb.rocks import Rocks

Applied: TypeAlias = SnapshotMetadata
"""The last applied entry, and the configuration active there."""

APPLIED_KEY: Final = b""
"""Sorts before every key of the state machine, so that an export reads it first, in the same iterator view."""
_FIRST_KEY: Final = b"\x00"
_LAST_KEY: Final = b"\xff" * 8
"""Sorts after every key of the state machine."""
SKIPPED_MAX: Final = 20_000
"""Deleted keys in a row that the scan of a client may meet; 3 ms of the event loop (measured)."""


class StateStore(View):
    """The live state. `get` and `scan` see everything committed, whether synced or not."""

    def __init__(self, rocks: Rocks, family: Family) -> None:
        """Read the applied position. Raises `Corrupted` if it cannot be decoded."""
        self._rocks = rocks
        self.family = family
        """The active column family; a snapshot install replaces it."""
        self.applied: Applied = self._read_applied()
        self._deleted: tuple[bytes, bytes] | None = (_FIRST_KEY, _LAST_KEY)
        """The range that covers everything deleted since the last `reclaim_space`; at a start it is unknown: all."""
        self.reader: View = StateReader(self)
        """The same for requests of clients."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value of `key`, or None."""
        # The empty key is the applied position, which is no part of the state machine's data.
        return self.family.get(key) if key else None

    def get_many(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        """Return the values of `keys`, none of which is empty, in their order."""
        return self.family.get_many(keys)

    def scan(self, lo: bytes, hi: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Return the pairs with `lo <= key < hi`, in key order, as they are at the time of the call.

        An iterator that is not exhausted keeps its view alive; do not hold one across requests.
        """
        return _below(self.family.scan(lo or _FIRST_KEY), hi)

    def commit(self, writes: Writes, applied: Applied) -> None:
        """Store `writes` and `applied` in one batch, unsynced. Raises `InvariantViolated` unless `applied` advances."""
        if applied.index <= self.applied.index:
            raise InvariantViolated(f"entry {applied.index} applied after entry {self.applied.index}")
        if APPLIED_KEY in writes.values:
            raise InvariantViolated("the empty key is reserved for the applied position")
        batch = self._rocks.batch(self.family)
        # Ranges BEFORE values: a value written after a drop of its range, in the same batch, must stay. A batch applies
        # its operations in order. rocksdict ignores the batch's default family for ranges, hence the handle.
        for lo, hi in writes.dropped:
            batch.delete_range(lo or _FIRST_KEY, hi, self.family.handle)
            self._note_deleted(lo or _FIRST_KEY, hi)
        seal = self.family.seal
        for key, value in writes.values.items():
            if value is None:
                del batch[key]
                self._note_deleted(key, key + _FIRST_KEY)
            else:
                batch[key] = value if seal is None else seal(key, value)
        at = encode(applied)
        batch[APPLIED_KEY] = at if seal is None else seal(APPLIED_KEY, at)
        self._rocks.write(batch)
        self.applied = applied

    @property
    def has_deleted(self) -> bool:
        """Whether anything was deleted since the last `reclaim_space`; at a start this is unknown, and counts as so."""
        return self._deleted is not None

    def reclaim_space(self, available: Callable[[], int]) -> None:
        """Free the space of what was deleted since the last call, if `available()` bytes suffice for doing so. Blocks.

        A compaction writes its output before it deletes its input. The output is at most what is live, so with less
        than that available nothing is done: running out of space in the middle would stop RocksDB.
        """
        deleted, self._deleted = self._deleted, None
        if deleted is None:
            return
        self.family.flush()
        if self.family.int_property("rocksdb.estimate-live-data-size") >= available():
            # Later, when more was deleted or something else made room.
            self._note_deleted(*deleted)
            return
        self.family.compact(*deleted)

    def _note_deleted(self, lo: bytes, hi: bytes) -> None:
        known = self._deleted
        self._deleted = (lo, hi) if known is None else (min(lo, known[0]), max(hi, known[1]))

    def reclaim(self, lo: bytes, hi: bytes) -> None:
        """Drop what is left of deleted keys in `[lo, hi)`. Blocks, without the GIL; for a thread."""
        self.family.reclaim(lo, hi, markers=True)

    def switch(self, family: Family) -> None:
        """Switch to `family`, which a snapshot install has filled."""
        self.family = family
        self.applied = self._read_applied()

    def _read_applied(self) -> Applied:
        data = self.family.get(APPLIED_KEY)
        try:
            return Applied() if data is None else decode_metadata(data)
        except msgspec.DecodeError as error:
            raise Corrupted(f"The applied position of the state machine cannot be decoded ({error}).") from error


class StateReader(View):
    """The live state as requests of clients read it. Their scans are bounded; those that apply entries must end."""

    def __init__(self, state: StateStore) -> None:
        self._state = state

    def get(self, key: bytes) -> bytes | None:
        """Return the value of `key`, or None."""
        return self._state.get(key)

    def scan(self, lo: bytes, hi: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Return the pairs with `lo <= key < hi`, as `StateStore.scan`. Raises `ManyDeleted`."""
        return self._state.family.scan_bounded(lo or _FIRST_KEY, hi, SKIPPED_MAX)

    def scan_ranges(self, ranges: Sequence[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
        """Return the pairs in each of `ranges`, as they are at the time of the call. Raises `ManyDeleted`."""
        return self._state.family.scan_ranges(ranges, SKIPPED_MAX)

    def pick(self, keys: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
        """Return the pairs of those of `keys` that exist, as they are at the time of the call."""
        return self._state.family.pick(keys, SKIPPED_MAX)

    def fixed(self) -> View:
        """Return the state as it is at the time of the call."""
        return _FixedState(self._state.family.fixed(SKIPPED_MAX))


class _FixedState(View):
    """The state as it was at a time."""

    def __init__(self, family: FixedFamily) -> None:
        self._family = family

    def get(self, key: bytes) -> bytes | None:
        """Return the value that `key` had, or None."""
        return next((value for _, value in self._family.pick((key,))), None)

    def scan(self, lo: bytes, hi: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Return the pairs with `lo <= key < hi`. Raises `ManyDeleted`."""
        return self.scan_ranges(((lo or _FIRST_KEY, hi),))

    def scan_ranges(self, ranges: Sequence[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
        """Return the pairs in each of `ranges`. Raises `ManyDeleted`."""
        return self._family.scan_ranges(ranges)

    def pick(self, keys: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
        """Return the pairs of those of `keys` that existed."""
        return self._family.pick(keys)


def _below(pairs: Iterator[tuple[bytes, bytes]], hi: bytes) -> Iterator[tuple[bytes, bytes]]:
    for pair in pairs:
        if pair[0] >= hi:
            return
        yield pair
