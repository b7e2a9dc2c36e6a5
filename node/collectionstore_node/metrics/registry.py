"""Gives out the recorders of declared series, and tells all of them at a scrape. Belongs to the event loop.

Nothing can be counted that is not in the table, nor under a label value that the table excludes. Recorders are given
out once, when their owner is made; asking again returns the same one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import product
from typing import Final, NamedTuple

from collectionstore_node.metrics.recorders import Counter, Gauge, Histogram, SilentCounter, SilentHistogram
from collectionstore_node.metrics.series import PREFIX, Kind, Series
from collectionstore_node.metrics.table import COUNTED
from collectionstore_node.metrics.text import Heading, HistogramLines, exposed_name, labelled

_COUNTING: Final = (Kind.COUNTER, Kind.HISTOGRAM)


class Undeclared(Exception):
    """A bug: a series, its kind, or a label value that the table does not have."""


class _Number(NamedTuple):
    """A recorder of one number, and its line up to that."""

    line: str
    recorder: Counter | Gauge


class _Distribution(NamedTuple):
    """A histogram and its lines."""

    lines: HistogramLines
    recorder: Histogram


class _Family:
    """The recorders of one series, by label values."""

    def __init__(self, series: Series) -> None:
        self.series = series
        self.heading = Heading(series)
        self.numbers: dict[tuple[str, ...], _Number] = {}
        self.distributions: dict[tuple[str, ...], _Distribution] = {}
        self.facts = ""
        self.closed = all(label.values for label in series.labels)
        """Whether all combinations of label values are known beforehand; they are told as 0 from the start."""

    def check(self, kind: Kind, values: tuple[str, ...]) -> None:
        labels = self.series.labels
        if kind is not self.series.kind or len(values) != len(labels):
            raise Undeclared(f"{self.series.name} is a {self.series.kind.value} with {len(labels)} labels")
        for label, value in zip(labels, values, strict=True):
            if label.values and value not in label.values:
                raise Undeclared(f"{self.series.name}: {label.name} is never {value!r}")

    def named(self, values: tuple[str, ...]) -> dict[str, str]:
        return {label.name: value for label, value in zip(self.series.labels, values, strict=True)}

    def render(self, *, openmetrics: bool) -> Iterator[str]:
        yield self.heading.openmetrics if openmetrics else self.heading.plain
        for line, recorder in self.numbers.values():
            value = recorder.value
            if value is not None:
                yield f"{line}{float(value)!r}\n"
        for lines, histogram in self.distributions.values():
            # Fifty routes that nobody has asked for would be a thousand lines of zeros.
            if self.closed or any(histogram.in_bucket):
                yield from lines.render(examples=openmetrics)
        if self.facts:
            yield self.facts


class Metrics:
    """All series of one node. Where it is not `enabled`, only what is read at a scrape is told."""

    def __init__(self, *, enabled: bool = True, series: Iterable[Series] = COUNTED) -> None:
        self._families = {one.name: _Family(one) for one in series}
        self._enabled = enabled
        self._refresh: list[Callable[[], None]] = []
        for family in self._families.values():
            if family.series.kind is Kind.COUNTER and family.closed:
                for values in product(*(label.values for label in family.series.labels)):
                    self._counter(family, values)

    def counter(self, name: str, *values: str) -> Counter:
        """Return the counter of a series, named without the prefix, under these label values. Raises `Undeclared`."""
        return self._counter(self._family(name, Kind.COUNTER, values), values)

    def gauge(self, name: str, *values: str) -> Gauge:
        """Return a gauge, as `counter`."""
        family = self._family(name, Kind.GAUGE, values)
        known = family.numbers.get(values)
        if known is not None and isinstance(known.recorder, Gauge):
            return known.recorder
        gauge = Gauge()
        family.numbers[values] = _Number(labelled(family.series.name, family.named(values)), gauge)
        return gauge

    def histogram(self, name: str, *values: str) -> Histogram:
        """Return a histogram, as `counter`."""
        family = self._family(name, Kind.HISTOGRAM, values)
        known = family.distributions.get(values)
        if known is not None:
            return known.recorder
        histogram = (Histogram if self._enabled else SilentHistogram)(family.series.buckets)
        lines = HistogramLines(family.series, family.named(values), histogram)
        family.distributions[values] = _Distribution(lines, histogram)
        return histogram

    def tell(self, name: str, **facts: str) -> None:
        """Tell what does not change, as labels. Raises `Undeclared`."""
        family = self._families.get(PREFIX + name)
        if family is None or [label.name for label in family.series.labels] != list(facts):
            raise Undeclared(f"{name} with {list(facts)}")
        family.facts = f"{labelled(exposed_name(family.series), facts)}1.0\n"

    def drop(self, label: str, value: str) -> None:
        """Forget everything counted under a label value that is gone, such as a peer's name."""
        for family in self._families.values():
            names = [one.name for one in family.series.labels]
            if label in names:
                at = names.index(label)
                for values in [values for values in family.numbers if values[at] == value]:
                    del family.numbers[values]
                for values in [values for values in family.distributions if values[at] == value]:
                    del family.distributions[values]

    def before_scrape(self, refresh: Callable[[], None]) -> None:
        """Call `refresh` at the beginning of every scrape, on the event loop: it sets gauges."""
        self._refresh.append(refresh)

    def render(self, *, openmetrics: bool = False) -> str:
        """Return the text of every series, in the table's order; as OpenMetrics without its end."""
        for refresh in self._refresh:
            refresh()
        told = [one for one in self._families.values() if self._enabled or one.series.kind not in _COUNTING]
        return "".join(line for family in told for line in family.render(openmetrics=openmetrics))

    def _family(self, name: str, kind: Kind, values: tuple[str, ...]) -> _Family:
        family = self._families.get(PREFIX + name)
        if family is None:
            raise Undeclared(f"{PREFIX}{name} is not in the table")
        family.check(kind, values)
        return family

    def _counter(self, family: _Family, values: tuple[str, ...]) -> Counter:
        known = family.numbers.get(values)
        if known is not None and isinstance(known.recorder, Counter):
            return known.recorder
        counter = (Counter if self._enabled else SilentCounter)()
        family.numbers[values] = _Number(labelled(family.series.name, family.named(values)), counter)
        return counter
