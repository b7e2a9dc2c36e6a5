"""What the hot path counts with: plain numbers, made text only when somebody asks.

prometheus-client's own counters take a lock, and cost 0.8 us an observation where these cost a quarter of that; a write
is observed some ten times on its way. Each recorder has ONE writer at a time, a thread or the event loop; whoever
reads sees some recent state of it.

Silent ones stand in where metrics are disabled: the same calls, nothing counted.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Mapping
from typing import NamedTuple


class Example(NamedTuple):
    """An observation that was traced, to be shown with its bucket."""

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
    """A number as it is now; None while there is nothing to tell."""

    __slots__ = ("_read", "_value")

    def __init__(self) -> None:
        self._value: float | None = None
        self._read: Callable[[], float | None] | None = None

    @property
    def value(self) -> float | None:
        """What is told now."""
        return self._value if self._read is None else self._read()

    def set(self, value: float | None) -> None:
        """Tell `value` from now on."""
        self._value = value

    def follow(self, read: Callable[[], float | None]) -> None:
        """Ask `read` at every scrape, on the event loop."""
        self._read = read


class Histogram:
    """Observations by bucket, their sum, and for each bucket the last one that was traced."""

    __slots__ = ("_edges", "_examples", "_in_bucket", "_sum")

    def __init__(self, edges: tuple[float, ...]) -> None:
        self._edges = edges
        self._in_bucket = [0] * (len(edges) + 1)
        self._sum = 0.0
        self._examples: dict[int, Example] = {}

    def observe(self, value: float, trace_id: str | None = None) -> None:
        """Count `value`; `trace_id`, 32 hexadecimal digits, only of a trace that is recorded."""
        at = bisect_left(self._edges, value)
        self._in_bucket[at] += 1
        self._sum += value
        if trace_id:
            self._examples[at] = Example(trace_id, value, time.time())

    @property
    def sum(self) -> float:
        """Sum of all observations."""
        return self._sum

    @property
    def in_bucket(self) -> list[int]:
        """How many observations there were in each bucket, the one without a bound last."""
        return list(self._in_bucket)

    @property
    def examples(self) -> Mapping[int, Example]:
        """By place of the bucket."""
        return dict(self._examples)


class SilentCounter(Counter):
    """Counts nothing."""

    __slots__ = ()

    def inc(self, amount: float = 1) -> None:
        """Do nothing."""


class SilentHistogram(Histogram):
    """Observes nothing."""

    __slots__ = ()

    def observe(self, value: float, trace_id: str | None = None) -> None:
        """Do nothing."""
