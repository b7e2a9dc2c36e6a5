"""The span of a client request, from the resolved route to the response.

Attributes are the stable ones of OpenTelemetry's HTTP conventions. `url.path`, `url.query` and headers are left out:
they contain keys, IDs and filters. The route identifies the kind of request.
"""

from __future__ import annotations

import time
from contextvars import Token
from typing import Final

from aiohttp import web
from opentelemetry.semconv.attributes.client_attributes import CLIENT_ADDRESS
from opentelemetry.semconv.attributes.http_attributes import (
    HTTP_REQUEST_METHOD,
    HTTP_RESPONSE_STATUS_CODE,
    HTTP_ROUTE,
)
from opentelemetry.semconv.attributes.network_attributes import NETWORK_PROTOCOL_VERSION
from opentelemetry.semconv.attributes.url_attributes import URL_SCHEME

from collectionstore_node.tracing.spans import Span, Tracing
from collectionstore_telemetry.tracing.active import ActiveSpan, active

STREAM_ROUTE: Final = "/api/v1/stream"
TRACEPARENT_MAX: Final = 128
"""Characters: version 00 has 55, and later ones may add to it."""


class RequestSpan:
    """A sampled request while it is served. Its owner calls `answered` or `abandoned` on every path."""

    __slots__ = ("_active", "_span", "_token", "_tracing", "trace_id")

    def __init__(self, tracing: Tracing, span: Span) -> None:
        self._tracing = tracing
        self._span = span
        self._active = ActiveSpan(span.carried)
        self._token: Token[ActiveSpan | None] = active.set(self._active)
        self.trace_id = span.trace_id

    def answered(self, status: int) -> None:
        """End with a response; the time after the outcome is a separate span. Only 5xx are errors of the server."""
        decided = self._active.decided
        if decided is not None:
            self._tracing.record("answer", self._span.carried, decided, time.perf_counter())
        self._span.set({HTTP_RESPONSE_STATUS_CODE: status})
        self._ended(str(status) if status >= 500 else None)

    def abandoned(self) -> None:
        """End without a response: the client disconnected, or the node stops."""
        self._ended("cancelled")

    def _ended(self, error: str | None) -> None:
        # A keep-alive connection serves its next request in the same task, which must not inherit this span.
        active.reset(self._token)
        self._span.end(error)


class OperationSpan:
    """A sampled operation of a stream. Its owner calls `answered` or `abandoned` on every path."""

    __slots__ = ("_span", "carried", "trace_id")

    def __init__(self, span: Span) -> None:
        self._span = span
        self.carried = span.carried
        self.trace_id = span.trace_id

    def answered(self, status: int) -> None:
        """End with an answer."""
        self._span.set({HTTP_RESPONSE_STATUS_CODE: status})
        self._span.end(str(status) if status >= 500 else None)

    def abandoned(self) -> None:
        """End without an answer."""
        self._span.end("cancelled")


def serve_operation(tracing: Tracing, kind: str, traceparent: str | None) -> OperationSpan | None:
    """Start the span of an operation of a stream; None if it is not sampled."""
    # A longer one is none of W3C's, and OpenTelemetry would write a log line about it, for every operation.
    known = traceparent is not None and len(traceparent) <= TRACEPARENT_MAX
    span = tracing.serve(f"{kind} {STREAM_ROUTE}", {"traceparent": traceparent} if traceparent and known else {})
    if span is None:
        return None
    span.set({HTTP_REQUEST_METHOD: kind, HTTP_ROUTE: STREAM_ROUTE})
    return OperationSpan(span)


def serve(tracing: Tracing, request: web.BaseRequest, method: str, route: str) -> RequestSpan | None:
    """Start the span of a request to `route`; None if it is not sampled."""
    span = tracing.serve(f"{method} {route}", request.headers)
    if span is None:
        return None
    span.set(
        {
            HTTP_REQUEST_METHOD: method,
            HTTP_ROUTE: route,
            URL_SCHEME: request.scheme,
            NETWORK_PROTOCOL_VERSION: f"{request.version.major}.{request.version.minor}",
            CLIENT_ADDRESS: request.remote or "",
        }
    )
    return RequestSpan(tracing, span)
