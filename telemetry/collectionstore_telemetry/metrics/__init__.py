"""Metrics for Prometheus: declarations of series, recorders for the hot path, and their exposition.

Each program declares its series in tables of `Series`; `Metrics` returns recorders for them, and nothing else can be
counted. Names are `collectionstore_<part>_<noun>_<unit>`. A label's values are a closed set in the table, or bounded by
what the table says.
"""

from __future__ import annotations

from collectionstore_telemetry.metrics.exposition import Exposition, process_collectors
from collectionstore_telemetry.metrics.recorders import Counter, Gauge, Histogram
from collectionstore_telemetry.metrics.registry import Metrics, Undeclared
from collectionstore_telemetry.metrics.series import Chapters, Kind, Label, Series

__all__ = [
    "Chapters",
    "Counter",
    "Exposition",
    "Gauge",
    "Histogram",
    "Kind",
    "Label",
    "Metrics",
    "Series",
    "Undeclared",
    "process_collectors",
]
