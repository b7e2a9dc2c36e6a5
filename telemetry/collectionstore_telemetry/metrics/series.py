"""The form in which series are declared; the tables of each program are data.

Rules for names and units: prometheus.io/docs/practices/naming and `promtool check metrics`.
"""

from __future__ import annotations

import enum
from typing import Final, NamedTuple, TypeAlias

PREFIX: Final = "collectionstore_"


class Kind(enum.Enum):
    """Type of a metric, as in the exposition formats."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    INFO = "info"


class Label(NamedTuple):
    """A label and the bound of its values: a closed set, or what they are taken from."""

    name: str
    values: tuple[str, ...] = ()
    bound: str = ""
    """What limits the number of values; empty exactly if `values` lists them."""


class Series(NamedTuple):
    """One series, named as it is exposed, without the suffixes of a histogram and of an info."""

    name: str
    kind: Kind
    help: str
    labels: tuple[Label, ...] = ()
    buckets: tuple[float, ...] = ()
    """Upper bounds, without +Inf; empty unless it is a histogram."""

    @property
    def unit(self) -> str:
        """Base unit, with which the name ends; empty for plain numbers."""
        stem = self.name.removesuffix("_total")
        return next((unit for unit in ("seconds", "bytes") if stem.endswith(f"_{unit}")), "")


Chapters: TypeAlias = tuple[tuple[str, tuple[Series, ...]], ...]
"""Title and series, in the order of docs/reference/metrics.md."""


def counter(name: str, text: str, *labels: Label) -> Series:
    """Declare a counter; its name ends with `_total`."""
    return Series(PREFIX + name, Kind.COUNTER, text, labels)


def gauge(name: str, text: str, *labels: Label) -> Series:
    """Declare a gauge."""
    return Series(PREFIX + name, Kind.GAUGE, text, labels)


def histogram(name: str, text: str, *labels: Label, buckets: tuple[float, ...]) -> Series:
    """Declare a histogram; `buckets` are upper bounds, +Inf is added."""
    return Series(PREFIX + name, Kind.HISTOGRAM, text, labels, buckets)


def info(name: str, text: str, *labels: Label) -> Series:
    """Declare constant facts of the process, exposed as labels of the value 1; `_info` is appended to the name."""
    return Series(PREFIX + name, Kind.INFO, text, labels)
