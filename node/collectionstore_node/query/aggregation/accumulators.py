"""Accumulators: what becomes of the values of a group, one class for each way to gather them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from typing import Final, Protocol

from collectionstore_node.documents.expressions.scope import VALUE_BYTES_MAX, absent, too_large
from collectionstore_node.documents.expressions.totals import Deviation, Total
from collectionstore_node.documents.values import MISSING, Value, inverted, sort_key
from collectionstore_node.errors import InvalidRequest
from collectionstore_node.query.aggregation.work import Work, unpacked

ACCUMULATOR_BYTES: Final = 256
"""What one takes beside the values that it keeps."""


KEY_BYTES_MAX: Final = 1 << 20
"""Of a value that is grouped by or compared."""


class Failed(Exception):
    """The values of a group do not fit. The message ends the sentence that the accumulator's name begins."""


class Accumulator(Protocol):
    """One accumulator of one group."""

    def add(self, value: Value, work: Work) -> None:
        """Take a value, `MISSING` among them. Raises `Failed` and `InvalidRequest`."""

    def result(self) -> Value:
        """Return what was gathered. Raises `Failed`."""


def checked_key(value: Value, work: Work) -> bytes:
    """Return the key of a value in the order of values, and count what that takes. Raises `InvalidRequest`."""
    scope = work.scope
    scope.steps = 0
    scope.visited(value)
    work.spend(0)
    key = sort_key(None if value is MISSING else value)
    if len(key) > KEY_BYTES_MAX:
        raise InvalidRequest("query_too_costly", f"a value to group or compare has more than {KEY_BYTES_MAX} bytes")
    return key


def _number(value: int | float | None) -> Value:
    if type(value) is int and not -(1 << 63) <= value < 1 << 64:
        value = float(value) if abs(value) < 1 << 1023 else None
    if type(value) is float and value in (float("inf"), float("-inf")):
        raise Failed("has a result that is no JSON number")
    return value


class Sum:
    """`$sum`: of the numbers among the values."""

    __slots__ = ("_total",)

    def __init__(self) -> None:
        self._total = Total()

    def add(self, value: Value, work: Work) -> None:
        """Add a number."""
        self._total.add(value)

    def result(self) -> Value:
        """Return the sum, 0 without numbers."""
        return _number(self._total.sum())


class Average(Sum):
    """`$avg`: of the numbers among the values."""

    __slots__ = ()

    def result(self) -> Value:
        """Return the mean, null without numbers."""
        return _number(self._total.mean())


class StandardDeviation:
    """`$stdDevPop` and `$stdDevSamp`."""

    __slots__ = ("_deviation", "_sample")

    def __init__(self, *, sample: bool) -> None:
        self._deviation = Deviation()
        self._sample = sample

    def add(self, value: Value, work: Work) -> None:
        """Add a number."""
        self._deviation.add(value)

    def result(self) -> Value:
        """Return the deviation, null for too few numbers."""
        return _number(self._deviation.of(sample=self._sample))


class _Kept:
    """One value at a time."""

    __slots__ = ("_size", "_value")

    def __init__(self) -> None:
        self._value: Value = MISSING
        self._size = 0

    def _keep(self, value: Value, work: Work) -> None:
        work.free(self._size)
        self._value, self._size = work.packed(value)
        work.keep(self._size)

    def result(self) -> Value:
        """Return the value, null if it was missing."""
        return None if self._value is MISSING else unpacked(self._value)


class First(_Kept):
    """`$first`."""

    __slots__ = ("_any",)

    def __init__(self) -> None:
        super().__init__()
        self._any = False

    def add(self, value: Value, work: Work) -> None:
        """Keep the first value."""
        if not self._any:
            self._any = True
            self._keep(value, work)


class Last(_Kept):
    """`$last`."""

    __slots__ = ()

    def add(self, value: Value, work: Work) -> None:
        """Keep the last value."""
        self._keep(value, work)


class Extreme(_Kept):
    """`$min` and `$max`, in the order of values; null and missing ones are ignored."""

    __slots__ = ("_greatest", "_key")

    def __init__(self, *, greatest: bool) -> None:
        super().__init__()
        self._greatest = greatest
        self._key: bytes | None = None

    def add(self, value: Value, work: Work) -> None:
        """Keep the greatest, or the smallest."""
        if absent(value):
            return
        key = checked_key(value, work)
        if self._key is None or (key > self._key if self._greatest else key < self._key):
            work.keep(len(key) - len(self._key or b""))
            self._key = key
            self._keep(value, work)


class Push:
    """`$push`: all values that are not missing."""

    __slots__ = ("_size", "_values")

    def __init__(self) -> None:
        self._values: list[Value] = []
        self._size = 0

    def add(self, value: Value, work: Work) -> None:
        """Keep a value."""
        if value is not MISSING:
            self._append(value, work)

    def result(self) -> Value:
        """Return the array."""
        return list(map(unpacked, self._values))

    def _append(self, value: Value, work: Work) -> None:
        kept, size = work.packed(value)
        work.keep(size)
        # BEFORE the array is made: it is as large as all of its texts.
        self._size += size
        if self._size > VALUE_BYTES_MAX:
            raise too_large()
        self._values.append(kept)


class AddToSet(Push):
    """`$addToSet`: the different values, in the order in which they came first."""

    __slots__ = ("_keys",)

    def __init__(self) -> None:
        super().__init__()
        self._keys: set[bytes] = set()

    def add(self, value: Value, work: Work) -> None:
        """Keep a value that is new."""
        if value is MISSING:
            return
        key = checked_key(value, work)
        if key not in self._keys:
            work.keep(len(key))
            self._keys.add(key)
            self._append(value, work)


class Several:
    """`$firstN`, `$lastN`, `$minN` and `$maxN`: at most `count` values."""

    __slots__ = ("_choose", "_count", "_kept", "_keys", "_size")

    def __init__(self, choose: str, count: int) -> None:
        self._choose = choose
        self._count = count
        self._kept: list[tuple[Value, int]] = []
        self._keys: list[bytes] = []
        """Of `$minN` and `$maxN`: ascending, and inverted for the greatest."""
        self._size = 0

    def add(self, value: Value, work: Work) -> None:
        """Keep a value if it is among them."""
        count, full = self._count, len(self._kept) == self._count
        match self._choose:
            case "$firstN" if not full:
                self._insert(count, None if value is MISSING else value, work)
            case "$lastN":
                self._insert(count, None if value is MISSING else value, work)
                if full:
                    self._drop(0, work)
            case "$minN" | "$maxN" if not absent(value):
                key = checked_key(value, work)
                key = inverted(key) if self._choose == "$maxN" else key
                at = bisect_right(self._keys, key)
                if at < count:
                    work.keep(len(key))
                    self._keys.insert(at, key)
                    self._insert(at, value, work)
                    if full:
                        self._drop(count, work)
                        work.free(len(self._keys.pop()))

    def result(self) -> Value:
        """Return the array."""
        return [unpacked(kept) for kept, _ in self._kept]

    def _insert(self, at: int, value: Value, work: Work) -> None:
        kept, size = work.packed(value)
        work.keep(size)
        self._size += size
        if self._size > VALUE_BYTES_MAX:
            raise too_large()
        self._kept.insert(at, (kept, size))

    def _drop(self, at: int, work: Work) -> None:
        _, size = self._kept.pop(at)
        self._size -= size
        work.free(size)


class MergeObjects:
    """`$mergeObjects`: of all objects, later fields in place of earlier ones."""

    __slots__ = ("_merged", "_size", "_sizes")

    def __init__(self) -> None:
        self._merged: dict[str, Value] = {}
        self._sizes: dict[str, int] = {}
        self._size = 0

    def add(self, value: Value, work: Work) -> None:
        """Add an object."""
        if absent(value):
            return
        if type(value) is not dict:
            raise Failed("takes objects")
        for name, one in value.items():
            kept, size = work.packed(one)
            size += 2 * len(name) + ACCUMULATOR_BYTES
            grown = size - self._sizes.get(name, 0)
            work.keep(grown)
            self._size += grown
            if self._size > VALUE_BYTES_MAX:
                raise too_large()
            self._merged[name], self._sizes[name] = kept, size

    def result(self) -> Value:
        """Return the object."""
        return {name: unpacked(kept) for name, kept in self._merged.items()}


SIMPLE: Final[dict[str, Callable[[], Accumulator]]] = {
    "$addToSet": AddToSet,
    "$avg": Average,
    "$first": First,
    "$last": Last,
    "$max": lambda: Extreme(greatest=True),
    "$mergeObjects": MergeObjects,
    "$min": lambda: Extreme(greatest=False),
    "$push": Push,
    "$stdDevPop": lambda: StandardDeviation(sample=False),
    "$stdDevSamp": lambda: StandardDeviation(sample=True),
    "$sum": Sum,
}
"""Accumulators of one expression."""

SEVERAL: Final = ("$firstN", "$lastN", "$maxN", "$minN")
"""Accumulators of `{"input": expression, "n": count}`."""
SEVERAL_MAX: Final = 1_000
