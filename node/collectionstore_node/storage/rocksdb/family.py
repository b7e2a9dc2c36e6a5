"""Reads from a column family, without the ways in which the binding hides errors.

Found in the source of rocksdict 0.3.29 and confirmed by test:
- `items()` ends silently on an I/O error; `iter()` with `status()` reports it;
- iterators of a `Snapshot` show later writes; a plain iterator is a consistent view;
- iteration bounds in `ReadOptions` are pointers to memory that is not kept alive;
- an iterator does not keep the handle of its family, and uses it in every seek: without one the process crashes;
- `WriteBatch.delete_range` ignores the batch's default family: it needs an explicit one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, cast

from rocksdict import BottommostLevelCompaction, ColumnFamily, CompactOptions, Rdict, RdictIter, ReadOptions, WriteBatch

from collectionstore_node.errors import InvariantViolated, ManyDeleted, NodeError, ReadTimedOut
from collectionstore_node.storage.corruption import Corrupted
from collectionstore_node.storage.encryption.sealing import DataKeys
from collectionstore_node.storage.failstop import FailStop

READAHEAD_BYTES: Final = 256 << 10
"""What a pass over everything reads from a file at once: a block at a time would be a call of the kernel for 4 KiB."""
_RAW_SIZE: Final = re.compile(r"raw (?:key|value) size=(\d+)")


class Family:
    """A column family; `handle` names it in batches. Every error is latched and raised as `StorageFailed`.

    But a read of a family that a snapshot has replaced, by a thread that began before, raises `ReadTimedOut`.
    """

    __slots__ = ("_closed", "_data", "_failstop", "_keys", "_kind", "handle", "name")

    def __init__(
        self,
        name: str,
        data: Rdict,
        handle: ColumnFamily,
        failstop: FailStop,
        keys: DataKeys | None = None,
        kind: bytes = b"",
    ) -> None:
        """`keys` seal and open the values, if they are encrypted; `kind` says what they are of, in one byte."""
        self.name = name
        self.handle = handle
        self._keys = keys
        self._kind = kind
        self._data = data
        self._failstop = failstop
        self._closed = False

    def get(self, key: bytes) -> bytes | None:
        """Return the value of `key`, or None."""
        self._failstop.check()
        try:
            value: bytes | None = self._data.get(key)
        except Exception as error:  # rocksdict raises nothing more specific
            raise self._unread(error) from error
        return value if self._keys is None or value is None else self._open(key, value)

    def get_many(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        """Return the values of `keys`, in their order."""
        self._failstop.check()
        try:
            # A list for a list of keys; the binding's types do not say so.
            values = cast(Sequence[bytes | None], self._data.get(list(keys)))
        except Exception as error:  # rocksdict raises nothing more specific
            raise self._unread(error) from error
        if self._keys is None:
            return values
        return [None if one is None else self._open(key, one) for key, one in zip(keys, values, strict=True)]

    @property
    def seal(self) -> Callable[[bytes, bytes], bytes] | None:
        """What a value must be passed through, with its key, before it is put into a batch; None for nothing."""
        return None if self._keys is None else self._seal

    def _seal(self, key: bytes, value: bytes) -> bytes:
        if self._keys is None:
            raise InvariantViolated("a family without keys seals nothing")
        return self._keys.seal(self._kind + key, value)

    def _open(self, key: bytes, value: bytes) -> bytes:
        if self._keys is None:
            return value
        try:
            return self._keys.open(self._kind + key, value)
        except Corrupted as error:
            raise self._failstop.fail(f"read from {self.name}", error) from error

    def stale_values(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield the keys whose values the current data key has not sealed, each with its value as that seals it."""
        keys = self._keys
        if keys is None:
            return
        for key, value in self._scan_stored(b"", _once()):
            if not keys.is_current(value):
                yield key, keys.seal(self._kind + key, self._open(key, value))

    def scan_all(self) -> Iterator[tuple[bytes, bytes]]:
        """Return all pairs, as `scan`, and leave the block cache as it is.

        What is read once would take the place of what clients read again and again.
        """
        return self._scan(b"", _once())

    def scan(self, lo: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Return the pairs from `lo` on, in key order, as of the call.

        An iterator that is not exhausted keeps its view, and RocksDB, open until it is garbage-collected.
        """
        return self._scan(lo, None)

    def _scan(self, lo: bytes, options: ReadOptions | None) -> Iterator[tuple[bytes, bytes]]:
        stored = self._scan_stored(lo, options)
        return stored if self._keys is None else ((key, self._open(key, value)) for key, value in stored)

    def _scan_stored(self, lo: bytes, options: ReadOptions | None) -> Iterator[tuple[bytes, bytes]]:
        """Yield keys and values as they are stored."""
        self._failstop.check()
        try:
            handle = self.handle
            cursor = self._data.iter(options)
            cursor.seek(lo)
        except Exception as error:  # rocksdict raises nothing more specific
            raise self._unread(error) from error

        # With its handle, as the family may be dropped meanwhile.
        def pairs(_handle: ColumnFamily = handle) -> Iterator[tuple[bytes, bytes]]:
            while cursor.valid():
                yield cursor.key(), cursor.value()
                cursor.next()
            # `valid()` is false at the end AND after an error. Without this check an unreadable block would look like
            # the end of the log (databendlabs/openraft#1795).
            try:
                cursor.status()
            except Exception as error:  # rocksdict raises nothing more specific
                raise self._unread(error) from error

        return pairs()

    def scan_bounded(self, lo: bytes, hi: bytes, skipped_max: int) -> Iterator[tuple[bytes, bytes]]:
        """Return the pairs with `lo <= key < hi`, as `scan`; skip at most `skipped_max` deleted keys in a row.

        Raises `ManyDeleted` beyond that. RocksDB skips them within one call that holds the interpreter, 0.13 us each
        (measured), so a million of them would hold the event loop for as long as an election.
        """
        return self.scan_ranges(((lo, hi),), skipped_max)

    def scan_ranges(self, ranges: Sequence[tuple[bytes, bytes]], skipped_max: int) -> Iterator[tuple[bytes, bytes]]:
        """Return the pairs in each of `ranges`, one after the other, as `scan_bounded`, all as of the call."""
        return self.fixed(skipped_max).scan_ranges(ranges)

    def pick(self, keys: Iterable[bytes], skipped_max: int) -> Iterator[tuple[bytes, bytes]]:
        """Return the pairs of those of `keys` that exist, as they are at the time of the call.

        `keys` are asked for one by one. Skips at most `skipped_max` deleted keys behind one of them.
        """
        return self.fixed(skipped_max).pick(keys)

    def fixed(self, skipped_max: int) -> FixedFamily:
        """Return the family as it is at the time of the call, for bounded scans one after another."""
        self._failstop.check()
        options = ReadOptions()
        options.set_max_skippable_internal_keys(skipped_max)
        try:
            handle = self.handle
            cursor = self._data.iter(options)
        except Exception as error:  # rocksdict raises nothing more specific
            raise self._unread(error) from error
        return FixedFamily(self, cursor, handle, self._failstop, None if self._keys is None else self._open)

    def flush(self) -> None:
        """Flush the memtable to a synced table file. Blocks, without the GIL."""
        self._failstop.check()
        try:
            self._data.flush()
        except Exception as error:  # rocksdict raises nothing more specific
            raise self._failstop.fail(f"flush {self.name}", error) from error

    def reclaim(self, lo: bytes, hi: bytes, *, markers: bool = False) -> None:
        """Free the disk space of what was deleted in `[lo, hi)`. Blocks, without the GIL.

        With `markers`, the marks of deleted keys go too, which takes rewriting the lowest level of the range.
        `delete_range` only writes a tombstone; table files keep the data until a compaction, which RocksDB
        schedules by the size of levels, not by tombstones.
        """
        self.flush()
        self.compact(lo, hi, markers=markers)

    def compact(self, lo: bytes, hi: bytes, *, markers: bool = False) -> None:
        """Compact `[lo, hi)` down to the last level, with `markers` that level too. Blocks, without the GIL."""
        self._failstop.check()
        options = CompactOptions()
        if markers:
            options.set_bottommost_level_compaction(BottommostLevelCompaction.force_optimized())
        try:
            self._data.compact_range(lo, hi, options)
        except Exception as error:  # rocksdict raises nothing more specific
            raise self._failstop.fail(f"compact {self.name}", error) from error

    def int_property(self, name: str) -> int:
        """Return an integer property of this family; 0 if RocksDB has no such property."""
        self._failstop.check()
        return self._data.property_int_value(name) or 0

    def raw_bytes(self) -> int:
        """Return the size of all keys and values in table files, before compression; deleted ones too."""
        self._failstop.check()
        described = self._data.property_value("rocksdb.aggregated-table-properties") or ""
        return sum(map(int, _RAW_SIZE.findall(described)))

    def close(self) -> None:
        """Flush and release the family. Raises rocksdict's exceptions."""
        # FIRST: another thread may be about to read.
        self._closed = True
        # RocksDB stays open as long as one handle exists, and its own lock file with it.
        del self.handle
        self._data.close()

    def _unread(self, error: Exception) -> NodeError:
        if self._closed:
            return ReadTimedOut("a snapshot has replaced the state since the read began")
        return self._failstop.fail(f"read from {self.name}", error)


def put_all(batch: WriteBatch, family: Family, pairs: Iterable[tuple[bytes, bytes]]) -> None:
    """Put pairs into a batch whose default family is `family`, as they are stored there."""
    seal = family.seal
    for key, value in pairs:
        batch[key] = value if seal is None else seal(key, value)


def _once() -> ReadOptions:
    """Return how everything is read once."""
    options = ReadOptions()
    # Positional in the binding, and missing in its types.
    options.fill_cache(False)  # type: ignore[call-arg]  # noqa: FBT003
    options.set_readahead_size(READAHEAD_BYTES)
    return options


class FixedFamily:
    """A column family as it was when this was made: one cursor, which every read moves.

    A scan is at its end when another read has begun. It keeps its view, and RocksDB, open until it is
    garbage-collected.
    """

    __slots__ = ("_cursor", "_failstop", "_family", "_handle", "_open")

    def __init__(
        self,
        family: Family,
        cursor: RdictIter,
        handle: ColumnFamily,
        failstop: FailStop,
        opened: Callable[[bytes, bytes], bytes] | None,
    ) -> None:
        """`opened` opens a stored value, with its key; None if values are stored as they are."""
        self._family = family
        self._open = opened
        self._cursor = cursor
        # Kept for the cursor: a snapshot may replace the family, and a query goes on with what it began.
        self._handle = handle
        self._failstop = failstop

    def scan_ranges(self, ranges: Sequence[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
        """Return the pairs in each of `ranges`, in key order, one range after the other. Raises `ManyDeleted`."""
        cursor, opened = self._cursor, self._open

        def pairs() -> Iterator[tuple[bytes, bytes]]:
            for lo, hi in ranges:
                last = lo
                cursor.seek(lo)
                while cursor.valid():
                    last = cursor.key()
                    if last >= hi:
                        break
                    yield last, cursor.value() if opened is None else opened(last, cursor.value())
                    cursor.next()
                else:
                    if self._gave_up() and self._has_more(last, hi):
                        raise ManyDeleted(lo=last, hi=hi)

        return pairs()

    def pick(self, keys: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
        """Return the pairs of those of `keys` that exist."""
        cursor, opened = self._cursor, self._open

        def pairs() -> Iterator[tuple[bytes, bytes]]:
            for key in keys:
                cursor.seek(key)
                if cursor.valid():
                    if cursor.key() == key:
                        yield key, cursor.value() if opened is None else opened(key, cursor.value())
                elif self._gave_up():
                    # Behind the key too much was deleted for the cursor to find the next one. Whether the key itself
                    # exists can be asked alone; what was written to it since the call is then seen.
                    value = self._family.get(key)
                    if value is not None:
                        yield key, value

        return pairs()

    def _gave_up(self) -> bool:
        """Whether an invalid cursor stands before too many deleted keys; False at the end."""
        try:
            self._cursor.status()
        except Exception as error:  # rocksdict raises nothing more specific
            if "Result incomplete" in str(error):
                return True
            raise self._failstop.fail(f"read from {self._family.name}", error) from error
        return False

    def _has_more(self, last: bytes, hi: bytes) -> bool:
        """Whether there may be keys between `last` and `hi`: the deleted ones may lie behind `hi`."""
        cursor = self._cursor
        # Backwards from `hi`, as RocksDB's upper bounds cannot be used (see above).
        cursor.seek_for_prev(hi)
        if cursor.valid() and cursor.key() == hi:
            cursor.prev()
        return self._gave_up() if not cursor.valid() else bool(cursor.key() > last)
