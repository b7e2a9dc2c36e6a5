"""Where spans go: a thread exports them, OTLP over HTTP, and loses what it cannot deliver. Nobody waits for it.

Everything is set by the standard variables, which the SDK reads itself: OTEL_EXPORTER_OTLP_*, OTEL_TRACES_SAMPLER,
OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, OTEL_BSP_*. A loop makes a few spans a second at most, so the SDK's own
bounded queue holds what comes while a batch is on its way.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from collectionstore_operator.observability.tracing.rounds import TracedRounds

SCOPE: Final = "collectionstore_operator"
CLOSE_S: Final = 2.0

log = structlog.get_logger(__name__)

Count = Callable[[str, int], None]
"""Takes a result (exported, failed) and a number of spans; called from the exporting thread."""


class CountingExporter(SpanExporter):
    """Counts what becomes of spans, and says once that the receiver is away, and once that it is back."""

    def __init__(self, exporter: SpanExporter, count: Count) -> None:
        self._exporter = exporter
        self._count = count
        self._failing = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export a batch; blocks its thread for as long as the receiver takes."""
        try:
            result = self._exporter.export(spans)
        except Exception:  # whatever it is, these spans are lost and the next may not be
            result = SpanExportResult.FAILURE
        failed = result is not SpanExportResult.SUCCESS
        self._count("failed" if failed else "exported", len(spans))
        if failed and not self._failing:
            log.warning("tracing.export_failed", spans=len(spans))
        elif self._failing and not failed:
            log.info("tracing.export_recovered")
        self._failing = failed
        return result

    def shutdown(self) -> None:
        """End a retry that waits."""
        self._exporter.shutdown()


class Exporting:
    """An exporter that runs."""

    def __init__(self, exporter: SpanExporter, resource: Mapping[str, str], count: Count) -> None:
        """`resource` says whose spans they are; the standard variables win over it. Raises `ValueError` for those."""
        self._exporter = exporter
        self._provider = TracerProvider(
            resource=Resource.create(dict(resource)).merge(OTELResourceDetector().detect()), shutdown_on_exit=False
        )
        self._provider.add_span_processor(BatchSpanProcessor(CountingExporter(exporter, count)))
        self._tracer = self._provider.get_tracer(SCOPE)

    def rounds(self, *, namespace: str, name: str) -> TracedRounds:
        """Return what traces the loop of a cluster."""
        return TracedRounds(self._tracer, namespace=namespace, name=name)

    def flush(self) -> None:
        """Export what waits; blocks for as long as the receiver takes."""
        self._provider.force_flush()

    def close(self) -> None:
        """Export what waits, for at most CLOSE_S; the rest is lost. Blocks."""
        ending = threading.Thread(target=self._provider.shutdown, name="tracing-close", daemon=True)
        ending.start()
        ending.join(CLOSE_S)
        if ending.is_alive():
            self._exporter.shutdown()


def open_exporting(resource: Mapping[str, str], count: Count) -> Exporting:
    """Start to export to the endpoint of the environment. Raises `ValueError` for settings that cannot be used."""
    return Exporting(OTLPSpanExporter(), resource, count)
