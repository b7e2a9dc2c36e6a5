"""The sampled span that is active in this task, for log lines, exemplars and outgoing requests.

Knows nothing of OpenTelemetry. Between processes and within one, a span context is carried as CARRIED_BYTES: its trace
id and its span id. Only sampled spans are carried, so there are no flags.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from contextvars import ContextVar
from typing import Any, Final

CARRIED_BYTES: Final = 24
TRACE_ID_BYTES: Final = 16


class ActiveSpan:
    """A sampled span while its work is done.

    `decided` is when the outcome of that work was known, by `time.perf_counter`; None until then.
    """

    __slots__ = ("carried", "decided")

    def __init__(self, carried: bytes) -> None:
        self.carried = carried
        self.decided: float | None = None

    @property
    def trace_id(self) -> str:
        """32 hex digits."""
        return self.carried[:TRACE_ID_BYTES].hex()

    @property
    def span_id(self) -> str:
        """16 hex digits."""
        return self.carried[TRACE_ID_BYTES:].hex()

    @property
    def traceparent(self) -> str:
        """The W3C Trace Context header that makes a request its child."""
        return f"00-{self.trace_id}-{self.span_id}-01"


active: ContextVar[ActiveSpan | None] = ContextVar("collectionstore_active_span", default=None)


def trace_id() -> str | None:
    """Return the trace id of the active span, 32 hex digits; None if there is no sampled one."""
    span = active.get()
    return None if span is None else span.trace_id


def carry(trace_id: int, span_id: int) -> bytes:
    """Return a span context as CARRIED_BYTES."""
    return trace_id.to_bytes(TRACE_ID_BYTES, "big") + span_id.to_bytes(CARRIED_BYTES - TRACE_ID_BYTES, "big")


def add_trace_ids(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add trace_id and span_id to a log line of a sampled span; a processor of structlog."""
    span = active.get()
    if span is not None:
        event["trace_id"], event["span_id"] = span.trace_id, span.span_id
    return event
