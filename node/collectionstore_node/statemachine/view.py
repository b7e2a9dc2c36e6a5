"""The state machine's access to storage: a sorted map of bytes to read, and an overlay of pending writes.

`View` is the port (RocksDB in production, a dict in tests); `Overlay` holds the pending writes of the entries being
applied over a view, so that later commands read the writes of earlier ones before anything is stored.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from collectionstore_node.statemachine.costs import READ_COST_BYTES
from collectionstore_node.statemachine.levels import FIRST


class View(Protocol):
    """A consistent, sorted map of keys to values."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value of `key`, or None."""

    def get_many(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        """Return the values of `keys`, in their order; as `get`, at a lower cost per key."""
        return [self.get(key) for key in keys]

    def scan(self, lo: bytes, hi: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield the pairs with `lo <= key < hi`, in key order."""

    def scan_ranges(self, ranges: Sequence[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
        """Yield the pairs in each of `ranges`, one after the other, all of one state, as `scan`."""
        return iter([pair for lo, hi in ranges for pair in self.scan(lo, hi)])

    def pick(self, keys: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
        """Yield the pairs of those of `keys` that exist, all of one state, as `scan`.

        `keys` are asked for one by one, as the pairs are, and need not be known at the call.
        """
        return ((key, value) for key in keys if (value := self.get(key)) is not None)

    def fixed(self) -> View:
        """Return the state as it is at the call, whatever is written later; a read of it ends the scan before it."""
        return self


class Writes:
    """Pending writes: `values[key]` is the new value or None for a delete; `dropped` are key ranges `[lo, hi)`.

    Ranges are dropped BEFORE values are written. They are disjoint and sorted.
    """

    __slots__ = ("dropped", "values")

    def __init__(self) -> None:
        self.values: dict[bytes, bytes | None] = {}
        self.dropped: list[tuple[bytes, bytes]] = []


class Overlay(View):
    """Pending writes over `base`, which is not modified; store `writes` when done.

    A batch of puts costs one dict. The pending keys are kept sorted only from the first scan or drop on.
    """

    __slots__ = ("_ahead", "_base", "_order", "cost", "journal", "level", "writes")

    def __init__(self, base: View) -> None:
        self._base = base
        self._ahead: dict[bytes, bytes | None] = {}
        self._order: list[bytes] | None = None
        self.writes = Writes()
        self.journal: list[bytes | tuple[bytes, bytes] | None] = []
        """The writes in order, for the digest: key and new value, or None for a delete; (lo, hi) for a range."""
        self.cost = 0
        """Bytes of the values that `get` has returned, and READ_COST_BYTES for each call; see `costs`."""
        self.level = FIRST
        """Feature level of the entry that is applied."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value of `key`, pending writes included, or None."""
        values = self.writes.values
        value: bytes | None
        if key in values:
            value = values[key]
        # AFTER the values: a key written after its range was dropped is in both.
        elif self.writes.dropped and self._is_dropped(key):
            value = None
        elif key in self._ahead:
            value = self._ahead[key]
        else:
            value = self._base.get(key)
        # The same for a pending value: which values are pending depends on how entries are grouped, and that differs
        # between replicas.
        self.cost += READ_COST_BYTES if value is None else READ_COST_BYTES + len(value)
        return value

    def read_ahead(self, keys: Sequence[bytes]) -> None:
        """Read `keys` of the base together, for the calls of `get` that follow. It costs nothing: `get` counts.

        What an earlier call has read is forgotten.
        """
        self._ahead = dict(zip(keys, self._base.get_many(keys), strict=True))

    def scan(self, lo: bytes, hi: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield the pairs with `lo <= key < hi`, in key order, pending writes as of the call included.

        The base is read lazily, and never inside a dropped range.
        """
        values = self.writes.values
        # Copied now: the caller may write, and drop ranges, while it iterates.
        pending = [(key, values[key]) for key in self._pending_keys(lo, hi)]
        gaps = self._gaps(lo, hi)
        return _merge(pending, (pair for gap in gaps for pair in self._base.scan(*gap)))

    def put(self, key: bytes, value: bytes) -> None:
        """Set `key` to `value`."""
        # As `_set`, without the call: this runs for every write.
        self.journal += (key, value)
        values = self.writes.values
        if self._order is not None and key not in values:
            insort(self._order, key)
        values[key] = value

    def put_unhashed(self, key: bytes, value: bytes) -> None:
        """Do as `put` for what follows from the other writes, and need not be in the digest with them."""
        values = self.writes.values
        if self._order is not None and key not in values:
            insort(self._order, key)
        values[key] = value

    def delete(self, key: bytes) -> None:
        """Delete `key`; no error if it is absent."""
        self._set(key, None)

    def drop_range(self, lo: bytes, hi: bytes) -> None:
        """Delete every key with `lo <= key < hi`, at a cost that does not depend on the number of keys in the base."""
        if lo >= hi:
            return
        # By range, not key by key: the base is not read, and its content may be large.
        self.journal.append((lo, hi))
        order = self._ordered()
        start, end = bisect_left(order, lo), bisect_left(order, hi)
        # Pending writes inside the range go now, because ranges are dropped BEFORE values when this is stored.
        for key in order[start:end]:
            del self.writes.values[key]
        del order[start:end]
        self._add_dropped(lo, hi)

    def _set(self, key: bytes, value: bytes | None) -> None:
        self.journal += (key, value)
        values = self.writes.values
        if self._order is not None and key not in values:
            insort(self._order, key)
        values[key] = value

    def _ordered(self) -> list[bytes]:
        if self._order is None:
            self._order = sorted(self.writes.values)
        return self._order

    def _pending_keys(self, lo: bytes, hi: bytes) -> list[bytes]:
        order = self._ordered()
        return order[bisect_left(order, lo) : bisect_left(order, hi)]

    def _is_dropped(self, key: bytes) -> bool:
        dropped = self.writes.dropped
        position = bisect_right(dropped, key, key=_start)
        return position > 0 and key < dropped[position - 1][1]

    def _add_dropped(self, lo: bytes, hi: bytes) -> None:
        """Insert `[lo, hi)`, merged with the ranges that it overlaps or touches."""
        dropped = self.writes.dropped
        first, last = bisect_left(dropped, lo, key=_end), bisect_right(dropped, hi, key=_start)
        if first < last:
            lo, hi = min(lo, dropped[first][0]), max(hi, dropped[last - 1][1])
        dropped[first:last] = [(lo, hi)]

    def _gaps(self, lo: bytes, hi: bytes) -> list[tuple[bytes, bytes]]:
        """Return the parts of `[lo, hi)` outside of the dropped ranges."""
        gaps = []
        dropped = self.writes.dropped
        for start, end in dropped[bisect_right(dropped, lo, key=_end) :]:
            if start >= hi:
                break
            if lo < start:
                gaps.append((lo, start))
            lo = end
        if lo < hi:
            gaps.append((lo, hi))
        return gaps


def _start(span: tuple[bytes, bytes]) -> bytes:
    return span[0]


def _end(span: tuple[bytes, bytes]) -> bytes:
    return span[1]


def _merge(
    pending: list[tuple[bytes, bytes | None]], base: Iterable[tuple[bytes, bytes]]
) -> Iterator[tuple[bytes, bytes]]:
    """Merge two sorted sequences; a pending value replaces the base's, and a pending None hides it."""
    position, count = 0, len(pending)
    for key, value in base:
        while position < count and pending[position][0] < key:
            written, new = pending[position]
            position += 1
            if new is not None:
                yield written, new
        if position < count and pending[position][0] == key:
            continue  # the pending value of this key is yielded before the next key, or at the end
        yield key, value
    for written, new in pending[position:]:
        if new is not None:
            yield written, new
