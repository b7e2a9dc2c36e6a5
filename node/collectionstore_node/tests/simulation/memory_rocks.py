"""RocksDB in memory: column families, a WAL that a crash may cut, and a disk that can fail, fill up and rot.

It stands in for `storage.rocks.Rocks` and `storage.family.Family` alone. All that lies above runs as it is: the log
with its checks, the state, snapshots and their installation, and the tail marker, which is a real file.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from random import Random
from typing import cast

from rocksdict import ColumnFamily, WriteBatch

from collectionstore_node.storage.corruption import Corrupted
from collectionstore_node.storage.failstop import FailStop
from collectionstore_node.storage.rocksdb.family import Family, FixedFamily
from collectionstore_node.storage.rocksdb.rocks import STATE_PREFIX, UNSYNCED_BATCHES_MAX, Rocks

_Change = tuple[str, bytes, bytes | None]
"""Family, key, value; a value of None removes the key."""
_Drop = tuple[str, bytes, bytes, None]
"""Family, and the range of keys to remove."""


class Pairs:
    """A sorted map of bytes; `scan` shows it as it was at the call, whatever is written meanwhile."""

    def __init__(self) -> None:
        self._values: dict[bytes, bytes] = {}
        self._order: list[bytes] = []
        self._viewed = 0

    def __len__(self) -> int:
        return len(self._order)

    def get(self, key: bytes) -> bytes | None:
        """Return the value of `key`, or None."""
        return self._values.get(key)

    def put(self, key: bytes, value: bytes | None) -> None:
        """Set `key`, or remove it."""
        self._own()
        if value is None:
            if self._values.pop(key, None) is not None:
                del self._order[bisect_left(self._order, key)]
            return
        if key not in self._values:
            insort(self._order, key)
        self._values[key] = value

    def drop(self, lo: bytes, hi: bytes) -> None:
        """Remove every key with `lo <= key < hi`."""
        self._own()
        start, end = bisect_left(self._order, lo), bisect_left(self._order, hi)
        for key in self._order[start:end]:
            del self._values[key]
        del self._order[start:end]

    def scan(self, lo: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Return the pairs from `lo` on."""
        self._viewed += 1
        return self._pairs(lo, self._order, self._values)

    def items(self) -> list[tuple[bytes, bytes]]:
        """Return all pairs in order."""
        return [(key, self._values[key]) for key in self._order]

    def copy(self) -> Pairs:
        """Return another map with the same pairs."""
        pairs = Pairs()
        pairs._values, pairs._order = dict(self._values), list(self._order)
        return pairs

    def _pairs(self, lo: bytes, order: list[bytes], values: dict[bytes, bytes]) -> Iterator[tuple[bytes, bytes]]:
        try:
            for at in range(bisect_left(order, lo), len(order)):
                yield order[at], values[order[at]]
        finally:
            if order is self._order:
                self._viewed -= 1

    def _own(self) -> None:
        """Leave what is being looked at to those who look, before changing it."""
        if self._viewed:
            self._values, self._order, self._viewed = dict(self._values), list(self._order), 0


class Batch:
    """A write batch: puts and deletes in their order; of `rocksdict.WriteBatch` as much as the storage uses."""

    def __init__(self, family: str) -> None:
        self.family = family
        self.changes: list[_Change | _Drop] = []
        self._bytes = 0

    def __setitem__(self, key: bytes, value: bytes) -> None:
        self.put(key, value)

    def __delitem__(self, key: bytes) -> None:
        self.changes.append((self.family, key, None))

    def put(self, key: bytes, value: bytes, handle: object = None) -> None:
        """Set `key` in the family of `handle`, or in the batch's own."""
        self._bytes += len(key) + len(value)
        self.changes.append((self.family if handle is None else cast(str, handle), key, value))

    def delete_range(self, lo: bytes, hi: bytes, handle: object) -> None:
        """Remove every key with `lo <= key < hi` in the family of `handle`."""
        self.changes.append((cast(str, handle), lo, hi, None))

    def size_in_bytes(self) -> int:
        """Return about how much it writes."""
        return self._bytes

    def deleted_bytes(self, families: dict[str, Pairs]) -> int:
        """Return the size of the values of single keys that it removes."""
        return sum(
            len(families[change[0]].get(change[1]) or b"")
            for change in self.changes
            if len(change) == 3 and change[2] is None and change[0] in families
        )

    def apply(self, families: dict[str, Pairs]) -> None:
        """Do what it says; families that are gone are left out, as RocksDB does when it replays."""
        for change in self.changes:
            pairs = families.get(change[0])
            if pairs is None:
                continue
            if len(change) == 4:
                pairs.drop(change[1], change[2])
            else:
                pairs.put(change[1], change[2])


@dataclass(slots=True)
class Faults:
    """The faults of the disk, set by the fault injector."""

    fail_sync: bool = False
    """The next sync reports an error."""
    full: bool = False
    """Nothing can be written."""
    on_sync: Callable[[], None] | None = None
    """Called at every sync that succeeds."""
    available_bytes: int | None = None
    """What other files left of the disk, without the reserve; None: plenty. Writes take of it."""


@dataclass(slots=True)
class RocksDisk:
    """What RocksDB has on disk. It survives the process; the WAL's end may not survive a loss of power."""

    families: dict[str, Pairs] = field(default_factory=dict)
    wal: list[Batch] = field(default_factory=list)
    """Written and not synced, in order."""
    faults: Faults = field(default_factory=Faults)

    reserve_bytes: int = 0
    """What the reserve holds."""
    freed_bytes: int = 0
    """Of what was deleted and not reclaimed yet."""

    def take(self, size: int) -> bool:
        """Take the space of a write, of the reserve when nothing else is left; return whether it fits."""
        left = self.faults.available_bytes
        if left is None:
            return True
        if left + self.reserve_bytes < size:
            return False
        self.faults.available_bytes = max(0, left - size)
        self.reserve_bytes -= max(0, size - left)
        return True

    def lose_power(self, random: Random) -> int:
        """Keep a random beginning of what was not synced and return how many batches are lost."""
        kept = random.randint(0, len(self.wal))
        lost = len(self.wal) - kept
        del self.wal[kept:]
        return lost

    def sync(self) -> None:
        """Make the WAL durable."""
        for batch in self.wal:
            batch.apply(self.families)
        self.wal.clear()


class MemoryFamily(Family):
    """A column family in memory; its handle is its name."""

    def __init__(self, name: str, rocks: MemoryRocks, failstop: FailStop) -> None:
        self.name = name
        self.handle = cast(ColumnFamily, name)
        self._rocks = rocks
        self._failstop = failstop
        self._keys = None

    def get(self, key: bytes) -> bytes | None:
        """Return the value of `key`, or None."""
        self._failstop.check()
        return self._rocks.view[self.name].get(key)

    def get_many(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        """Return the values of `keys`, in their order."""
        return [self.get(key) for key in keys]

    def scan(self, lo: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Return the pairs from `lo` on, as they are at the time of the call."""
        self._failstop.check()
        pairs = self._rocks.view[self.name].scan(lo)
        return pairs

    def scan_all(self) -> Iterator[tuple[bytes, bytes]]:
        """Return all pairs, as `scan`: there is no cache."""
        return self.scan(b"")

    def scan_ranges(self, ranges: Sequence[tuple[bytes, bytes]], skipped_max: int) -> Iterator[tuple[bytes, bytes]]:
        """Yield the pairs in each of `ranges`, as of the call: what is deleted costs nothing in memory."""
        del skipped_max
        found = [self.scan(lo) for lo, _ in ranges]
        return (
            pair
            for pairs, (_, hi) in zip(found, ranges, strict=True)
            for pair in takewhile(lambda one, hi=hi: one[0] < hi, pairs)  # type: ignore[misc]
        )

    def pick(self, keys: Iterable[bytes], skipped_max: int) -> Iterator[tuple[bytes, bytes]]:
        """Yield the pairs of those of `keys` that exist, as of the call."""
        del skipped_max
        self._failstop.check()
        state = self._rocks.view[self.name].copy()
        return ((key, value) for key in keys if (value := state.get(key)) is not None)

    def fixed(self, skipped_max: int) -> FixedFamily:
        """Return the family as it is at the time of the call."""
        del skipped_max
        self._failstop.check()
        return MemoryFixed(self._rocks.view[self.name].copy())

    def flush(self) -> None:
        """Make durable what was written to this family outside the WAL."""
        self._rocks.flush(self.name)

    def reclaim(self, lo: bytes, hi: bytes, *, markers: bool = False) -> None:
        """Flush: what is deleted holds no space in memory."""
        del lo, hi, markers
        self.flush()

    def int_property(self, name: str) -> int:
        """Return 0: there are no figures."""
        del name
        self._failstop.check()
        return 0

    def close(self) -> None:
        """Nothing is held."""


class MemoryFixed(FixedFamily):
    """A column family in memory as it was when this was made; a scan must not go on behind another read."""

    __slots__ = ("_reads", "_state")

    def __init__(self, state: Pairs) -> None:
        self._state = state
        self._reads = 0

    def scan_ranges(self, ranges: Sequence[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
        """Yield the pairs in each of `ranges`."""
        return self._current(
            pair
            for lo, hi in ranges
            for pair in takewhile(lambda one, hi=hi: one[0] < hi, self._state.scan(lo))  # type: ignore[misc]
        )

    def pick(self, keys: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
        """Yield the pairs of those of `keys` that exist."""
        return self._current((key, value) for key in keys if (value := self._state.get(key)) is not None)

    def _current(self, pairs: Iterator[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
        self._reads += 1
        return self._while(pairs, self._reads)

    def _while(self, pairs: Iterator[tuple[bytes, bytes]], read: int) -> Iterator[tuple[bytes, bytes]]:
        for pair in pairs:
            if read != self._reads:
                raise RuntimeError("a scan goes on although another read has moved its cursor")
            yield pair


class MemoryRocks(Rocks):
    """An open database on a `RocksDisk`. Every method of `Rocks` that the storage uses is here."""

    def __init__(self, disk: RocksDisk, failstop: FailStop) -> None:
        self.path = Path("memory")
        self.disk = disk
        self._failstop = failstop
        # What is replayed goes to synced tables.
        disk.sync()
        self.view = {name: pairs.copy() for name, pairs in disk.families.items()}
        """What was written, durable or not."""
        self._families: dict[str, Family] = {name: MemoryFamily(name, self, failstop) for name in self.view}
        self._unlogged: dict[str, list[Batch]] = {}
        self.hit = False
        """Whether an injected fault was met."""

    def family(self, name: str) -> Family:
        """Return an existing column family. Raises `Corrupted` when there is none of that name."""
        if name not in self._families:
            raise Corrupted(f"The column family {name!r} is missing.")
        return self._families[name]

    def create_state(self) -> Family:
        """Create an empty state family under a name not in use, durably."""
        self._check_writable("create a column family")
        number = 1 + max((int(name.removeprefix(STATE_PREFIX)) for name in self.state_names()), default=0)
        name = f"{STATE_PREFIX}{number}"
        self.view[name], self.disk.families[name] = Pairs(), Pairs()
        family = self._families[name] = MemoryFamily(name, self, self._failstop)
        return family

    def drop(self, name: str) -> None:
        """Delete a family, durably."""
        self._check_writable("drop a column family")
        for known in (self.view, self.disk.families, self._families):
            known.pop(name)
        self._unlogged.pop(name, None)

    def batch(self, family: Family) -> WriteBatch:
        """Return an empty batch whose default family is `family`."""
        self._failstop.check()
        return cast(WriteBatch, Batch(family.name))

    def write(self, batch: WriteBatch) -> None:
        """Write to the view and, unsynced, to the WAL."""
        self._check_writable("write")
        if len(self.disk.wal) >= UNSYNCED_BATCHES_MAX:
            self.sync_wal()
        written = cast(Batch, batch)
        if not self.disk.take(written.size_in_bytes()):
            # Not `hit`: no end is explained by it, as what is in flight fits into the reserve.
            raise self._failstop.fail("write", "IO error: No space left on device")
        self.disk.freed_bytes += written.deleted_bytes(self.view)
        written.apply(self.view)
        self.disk.wal.append(written)

    def write_unlogged(self, batch: WriteBatch) -> None:
        """Write to the view only; a flush makes it durable."""
        self._check_writable("write")
        written = cast(Batch, batch)
        written.apply(self.view)
        self._unlogged.setdefault(written.family, []).append(written)

    def sync_wal(self) -> None:
        """Make durable everything written so far."""
        self._failstop.check()
        faults = self.disk.faults
        if faults.fail_sync:
            # The write is in the page cache, marked clean: whether it is on the disk is unknown.
            self.hit = True
            raise self._failstop.fail("sync the WAL", "IO error: Input/output error")
        self.disk.sync()
        if faults.on_sync is not None:
            faults.on_sync()

    def flush(self, name: str) -> None:
        """Make durable what was written to a family outside the WAL."""
        self._check_writable(f"flush {name}")
        for batch in self._unlogged.pop(name, []):
            batch.apply(self.disk.families)

    def int_property(self, name: str) -> int:
        """Return 0: there are no figures."""
        del name
        self._failstop.check()
        return 0

    def close(self) -> None:
        """Refuse every later call."""
        self._failstop.close()

    def _check_writable(self, action: str) -> None:
        self._failstop.check()
        if self.disk.faults.full:
            self.hit = True
            raise self._failstop.fail(action, "IO error: No space left on device")
