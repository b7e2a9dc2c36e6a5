"""The action that is being performed, for log lines and for requests to nodes. Knows nothing of OpenTelemetry."""

from __future__ import annotations

from collections.abc import MutableMapping
from contextvars import ContextVar
from typing import Any

traceparent: ContextVar[str | None] = ContextVar("collectionstore_traceparent", default=None)
"""The W3C header of the span that is active, `00-<trace id>-<span id>-01`; None unless it is sampled."""


def trace_id() -> str | None:
    """Return the trace id of what is being done, 32 hex digits; None when it is not sampled."""
    header = traceparent.get()
    return None if header is None else header.split("-")[1]


def add_ids(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Put trace_id and span_id on a log line of a sampled action; a processor of structlog."""
    header = traceparent.get()
    if header is not None:
        _, event["trace_id"], event["span_id"], _ = header.split("-")
    return event
