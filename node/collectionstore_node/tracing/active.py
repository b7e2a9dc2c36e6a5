"""The trace of the request that is being served, for log lines and exemplars. Knows nothing of OpenTelemetry.

A span is carried between nodes, and within one, as CARRIED_BYTES: its trace id and its own id. Only sampled spans are
carried, so there are no flags.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from contextvars import ContextVar
from typing import Any, Final

CARRIED_BYTES: Final = 24
TRACE_ID_BYTES: Final = 16


class Active:
    """A sampled request while it is served; `decided` is when its outcome came, by `time.perf_counter`, or None."""

    __slots__ = ("carried", "decided")

    def __init__(self, carried: bytes) -> None:
        self.carried = carried
        self.decided: float | None = None


active: ContextVar[Active | None] = ContextVar("collectionstore_active_span", default=None)


def trace_id() -> str | None:
    """Return the trace id of the request that is being served, 32 hex digits; None when it is not sampled."""
    now = active.get()
    return None if now is None else now.carried[:TRACE_ID_BYTES].hex()


def add_ids(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Put trace_id and span_id on a log line of a sampled request; a processor of structlog."""
    now = active.get()
    if now is not None:
        event["trace_id"] = now.carried[:TRACE_ID_BYTES].hex()
        event["span_id"] = now.carried[TRACE_ID_BYTES:].hex()
    return event
