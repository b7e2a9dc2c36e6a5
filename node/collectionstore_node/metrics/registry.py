"""Gives out the recorders of declared series, and shows all of them at a scrape. Belongs to the event loop.

Nothing can be counted that is not in the table, nor under a label value that the table excludes. Recorders are given
out once, when their owner is made; asking again returns the same one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate, product
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar

from collectionstore_node.metrics.recorders import Counter, Gauge, Histogram, SilentCounter, SilentHistogram
from collectionstore_node.metrics.series import PREFIX, Kind, Series
from collectionstore_node.metrics.table import COUNTED

_COUNTING: Final = (Kind.COUNTER, Kind.HISTOGRAM)


class Undeclared(Exception):
    """A bug: a series, its kind, or a label value that the table does not have."""


class _Family:
    """The recorders of one series, by label values."""

    def __init__(self, series: Series, *, enabled: bool) -> None:
        self.series = series
        self.enabled = enabled
        self.counters: dict[tuple[str, ...], Counter] = {}
        self.gauges: dict[tuple[str, ...], Gauge] = {}
        self.histograms: dict[tuple[str, ...], Histogram] = {}
        self.facts: dict[str, str] = {}
        self.closed = all(label.values for label in series.labels)
        """Whether all combinations of label values are known beforehand; they are told as 0 from the start."""

    def check(self, kind: Kind, values: tuple[str, ...]) -> None:
        labels = self.series.labels
        if kind is not self.series.kind or len(values) != len(labels):
            raise Undeclared(f"{self.series.name} is a {self.series.kind.value} with {len(labels)} labels")
        for label, value in zip(labels, values, strict=True):
            if label.values and value not in label.values:
                raise Undeclared(f"{self.series.name}: {label.name} is never {value!r}")

    def collect(self) -> Metric:
        series = self.series
        names = [label.name for label in series.labels]
        match series.kind:
            case Kind.COUNTER:
                counters = CounterMetricFamily(series.name, series.help, labels=names, unit=series.unit)
                for values, counter in self.counters.items():
                    counters.add_metric(values, counter.value)
                return counters
            case Kind.GAUGE:
                gauges = GaugeMetricFamily(series.name, series.help, labels=names, unit=series.unit)
                for values, gauge in self.gauges.items():
                    if (value := gauge.value) is not None:
                        gauges.add_metric(values, value)
                return gauges
            case Kind.HISTOGRAM:
                histograms = HistogramMetricFamily(series.name, series.help, labels=names, unit=series.unit)
                for values, histogram in self.histograms.items():
                    in_bucket = histogram.in_bucket
                    # Fifty routes that nobody has asked for would be a thousand lines of zeros.
                    if not self.closed and not any(in_bucket):
                        continue
                    histograms.add_metric(values, _buckets(series.buckets, histogram), histogram.sum)
                return histograms
            case Kind.INFO:
                return InfoMetricFamily(series.name, series.help, value=self.facts)


class Metrics(Collector):
    """All series of one node. Where it is not `enabled`, only what is read at a scrape is told."""

    def __init__(self, *, enabled: bool = True, series: Iterable[Series] = COUNTED) -> None:
        self._families = {one.name: _Family(one, enabled=enabled) for one in series}
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
        return self._family(name, Kind.GAUGE, values).gauges.setdefault(values, Gauge())

    def histogram(self, name: str, *values: str) -> Histogram:
        """Return a histogram, as `counter`."""
        family = self._family(name, Kind.HISTOGRAM, values)
        kind = Histogram if self._enabled else SilentHistogram
        return family.histograms.setdefault(values, kind(family.series.buckets))

    def tell(self, name: str, **facts: str) -> None:
        """Tell what does not change, as labels. Raises `Undeclared`."""
        family = self._families.get(PREFIX + name)
        if family is None or [label.name for label in family.series.labels] != list(facts):
            raise Undeclared(f"{name} with {list(facts)}")
        family.facts = facts

    def drop(self, label: str, value: str) -> None:
        """Forget everything counted under a label value that is gone, such as a peer's name."""
        for family in self._families.values():
            names = [one.name for one in family.series.labels]
            if label in names:
                at = names.index(label)
                for children in (family.counters, family.gauges, family.histograms):
                    for values in [values for values in children if values[at] == value]:
                        del children[values]

    def before_scrape(self, refresh: Callable[[], None]) -> None:
        """Call `refresh` at the beginning of every scrape, on the event loop: it sets gauges."""
        self._refresh.append(refresh)

    def collect(self) -> Iterator[Metric]:
        """Yield every series, in the table's order."""
        for refresh in self._refresh:
            refresh()
        for family in self._families.values():
            if self._enabled or family.series.kind not in _COUNTING:
                yield family.collect()

    def _family(self, name: str, kind: Kind, values: tuple[str, ...]) -> _Family:
        family = self._families.get(PREFIX + name)
        if family is None:
            raise Undeclared(f"{PREFIX}{name} is not in the table")
        family.check(kind, values)
        return family

    def _counter(self, family: _Family, values: tuple[str, ...]) -> Counter:
        kind = Counter if self._enabled else SilentCounter
        return family.counters.setdefault(values, kind())


def _buckets(edges: tuple[float, ...], histogram: Histogram) -> list[tuple[str, float] | tuple[str, float, Exemplar]]:
    """Return the cumulated buckets, with an example where there is one. Source: OpenMetrics 1.0, 5.3.5 and 5.4."""
    examples = histogram.examples
    shown: list[tuple[str, float] | tuple[str, float, Exemplar]] = []
    for at, count in enumerate(accumulate(histogram.in_bucket)):
        edge = str(edges[at]) if at < len(edges) else "+Inf"
        example = examples.get(at)
        if example is None:
            shown.append((edge, count))
        else:
            shown.append((edge, count, Exemplar({"trace_id": example.trace_id}, example.value, example.wall_s)))
    return shown
