"""The lines of one series, in both formats that Prometheus reads.

prometheus-client's encoders build an object for every line and check each of its characters: 25 ms for what a node
tells, 40 ms as OpenMetrics, under the interpreter's lock that the event loop waits for. Here all of a line but its
number is made once.
Source: Prometheus exposition format 0.0.4; OpenMetrics 1.0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import accumulate

from collectionstore_node.metrics.recorders import Example, Histogram
from collectionstore_node.metrics.series import Kind, Series

_ESCAPED = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


class Heading:
    """What stands before the samples of a series, in each format."""

    __slots__ = ("openmetrics", "plain")

    def __init__(self, series: Series) -> None:
        name = exposed_name(series)
        kind = "gauge" if series.kind is Kind.INFO else series.kind.value
        self.plain = f"# HELP {name} {series.help}\n# TYPE {name} {kind}\n"
        family = series.name.removesuffix("_total")
        unit = f"# UNIT {family} {series.unit}\n" if series.unit else ""
        self.openmetrics = f"# HELP {family} {series.help}\n# TYPE {family} {series.kind.value}\n{unit}"


def exposed_name(series: Series) -> str:
    """Return the name of the samples; a histogram's have a suffix besides."""
    return f"{series.name}_info" if series.kind is Kind.INFO else series.name


def labelled(name: str, labels: Mapping[str, str]) -> str:
    """Return the beginning of a sample: the name, the labels, a space."""
    shown = ",".join(f'{label}="{value.translate(_ESCAPED)}"' for label, value in labels.items())
    return f"{name}{{{shown}}} " if shown else f"{name} "


class HistogramLines:
    """The samples of one histogram; what stands before their numbers is made when they are told for the first time."""

    __slots__ = ("_beginnings", "_histogram", "_labels", "_series")

    def __init__(self, series: Series, labels: Mapping[str, str], histogram: Histogram) -> None:
        self._series = series
        self._labels = labels
        self._histogram = histogram
        self._beginnings: list[str] = []

    def render(self, *, examples: bool) -> Iterator[str]:
        """Yield the cumulated buckets, their count and the sum; with `examples` the traced observations."""
        if not self._beginnings:
            self._beginnings = [*self._make_beginnings()]
        histogram, beginnings = self._histogram, self._beginnings
        known = histogram.examples if examples else {}
        count = 0
        for at, count in enumerate(accumulate(histogram.in_bucket)):
            example = known.get(at)
            yield f"{beginnings[at]}{count}\n" if example is None else f"{beginnings[at]}{count}{_shown(example)}\n"
        yield f"{beginnings[-2]}{count}\n{beginnings[-1]}{histogram.sum!r}\n"

    def _make_beginnings(self) -> Iterator[str]:
        """Yield those of the buckets, of their count, and of the sum."""
        name, labels = self._series.name, self._labels
        for edge in (*(repr(edge) for edge in self._series.buckets), "+Inf"):
            yield labelled(f"{name}_bucket", {**labels, "le": edge})
        yield labelled(f"{name}_count", labels)
        yield labelled(f"{name}_sum", labels)


def _shown(example: Example) -> str:
    return f' # {{trace_id="{example.trace_id}"}} {example.value!r} {example.wall_s:.3f}'
