"""The lines of one series in both formats that Prometheus reads: its text format and OpenMetrics.

prometheus-client's encoders build an object for every line and check each of its characters: 25 ms for the series of a
node, 40 ms as OpenMetrics, under the interpreter's lock that the event loop needs. Here everything in a line except its
number is rendered once.
Source: Prometheus exposition format 0.0.4; OpenMetrics 1.0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import accumulate

from collectionstore_telemetry.metrics.recorders import Exemplar, Histogram
from collectionstore_telemetry.metrics.series import Kind, Series

_ESCAPED = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


class Heading:
    """The lines in front of the samples of a series, in each format."""

    __slots__ = ("openmetrics", "plain")

    def __init__(self, series: Series) -> None:
        name = exposed_name(series)
        # The text format has no type for infos, and names a counter's family with its `_total`; OpenMetrics without.
        kind = "gauge" if series.kind is Kind.INFO else series.kind.value
        self.plain = f"# HELP {name} {series.help}\n# TYPE {name} {kind}\n"
        family = series.name.removesuffix("_total")
        unit = f"# UNIT {family} {series.unit}\n" if series.unit else ""
        self.openmetrics = f"# HELP {family} {series.help}\n# TYPE {family} {series.kind.value}\n{unit}"


def exposed_name(series: Series) -> str:
    """Return the name of the samples; those of a histogram have further suffixes."""
    return f"{series.name}_info" if series.kind is Kind.INFO else series.name


def sample_prefix(name: str, labels: Mapping[str, str]) -> str:
    """Return the part of a sample in front of its value: name, labels, space."""
    shown = ",".join(f'{label}="{value.translate(_ESCAPED)}"' for label, value in labels.items())
    return f"{name}{{{shown}}} " if shown else f"{name} "


class HistogramLines:
    """The samples of one histogram; the parts in front of their values are rendered at the first scrape."""

    __slots__ = ("_histogram", "_labels", "_prefixes", "_series")

    def __init__(self, series: Series, labels: Mapping[str, str], histogram: Histogram) -> None:
        self._series = series
        self._labels = labels
        self._histogram = histogram
        self._prefixes: list[str] = []

    def render(self, *, exemplars: bool) -> Iterator[str]:
        """Yield the cumulated buckets, their count and the sum."""
        if not self._prefixes:
            self._prefixes = [*self._make_prefixes()]
        histogram, prefixes = self._histogram, self._prefixes
        known = histogram.exemplars if exemplars else {}
        count = 0
        for at, count in enumerate(accumulate(histogram.in_bucket)):
            exemplar = known.get(at)
            yield f"{prefixes[at]}{count}\n" if exemplar is None else f"{prefixes[at]}{count}{_suffix(exemplar)}\n"
        yield f"{prefixes[-2]}{count}\n{prefixes[-1]}{histogram.sum!r}\n"

    def _make_prefixes(self) -> Iterator[str]:
        """Yield those of the buckets, of the count and of the sum."""
        name, labels = self._series.name, self._labels
        for edge in (*(repr(edge) for edge in self._series.buckets), "+Inf"):
            yield sample_prefix(f"{name}_bucket", {**labels, "le": edge})
        yield sample_prefix(f"{name}_count", labels)
        yield sample_prefix(f"{name}_sum", labels)


def _suffix(exemplar: Exemplar) -> str:
    return f' # {{trace_id="{exemplar.trace_id}"}} {exemplar.value!r} {exemplar.wall_s:.3f}'
