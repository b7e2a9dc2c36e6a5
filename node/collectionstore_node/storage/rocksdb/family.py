"""Reading from a column family, with the ways in which the binding would hide an error closed off.

Read and tried in rocksdict 0.3.29:
- `items()` ends silently on an I/O error; `iter()` with `status()` tells;
- iterating a `Snapshot` shows what was written after it; a plain iterator is a consistent view of its own;
- iteration bounds in `ReadOptions` are pointers to memory that nothing keeps alive;
- `WriteBatch.delete_range` does not know the batch's default family: it must be given one.
"""

from __future__ import annotations

from collections.abc import Iterator

from rocksdict import ColumnFamily, Rdict

from collectionstore_node.storage.failstop import FailStop


class Family:
    """A column family; `handle` names it in batches. Every error is latched and raised as `StorageFailed`."""

    __slots__ = ("_data", "_failstop", "handle", "name")

    def __init__(self, name: str, data: Rdict, handle: ColumnFamily, failstop: FailStop) -> None:
        self.name = name
        self.handle = handle
        self._data = data
        self._failstop = failstop

    def get(self, key: bytes) -> bytes | None:
        """Return the value of `key`, or None."""
        self._failstop.check()
        try:
            value: bytes | None = self._data.get(key)
        except Exception as error:  # rocksdict raises nothing more specific
            raise self._failstop.fail(f"read from {self.name}", error) from error
        return value

    def scan(self, lo: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Return the pairs from `lo` on, in key order, as they are at the time of the call.

        An iterator that is not exhausted keeps its view, and RocksDB, open until it is collected.
        """
        self._failstop.check()
        try:
            cursor = self._data.iter()
            cursor.seek(lo)
        except Exception as error:  # rocksdict raises nothing more specific
            raise self._failstop.fail(f"read from {self.name}", error) from error

        def pairs() -> Iterator[tuple[bytes, bytes]]:
            while cursor.valid():
                yield cursor.key(), cursor.value()
                cursor.next()
            try:
                cursor.status()
            except Exception as error:  # rocksdict raises nothing more specific
                raise self._failstop.fail(f"read from {self.name}", error) from error

        return pairs()

    def flush(self) -> None:
        """Write the memtable to a synced table file. Blocks, without the GIL."""
        self._failstop.check()
        try:
            self._data.flush()
        except Exception as error:  # rocksdict raises nothing more specific
            raise self._failstop.fail(f"flush {self.name}", error) from error

    def reclaim(self, lo: bytes, hi: bytes) -> None:
        """Give the space of what was deleted in `[lo, hi)` back to the disk. Blocks, without the GIL.

        Deleting a range only writes that it is deleted; table files keep it until RocksDB merges them, which it does
        for reasons of its own.
        """
        self.flush()
        try:
            self._data.compact_range(lo, hi)
        except Exception as error:  # rocksdict raises nothing more specific
            raise self._failstop.fail(f"compact {self.name}", error) from error

    def int_property(self, name: str) -> int:
        """Return an integer property of this family; 0 when RocksDB does not know it."""
        self._failstop.check()
        return self._data.property_int_value(name) or 0

    def close(self) -> None:
        """Flush, and let go of RocksDB, which stays open while anybody holds a handle. Raises what rocksdict does."""
        del self.handle
        self._data.close()
