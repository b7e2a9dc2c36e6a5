"""A `View` held in memory: in place of RocksDB in a store without a disk, and in tests of what stands on it."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator

from collectionstore_node.statemachine.view import View, Writes


class MemoryView(View):
    """A sorted map in memory. `values` may be compared; change it through `commit` only."""

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}
        self._order: list[bytes] = []

    def get(self, key: bytes) -> bytes | None:
        """Return the value of `key`, or None."""
        return self.values.get(key)

    def scan(self, lo: bytes, hi: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield the pairs with `lo <= key < hi`, in key order, as they were at the call."""
        keys = self._order[bisect_left(self._order, lo) : bisect_left(self._order, hi)]
        return iter([(key, self.values[key]) for key in keys])

    def fixed(self) -> View:
        """Return a copy."""
        copy = MemoryView()
        copy.values, copy._order = dict(self.values), list(self._order)
        return copy

    def pick(self, keys: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
        """Yield the pairs of those of `keys` that exist, as they were at the call."""
        values = dict(self.values)
        return ((key, values[key]) for key in keys if key in values)

    def commit(self, writes: Writes) -> None:
        """Store `writes`."""
        for lo, hi in writes.dropped:
            start, end = bisect_left(self._order, lo), bisect_left(self._order, hi)
            for key in self._order[start:end]:
                del self.values[key]
            del self._order[start:end]
        for key, value in writes.values.items():
            self._set(key, value)

    def _set(self, key: bytes, value: bytes | None) -> None:
        if value is None:
            if key in self.values:
                del self.values[key]
                del self._order[bisect_left(self._order, key)]
            return
        if key not in self.values:
            insort(self._order, key)
        self.values[key] = value
