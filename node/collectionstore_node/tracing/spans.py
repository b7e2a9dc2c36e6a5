"""Spans, made with the OpenTelemetry SDK: started and ended, or recorded after the fact from two times.

Times are `time.perf_counter` seconds of this process. A started span has one owner, which ends it on every path. Work
whose outcome may never be known, such as a proposal, is recorded afterwards, so that no span is left open.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Final, Literal, TypeAlias

from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)
from opentelemetry.trace import Span as OtelSpan
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from collectionstore_telemetry.tracing.active import TRACE_ID_BYTES, carry

Attributes: TypeAlias = Mapping[str, str | int | bool]
Stage: TypeAlias = tuple[str, float, float]
"""Name, start and end of a phase of a span; recorded as an event, which costs a fraction of a separate span."""

SCOPE: Final = "collectionstore_node"
NOWHERE: Final = Context()
"""No parent; without it the SDK would look up its own context variable."""
LINKS_MAX: Final = 32
STAGE_SECONDS: Final = "collectionstore.stage.duration"
_KINDS: Final = {"client": SpanKind.CLIENT, "server": SpanKind.SERVER, "internal": SpanKind.INTERNAL}
_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)


class Span:
    """A span that is being recorded."""

    __slots__ = ("_span", "_tracing", "began", "carried")

    def __init__(self, tracing: Tracing, span: OtelSpan, began: float) -> None:
        self._tracing = tracing
        self._span = span
        self.began = began
        context = span.get_span_context()
        self.carried = carry(context.trace_id, context.span_id)

    @property
    def trace_id(self) -> str:
        """32 hex digits."""
        return self.carried[:TRACE_ID_BYTES].hex()

    def set(self, attributes: Attributes) -> None:
        """Add attributes."""
        self._span.set_attributes(attributes)

    def add(self, stage: Stage) -> None:
        """Add an event at the end of a phase, with its duration."""
        name, began, ended = stage
        self._span.add_event(name, {STAGE_SECONDS: ended - began}, self._tracing.wall_ns(ended))

    def end(self, error: str | None = None) -> None:
        """End it now; `error` is the name of the error, if any."""
        if error is not None:
            self._span.set_attribute(ERROR_TYPE, error)
            self._span.set_status(Status(StatusCode.ERROR))
        self.end_at(time.perf_counter())

    def end_at(self, ended: float) -> None:
        """End it as of `ended`."""
        self._span.end(self._tracing.wall_ns(ended))


class ChosenIds(RandomIdGenerator):
    """Random ids, except for the trace id that the sampler decided about before the span existed."""

    def __init__(self) -> None:
        self.chosen: int | None = None

    def generate_trace_id(self) -> int:
        """Return the chosen id once, then random ones."""
        chosen, self.chosen = self.chosen, None
        return super().generate_trace_id() if chosen is None else chosen


class Tracing:
    """Makes spans. Belongs to the event loop; never blocks on the exporter."""

    def __init__(self, provider: TracerProvider, ids: ChosenIds) -> None:
        """`ids` is the id generator of `provider`."""
        self._tracer = provider.get_tracer(SCOPE)
        self._sampler = provider.sampler
        self._ids = ids
        self._propagator = TraceContextTextMapPropagator()
        # One anchor for all spans of a process: they keep their order when the wall clock is adjusted.
        self._anchor_ns = time.time_ns() - time.perf_counter_ns()

    def wall_ns(self, at: float) -> int:
        """Return a time of `perf_counter` in nanoseconds since 1970 UTC."""
        return self._anchor_ns + int(at * 1e9)

    def serve(self, name: str, headers: Mapping[str, str]) -> Span | None:
        """Start the span of an incoming request as a child of its W3C trace context; None if it is not sampled.

        Without a context the sampler decides before anything is allocated: a third of the cost of an unrecorded span.
        """
        parent = NOWHERE
        if "traceparent" in headers:
            parent = self._propagator.extract(headers, NOWHERE)
        if not parent:
            chosen = RandomIdGenerator.generate_trace_id(self._ids)
            result = self._sampler.should_sample(NOWHERE, chosen, name, SpanKind.SERVER)
            if result.decision is not Decision.RECORD_AND_SAMPLE:
                return None
            self._ids.chosen = chosen
        return self._started(name, parent, SpanKind.SERVER, {}, ())

    def start(
        self, name: str, parent: bytes, kind: Literal["client", "server", "internal"], attributes: Attributes
    ) -> Span | None:
        """Start a child of the span carried as `parent`; None if it is not sampled."""
        return self._started(name, _inside(parent), _KINDS[kind], attributes, ())

    def record(
        self, name: str, parent: bytes, began: float, ended: float, attributes: Attributes | None = None
    ) -> None:
        """Record a child of the span carried as `parent`, with times in the past."""
        span = self._tracer.start_span(name, _inside(parent), attributes=attributes, start_time=self.wall_ns(began))
        span.end(self.wall_ns(ended))

    def record_linked(
        self,
        name: str,
        linked: Sequence[bytes],
        began: float,
        ended: float,
        attributes: Attributes,
        stages: Sequence[Stage] = (),
    ) -> None:
        """Record a span in a separate trace, linked to the spans carried as `linked`, if it is sampled.

        Links beyond LINKS_MAX are left out.
        """
        links = [Link(_context(one)) for one in linked[:LINKS_MAX]]
        span = self._started(name, NOWHERE, SpanKind.CONSUMER, attributes, links, began)
        if span is not None:
            for stage in stages:
                span.add(stage)
            span.end_at(ended)

    def _started(
        self,
        name: str,
        parent: Context,
        kind: SpanKind,
        attributes: Attributes,
        links: Sequence[Link],
        began: float | None = None,
    ) -> Span | None:
        at = time.perf_counter() if began is None else began
        span = self._tracer.start_span(name, parent, kind, attributes, links, self.wall_ns(at))
        return Span(self, span, at) if span.is_recording() else None


def _context(carried: bytes) -> SpanContext:
    trace_id, span_id = carried[:TRACE_ID_BYTES], carried[TRACE_ID_BYTES:]
    return SpanContext(
        int.from_bytes(trace_id, "big"), int.from_bytes(span_id, "big"), is_remote=True, trace_flags=_SAMPLED
    )


def _inside(parent: bytes) -> Context:
    return set_span_in_context(NonRecordingSpan(_context(parent)), NOWHERE)
