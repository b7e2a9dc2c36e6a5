"""What became of spans. Those that were dropped are counted by the event loop, the rest by the thread that exports."""

from __future__ import annotations

from collectionstore_node.metrics.table.process import SPANS
from collectionstore_telemetry.metrics.registry import Metrics


class TracingSeries:
    """The counters of spans, by result."""

    def __init__(self, metrics: Metrics) -> None:
        self._spans = {result: metrics.counter("tracing_spans_total", result) for result in SPANS}

    def count(self, result: str, spans: int) -> None:
        """Count spans."""
        self._spans[result].inc(spans)
