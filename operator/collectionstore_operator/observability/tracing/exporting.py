"""Exports the spans of reconcile rounds. Imports OpenTelemetry, so it is imported only where traces are on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from opentelemetry.sdk.trace.export import SpanExporter

from collectionstore_operator.observability.tracing.rounds import TracedRounds
from collectionstore_telemetry.tracing.export import Count, SpanExport, otlp_exporter

SCOPE: Final = "collectionstore_operator"


class Exporting:
    """A running exporter; `rounds` makes the spans."""

    def __init__(self, exporter: SpanExporter, resource: Mapping[str, str], count: Count, *, spans_max: int) -> None:
        """Raises `ValueError` for standard variables that cannot be used."""
        self._export = SpanExport(exporter, resource, count, spans_max=spans_max)
        self._tracer = self._export.provider.get_tracer(SCOPE)

    def rounds(self, *, namespace: str, name: str) -> TracedRounds:
        """Return the tracer of the loop of one cluster."""
        return TracedRounds(self._tracer, namespace=namespace, name=name)

    def flush(self) -> None:
        """Export the queue; blocks for as long as the receiver takes."""
        self._export.flush()

    def close(self) -> None:
        """Export the queue within a deadline, and drop the rest. Blocks."""
        self._export.close()


def open_exporting(resource: Mapping[str, str], count: Count, *, spans_max: int) -> Exporting:
    """Start to export to the endpoint of the environment. Raises `ValueError` for settings that cannot be used."""
    return Exporting(otlp_exporter(), resource, count, spans_max=spans_max)
