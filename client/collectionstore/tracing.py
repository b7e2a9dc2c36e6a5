"""Spans of OpenTelemetry for calls: `AsyncClient(url, hooks=OpenTelemetryHooks())`. Needs `opentelemetry-api`.

The context of the caller is sent along, so that the spans of the store are its children. A call that has ended becomes
a span of its own, with the semantic conventions of database clients, and without any content.
"""

from __future__ import annotations

import time
from typing import Any

from collectionstore.errors import ConfigurationError
from collectionstore.runtime.hooks import CallEvent


class OpenTelemetryHooks:
    """Implements `Hooks`. Raises ConfigurationError when OpenTelemetry is not installed."""

    def __init__(self, tracer_provider: Any = None) -> None:
        try:
            from opentelemetry import trace
            from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
        except ImportError:
            raise ConfigurationError("traces need opentelemetry-api: pip install opentelemetry-api") from None
        self._trace = trace
        self._tracer = trace.get_tracer("collectionstore", tracer_provider=tracer_provider)
        self._propagator = TraceContextTextMapPropagator()

    def traceparent(self) -> str | None:
        """Return the context of the span that is current."""
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier)
        return carrier.get("traceparent")

    def ended(self, event: CallEvent) -> None:
        """Make a span of a call."""
        end = time.time_ns()
        span = self._tracer.start_span(
            event.name,
            kind=self._trace.SpanKind.CLIENT,
            start_time=end - int(event.seconds * 1e9),
            attributes={
                "db.system.name": "collectionstore",
                "db.operation.name": event.name,
                "db.response.status_code": str(event.status),
                "server.address": event.member,
                "collectionstore.attempts": event.attempts,
            },
        )
        if event.error:
            span.set_attribute("error.type", event.error)
            span.set_status(self._trace.StatusCode.ERROR)
        span.end(end)
