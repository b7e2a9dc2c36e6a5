"""Returns recorders for declared series and renders all of them at a scrape. Belongs to the event loop.

Nothing can be counted that no table declares, nor under a label value that the table excludes. Owners resolve their
recorders once, at their start; a second call with the same labels returns the same recorder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import product
from typing import Final, NamedTuple

from collectionstore_telemetry.metrics.recorders import Counter, Gauge, Histogram, NoopCounter, NoopHistogram
from collectionstore_telemetry.metrics.series import PREFIX, Kind, Series
from collectionstore_telemetry.metrics.text import Heading, HistogramLines, exposed_name, sample_prefix

_COUNTING: Final = (Kind.COUNTER, Kind.HISTOGRAM)


class Undeclared(Exception):
    """A bug: a series, a kind, or a label value that no table declares."""


class _Number(NamedTuple):
    """A recorder of one number, and its line up to that."""

    prefix: str
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
        self.info_line = ""
        self.closed = all(label.values for label in series.labels)
        """Whether all combinations of label values are known; counters expose them as 0 from the start."""

    def check(self, kind: Kind, values: tuple[str, ...]) -> None:
        labels = self.series.labels
        if kind is not self.series.kind or len(values) != len(labels):
            raise Undeclared(f"{self.series.name} is a {self.series.kind.value} with {len(labels)} labels")
        for label, value in zip(labels, values, strict=True):
            if label.values and value not in label.values:
                raise Undeclared(f"{self.series.name}: {label.name} is never {value!r}")

    def named(self, values: tuple[str, ...]) -> dict[str, str]:
        return {label.name: value for label, value in zip(self.series.labels, values, strict=True)}

    def forget(self, label: str, value: str) -> None:
        names = [one.name for one in self.series.labels]
        if label in names:
            at = names.index(label)
            for recorders in (self.numbers, self.distributions):
                for values in [values for values in recorders if values[at] == value]:
                    del recorders[values]

    def render(self, *, openmetrics: bool) -> Iterator[str]:
        yield self.heading.openmetrics if openmetrics else self.heading.plain
        for prefix, recorder in self.numbers.values():
            value = recorder.value
            if value is not None:
                yield f"{prefix}{float(value)!r}\n"
        for lines, histogram in self.distributions.values():
            # Empty histograms of open label sets are left out: fifty unused routes would be a thousand lines of zeros.
            if self.closed or any(histogram.in_bucket):
                yield from lines.render(exemplars=openmetrics)
        if self.info_line:
            yield self.info_line


class Metrics:
    """The series of one process, or a part of them. If not `enabled`, only gauges and infos are exposed."""

    def __init__(self, series: Iterable[Series], *, enabled: bool = True) -> None:
        self._families = {one.name: _Family(one) for one in series}
        self._enabled = enabled
        self._refresh: list[Callable[[], None]] = []
        # A counter that appears with its first failure has no increase: rate() needs the 0 before it.
        for family in self._families.values():
            if family.series.kind is Kind.COUNTER and family.closed:
                for values in product(*(label.values for label in family.series.labels)):
                    self._counter(family, values)

    def counter(self, name: str, *values: str) -> Counter:
        """Return the counter of a series, named without the prefix, for these label values. Raises `Undeclared`."""
        return self._counter(self._family(name, Kind.COUNTER, values), values)

    def gauge(self, name: str, *values: str) -> Gauge:
        """Return a gauge, as `counter` does."""
        family = self._family(name, Kind.GAUGE, values)
        known = family.numbers.get(values)
        if known is not None and isinstance(known.recorder, Gauge):
            return known.recorder
        gauge = Gauge()
        family.numbers[values] = _Number(sample_prefix(family.series.name, family.named(values)), gauge)
        return gauge

    def histogram(self, name: str, *values: str) -> Histogram:
        """Return a histogram, as `counter` does."""
        family = self._family(name, Kind.HISTOGRAM, values)
        known = family.distributions.get(values)
        if known is not None:
            return known.recorder
        histogram = (Histogram if self._enabled else NoopHistogram)(family.series.buckets)
        lines = HistogramLines(family.series, family.named(values), histogram)
        family.distributions[values] = _Distribution(lines, histogram)
        return histogram

    def set_info(self, name: str, **facts: str) -> None:
        """Set constant facts, exposed as labels. Raises `Undeclared`."""
        family = self._families.get(PREFIX + name)
        if family is None or [label.name for label in family.series.labels] != list(facts):
            raise Undeclared(f"{name} with {list(facts)}")
        family.info_line = f"{sample_prefix(exposed_name(family.series), facts)}1.0\n"

    def forget(self, label: str, value: str) -> None:
        """Drop all recorders with this label value, such as those of a removed peer."""
        for family in self._families.values():
            family.forget(label, value)

    def before_scrape(self, refresh: Callable[[], None]) -> None:
        """Call `refresh` at the beginning of every scrape, on the event loop, to set gauges."""
        self._refresh.append(refresh)

    def render(self, *, openmetrics: bool = False) -> str:
        """Return the text of every series, in the table's order; as OpenMetrics without its end."""
        for refresh in self._refresh:
            refresh()
        shown = [one for one in self._families.values() if self._enabled or one.series.kind not in _COUNTING]
        return "".join(line for family in shown for line in family.render(openmetrics=openmetrics))

    def _family(self, name: str, kind: Kind, values: tuple[str, ...]) -> _Family:
        family = self._families.get(PREFIX + name)
        if family is None:
            raise Undeclared(f"no table declares {PREFIX}{name}")
        family.check(kind, values)
        return family

    def _counter(self, family: _Family, values: tuple[str, ...]) -> Counter:
        known = family.numbers.get(values)
        if known is not None and isinstance(known.recorder, Counter):
            return known.recorder
        counter = (Counter if self._enabled else NoopCounter)()
        family.numbers[values] = _Number(sample_prefix(family.series.name, family.named(values)), counter)
        return counter
