"""What is declared of a series: the form of the one table of this program, which is data.

Source of the rules for names and units: prometheus.io/docs/practices/naming and `promtool check metrics`.
"""

from __future__ import annotations

import enum
from typing import Final, NamedTuple

PREFIX: Final = "collectionstore_"

ROUND_S: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
CALL_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Kind(enum.Enum):
    """Type of a series, in the words of the exposition formats."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    INFO = "info"


class Label(NamedTuple):
    """A label and what bounds its values: the closed set of them, or what they are taken from."""

    name: str
    values: tuple[str, ...] = ()
    bound: str = ""
    """Why there cannot be many; empty exactly when `values` says it."""


class Series(NamedTuple):
    """One series as it is exposed, but for the suffixes that a histogram and an info add to its name."""

    name: str
    kind: Kind
    help: str
    labels: tuple[Label, ...] = ()
    buckets: tuple[float, ...] = ()

    @property
    def unit(self) -> str:
        """Base unit, which the name ends with; empty for plain numbers."""
        stem = self.name.removesuffix("_total")
        return next((unit for unit in ("seconds", "bytes") if stem.endswith(f"_{unit}")), "")


def counter(name: str, text: str, *labels: Label) -> Series:
    """Declare a counter; its name ends with `_total`."""
    return Series(PREFIX + name, Kind.COUNTER, text, labels)


def gauge(name: str, text: str, *labels: Label) -> Series:
    """Declare a gauge."""
    return Series(PREFIX + name, Kind.GAUGE, text, labels)


def histogram(name: str, text: str, *labels: Label, buckets: tuple[float, ...]) -> Series:
    """Declare a histogram; `buckets` are upper bounds, +Inf comes by itself."""
    return Series(PREFIX + name, Kind.HISTOGRAM, text, labels, buckets)


def info(name: str, text: str, *labels: Label) -> Series:
    """Declare facts of this process, told as labels of a 1; `_info` is added to the name."""
    return Series(PREFIX + name, Kind.INFO, text, labels)
