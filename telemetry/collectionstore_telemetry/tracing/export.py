"""Exports spans: resource, sampler, a bounded queue, and a thread that sends batches by OTLP over HTTP.

Configured by the standard variables, which the SDK reads itself: OTEL_EXPORTER_OTLP_*, OTEL_TRACES_SAMPLER,
OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, OTEL_BSP_*. Spans that cannot be sent are counted and lost; callers never
wait.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator

CLOSE_S: Final = 2.0

log = structlog.get_logger()

Count = Callable[[str, int], None]
"""Takes a result (exported, failed, dropped) and a number of spans; called from several threads."""


class CountingExporter(SpanExporter):
    """Counts exported and failed spans, and logs the first failure and the recovery of the receiver."""

    def __init__(self, exporter: SpanExporter, count: Count) -> None:
        self._exporter = exporter
        self._count = count
        self._failing = False
        self.completed = 0
        """Spans whose export has ended, with or without success; written by the exporting thread alone."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export a batch; blocks its thread until the receiver responds or the SDK stops retrying."""
        try:
            result = self._exporter.export(spans)
        except Exception:  # An exception would end the SDK's thread, and with it all further exports.
            result = SpanExportResult.FAILURE
        failed = result is not SpanExportResult.SUCCESS
        self.completed += len(spans)
        self._count("failed" if failed else "exported", len(spans))
        if failed and not self._failing:
            log.warning("tracing.export_failed", spans=len(spans))
        elif self._failing and not failed:
            log.info("tracing.export_recovered")
        self._failing = failed
        return result

    def shutdown(self) -> None:
        """Interrupt an export that waits for its next attempt."""
        self._exporter.shutdown()


class BoundedProcessor(SpanProcessor):
    """Queues ended spans for a thread that exports them in batches; drops and counts spans beyond the bound.

    The SDK's queue does not count the batch being exported, and drops spans silently; hence the bound in front of it.
    """

    def __init__(self, exporter: SpanExporter, count: Count, spans_max: int) -> None:
        """`spans_max` bounds the queue and the batch being exported, together."""
        self._exporter = CountingExporter(exporter, count)
        self._count = count
        self._spans_max = spans_max
        self._accepted = 0
        self._batches = BatchSpanProcessor(self._exporter, max_queue_size=spans_max)

    def on_end(self, span: ReadableSpan) -> None:
        """Queue a span or drop it; never blocks."""
        # `completed` belongs to the exporting thread and may be stale: then a span is dropped early, and none too late.
        if self._accepted - self._exporter.completed >= self._spans_max:
            self._count("dropped", 1)
            return
        self._accepted += 1
        self._batches.on_end(span)

    def shutdown(self) -> None:
        """Export the queue; blocks."""
        self._batches.shutdown()  # type: ignore[no-untyped-call]

    def force_flush(self, timeout_millis: int | None = None) -> bool:
        """Export the queue; blocks."""
        return self._batches.force_flush(timeout_millis)


class SpanExport:
    """A running exporter; `provider` makes tracers for it."""

    def __init__(
        self,
        exporter: SpanExporter,
        resource: Mapping[str, str],
        count: Count,
        *,
        spans_max: int,
        id_generator: IdGenerator | None = None,
    ) -> None:
        """`resource` describes the process; the standard variables take precedence. Raises `ValueError` for those."""
        self.provider = TracerProvider(
            resource=Resource.create(dict(resource)).merge(OTELResourceDetector().detect()),
            shutdown_on_exit=False,  # `close` does it, with a deadline.
            id_generator=id_generator,
        )
        self._exporter = exporter
        self._processor = BoundedProcessor(exporter, count, spans_max)
        self.provider.add_span_processor(self._processor)

    def flush(self) -> None:
        """Export the queue; blocks for as long as the receiver takes."""
        self._processor.force_flush()

    def close(self) -> None:
        """Export the queue for at most CLOSE_S, and drop the rest. Blocks."""
        # The SDK's shutdown has no deadline: a receiver that hangs would keep the process from exiting.
        ending = threading.Thread(target=self.provider.shutdown, name="tracing-close", daemon=True)
        ending.start()
        ending.join(CLOSE_S)
        if ending.is_alive():
            # Ends the backoff between attempts; the thread is a daemon, so it does not keep the process alive either.
            self._exporter.shutdown()


def otlp_exporter() -> SpanExporter:
    """Return an exporter to the endpoint of the environment. Raises `ValueError` for settings that cannot be used."""
    return OTLPSpanExporter()
