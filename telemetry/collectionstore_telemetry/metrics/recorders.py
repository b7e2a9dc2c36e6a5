"""Recorders for the hot path: plain numbers, rendered as text only at a scrape.

prometheus-client's own counters take a lock and cost 0.8 us an observation, where these cost a quarter of that; a write
is observed some ten times. Each recorder has ONE writer at a time, a thread or the event loop; a scrape
reads a recent state of it.

No-op recorders replace them where metrics are disabled: the same calls, nothing counted.
"""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping
from typing import NamedTuple


class Exemplar(NamedTuple):
    """A traced observation, exposed with its bucket; `wall_s` are seconds since 1970 UTC."""

    trace_id: str
    value: float
    wall_s: float


class Counter:
    """A number that only grows."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: float = 0

    def inc(self, amount: float = 1) -> None:
        """Add `amount`, which is not negative."""
        self.value += amount


class Gauge:
    """A number that goes up and down; None while there is no value, which exposes no sample."""

    __slots__ = ("_read", "_value")

    def __init__(self) -> None:
        self._value: float | None = None
        self._read: Callable[[], float | None] | None = None

    @property
    def value(self) -> float | None:
        """The current value."""
        return self._value if self._read is None else self._read()

    def set(self, value: float | None) -> None:
        """Set the value."""
        self._value = value

    def set_function(self, read: Callable[[], float | None]) -> None:
        """Call `read` for the value at every scrape, on the event loop."""
        self._read = read


class Histogram:
    """Observations by bucket, their sum, and the last traced observation of each bucket."""

    __slots__ = ("_edges", "_exemplars", "_in_bucket", "_sum")

    def __init__(self, edges: tuple[float, ...]) -> None:
        self._edges = edges
        self._in_bucket = [0] * (len(edges) + 1)
        self._sum = 0.0
        self._exemplars: dict[int, Exemplar] = {}

    def observe(self, value: float, trace_id: str | None = None) -> None:
        """Count `value`; `trace_id`, 32 hexadecimal digits, only of a sampled trace."""
        at = bisect_left(self._edges, value)
        # No lock: a scrape in another thread may see the bucket without the sum, which the next scrape corrects.
        self._in_bucket[at] += 1
        self._sum += value
        if trace_id:
            self._exemplars[at] = Exemplar(trace_id, value, time.time())

    def observe_all(self, values: list[float]) -> None:
        """Count untraced `values`, which are sorted in place; for many of them far cheaper than `observe`."""
        values.sort()
        counted = 0
        # One look per bucket and not per value: the values of a batch lie in a few buckets.
        while counted < len(values):
            at = bisect_left(self._edges, values[counted])
            end = len(values) if at == len(self._edges) else bisect_right(values, self._edges[at], counted)
            self._in_bucket[at] += end - counted
            counted = end
        self._sum += sum(values)

    @property
    def sum(self) -> float:
        """Sum of all observations."""
        return self._sum

    @property
    def in_bucket(self) -> list[int]:
        """Number of observations in each bucket, not cumulated; the bucket without a bound last."""
        return list(self._in_bucket)

    @property
    def exemplars(self) -> Mapping[int, Exemplar]:
        """Exemplars by position of the bucket."""
        return dict(self._exemplars)


class NoopCounter(Counter):
    """Counts nothing."""

    __slots__ = ()

    def inc(self, amount: float = 1) -> None:
        """Do nothing."""


class NoopHistogram(Histogram):
    """Observes nothing."""

    __slots__ = ()

    def observe(self, value: float, trace_id: str | None = None) -> None:
        """Do nothing."""

    def observe_all(self, values: list[float]) -> None:
        """Do nothing."""
