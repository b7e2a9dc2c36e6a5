"""Makes prometheus-client's metrics from the declarations of the table; nothing else can be counted."""

from __future__ import annotations

from itertools import product
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from collectionstore_operator.observability.metrics.table import SERIES
from collectionstore_telemetry.metrics import Kind, Series, Undeclared
from collectionstore_telemetry.metrics.series import PREFIX

_BY_NAME: Final = {series.name: series for series in SERIES}


class Declared:
    """Makes series for one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def counter(self, name: str) -> Counter:
        """Return a counter, named without the prefix; a closed set of label values is exposed as 0 from the start."""
        series = find(name, Kind.COUNTER)
        made = Counter(series.name, series.help, _labels(series), registry=self._registry)
        if series.labels and all(label.values for label in series.labels):
            for values in product(*(label.values for label in series.labels)):
                made.labels(*values)
        return made

    def gauge(self, name: str) -> Gauge:
        """Return a gauge."""
        series = find(name, Kind.GAUGE)
        return Gauge(series.name, series.help, _labels(series), registry=self._registry)

    def histogram(self, name: str) -> Histogram:
        """Return a histogram."""
        series = find(name, Kind.HISTOGRAM)
        return Histogram(series.name, series.help, _labels(series), buckets=series.buckets, registry=self._registry)

    def info(self, name: str) -> Info:
        """Return constant facts, exposed as labels."""
        series = find(name, Kind.INFO)
        return Info(series.name, series.help, registry=self._registry)


def family(name: str) -> GaugeMetricFamily:
    """Return an empty family of a gauge, for collectors that fill it at a scrape."""
    series = find(name, Kind.GAUGE)
    return GaugeMetricFamily(series.name, series.help, labels=_labels(series))


def counted_family(name: str) -> CounterMetricFamily:
    """Return an empty family of a counter, for collectors that fill it at a scrape."""
    series = find(name, Kind.COUNTER)
    return CounterMetricFamily(series.name, series.help, labels=_labels(series))


def find(name: str, kind: Kind) -> Series:
    """Return the declaration of a series. Raises `Undeclared`."""
    series = _BY_NAME.get(PREFIX + name)
    if series is None or series.kind is not kind:
        raise Undeclared(f"{PREFIX}{name} is no {kind.value} in the table")
    return series


def _labels(series: Series) -> list[str]:
    return [label.name for label in series.labels]
