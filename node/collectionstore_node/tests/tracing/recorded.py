"""Spans kept in memory, made by the same provider, sampler and queue as those that are exported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from collectionstore_node.tracing.exporting import Exporting
from collectionstore_node.tracing.spans import Tracing
from collectionstore_telemetry.tracing.active import ActiveSpan

CLIENT_TRACE = 0x4BF92F3577B34DA6A3CE929D0E0E4736
CLIENT = CLIENT_TRACE.to_bytes(16, "big") + 0xF067AA0BA902B7.to_bytes(8, "big")
"""A client's sampled span, as it is carried."""


class Recorded:
    """The spans of members by name; each has its own provider, as processes have."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._members: dict[str, tuple[Exporting, InMemorySpanExporter]] = {}

    def tracing(self, name: str) -> Tracing:
        """Return what makes the spans of a member."""
        exporter = InMemorySpanExporter()
        exporting = Exporting(exporter, {"service.instance.id": name}, self._count, spans_max=2_048)
        self._members[name] = (exporting, exporter)
        return exporting.tracing

    def spans(self, name: str) -> Sequence[ReadableSpan]:
        """Return what a member has ended, in that order."""
        exporting, exporter = self._members[name]
        exporting.flush()
        return exporter.get_finished_spans()

    def names(self, name: str) -> list[str]:
        """Return the names of a member's spans, in the order in which they ended."""
        return [span.name for span in self.spans(name)]

    def clear(self) -> None:
        """Forget every span so far."""
        for exporting, exporter in self._members.values():
            exporting.flush()
            exporter.clear()

    def close(self) -> None:
        """Let the threads end."""
        for exporting, _ in self._members.values():
            exporting.close()

    def _count(self, result: str, spans: int) -> None:
        self.counts[result] += spans


def sampled() -> ActiveSpan:
    """Return what is active while a request of that client is served."""
    return ActiveSpan(CLIENT)
