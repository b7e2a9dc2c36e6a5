"""Where spans go: sampler, resource, a bounded queue, and a thread for OTLP over HTTP. Lost spans are only counted.

Everything is set by the standard variables, which the SDK reads itself: OTEL_EXPORTER_OTLP_*, OTEL_TRACES_SAMPLER,
OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, OTEL_BSP_*.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import structlog
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanKind, TraceState
from opentelemetry.util.types import Attributes

from collectionstore_node.tracing.spans import ChosenIds, Tracing

SERVICE_NAME: Final = "collectionstore-node"
CLOSE_S: Final = 2.0

log = structlog.get_logger()

Count = Callable[[str, int], None]
"""Takes a result (exported, failed, dropped) and a number of spans; called from two threads."""


class FollowsLinks(Sampler):
    """Lets a linked span be sampled where its parent would decide: its links are sampled, as all that are carried."""

    def __init__(self, rest: Sampler) -> None:
        self._rest = rest

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """Decide as the SDK asks for it."""
        chosen = ALWAYS_ON if links and isinstance(self._rest, ParentBased) else self._rest
        return chosen.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)

    def get_description(self) -> str:
        """Return what it is made of."""
        return f"FollowsLinks{{{self._rest.get_description()}}}"


class CountingExporter(SpanExporter):
    """Counts what becomes of spans, and says once that the receiver is away, and once that it is back."""

    def __init__(self, exporter: SpanExporter, count: Count) -> None:
        self._exporter = exporter
        self._count = count
        self._failing = False
        self.taken = 0
        """Spans whose export has ended; written by the exporting thread alone."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export a batch; blocks its thread for as long as the receiver takes."""
        try:
            result = self._exporter.export(spans)
        except Exception:  # whatever it is, these spans are lost and the next may not be
            result = SpanExportResult.FAILURE
        failed = result is not SpanExportResult.SUCCESS
        self.taken += len(spans)
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


class BoundedProcessor(SpanProcessor):
    """Hands ended spans to a thread that exports them in batches; drops, and counts, what is beyond the bound."""

    def __init__(self, exporter: SpanExporter, count: Count, spans_max: int) -> None:
        """`spans_max` bounds those that wait and those of the batch on its way, together."""
        self._exporter = CountingExporter(exporter, count)
        self._count = count
        self._spans_max = spans_max
        self._given = 0
        self._batches = BatchSpanProcessor(self._exporter, max_queue_size=spans_max)

    def on_end(self, span: ReadableSpan) -> None:
        """Queue a span, or drop it; never waits."""
        if self._given - self._exporter.taken >= self._spans_max:
            self._count("dropped", 1)
            return
        self._given += 1
        self._batches.on_end(span)

    def shutdown(self) -> None:
        """Export what waits; blocks."""
        self._batches.shutdown()  # type: ignore[no-untyped-call]

    def force_flush(self, timeout_millis: int | None = None) -> bool:
        """Export what waits; blocks."""
        return self._batches.force_flush(timeout_millis)


class Exporting:
    """An exporter that runs; `tracing` makes the spans."""

    def __init__(self, exporter: SpanExporter, resource: Mapping[str, str], count: Count, *, spans_max: int) -> None:
        """`resource` says whose spans they are; the standard variables win over it. Raises `ValueError` for those."""
        ids = ChosenIds()
        self._provider = TracerProvider(
            resource=Resource.create(dict(resource)).merge(OTELResourceDetector().detect()),
            shutdown_on_exit=False,
            id_generator=ids,
        )
        self._provider.sampler = FollowsLinks(self._provider.sampler)
        self._processor = BoundedProcessor(exporter, count, spans_max)
        self._exporter = exporter
        self._provider.add_span_processor(self._processor)
        self.tracing = Tracing(self._provider, ids)

    def flush(self) -> None:
        """Export what waits; blocks for as long as the receiver takes."""
        self._processor.force_flush()

    def close(self) -> None:
        """Export what waits, for at most CLOSE_S; the rest is lost. Blocks."""
        ending = threading.Thread(target=self._provider.shutdown, name="tracing-close", daemon=True)
        ending.start()
        ending.join(CLOSE_S)
        if ending.is_alive():
            self._exporter.shutdown()


def open_exporting(resource: Mapping[str, str], count: Count, *, spans_max: int) -> Exporting:
    """Start to export to the endpoint of the environment. Raises `ValueError` for settings that cannot be used."""
    return Exporting(OTLPSpanExporter(), resource, count, spans_max=spans_max)
