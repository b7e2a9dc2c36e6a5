"""Spans by export result. Dropped spans are counted by the event loop, the others by the exporting thread."""

from __future__ import annotations

from collectionstore_node.metrics.table.process import SPANS
from collectionstore_telemetry.metrics.registry import Metrics


class TracingSeries:
    """Counters of spans by result; each result has one writer, as recorders demand."""

    def __init__(self, metrics: Metrics) -> None:
        self._spans = {result: metrics.counter("tracing_spans_total", result) for result in SPANS}

    def count(self, result: str, spans: int) -> None:
        """Count spans."""
        self._spans[result].inc(spans)
