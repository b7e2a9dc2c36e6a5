"""Sums of any number of numbers: exact until they are read, so that their order does not matter."""

from __future__ import annotations

import math
from typing import Final

from collectionstore_node.documents.values import Value

_SCALE: Final = 1_074
"""Every float is a multiple of 2**-1074."""


class Total:
    """The sum and the count of numbers."""

    __slots__ = ("_floats", "_integers", "_scaled", "count")

    def __init__(self) -> None:
        self._integers = 0
        self._floats = False
        self._scaled = 0
        """The sum of the floats, times 2**1074: an integer of at most 2,100 bits, and one for each doubling."""
        self.count = 0

    def add(self, value: Value) -> None:
        """Add a number; other values are ignored."""
        kind = type(value)
        if kind is int:
            self._integers += value
        elif kind is float:
            self._floats = True
            numerator, denominator = value.as_integer_ratio()
            self._scaled += numerator << (_SCALE + 1 - denominator.bit_length())
        else:
            return
        self.count += 1

    def sum(self) -> int | float:
        """Return the sum: an integer if all numbers are, else the float next to it. It may be infinite."""
        return _quotient(self._all(), 1 << _SCALE) if self._floats else self._integers

    def mean(self) -> float | None:
        """Return the float next to the mean of the numbers, None without any."""
        return _quotient(self._all(), self.count << _SCALE) if self.count else None

    def _all(self) -> int:
        return self._scaled + (self._integers << _SCALE)


class Deviation:
    """The standard deviation of numbers, by Welford's method."""

    __slots__ = ("_mean", "_squares", "count")

    def __init__(self) -> None:
        self.count = 0
        self._mean = 0.0
        self._squares = 0.0

    def add(self, value: Value) -> None:
        """Add a number; other values are ignored."""
        if type(value) is not int and type(value) is not float:
            return
        self.count += 1
        away = value - self._mean
        self._mean += away / self.count
        self._squares += away * (value - self._mean)

    def of(self, *, sample: bool) -> float | None:
        """Return the deviation of a sample or of a population; None for too few numbers."""
        if self.count <= sample:
            return None
        return math.sqrt(self._squares / (self.count - sample))


def _quotient(dividend: int, divisor: int) -> float:
    try:
        return dividend / divisor
    except OverflowError:
        return math.inf
