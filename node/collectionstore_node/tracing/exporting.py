"""Exports the spans of a member: the shared exporter, with a sampler and trace ids that suit replicated requests.

Imports OpenTelemetry, so it is imported only where traces are on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from opentelemetry.context import Context
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanKind, TraceState
from opentelemetry.util.types import Attributes

from collectionstore_node.tracing.spans import ChosenIds, Tracing
from collectionstore_telemetry.tracing.export import Count, SpanExport, otlp_exporter

SERVICE_NAME: Final = "collectionstore-node"


class FollowsLinks(Sampler):
    """Samples a linked span where a parent would decide: only sampled spans are carried, so its links are sampled."""

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
        """Return the decision, as the SDK calls it."""
        # Only parent-based samplers: `always_off` stays in effect.
        chosen = ALWAYS_ON if links and isinstance(self._rest, ParentBased) else self._rest
        return chosen.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)

    def get_description(self) -> str:
        """Return the name of this sampler and of the one it wraps."""
        return f"FollowsLinks{{{self._rest.get_description()}}}"


class Exporting:
    """A running exporter; `tracing` makes the spans."""

    def __init__(self, exporter: SpanExporter, resource: Mapping[str, str], count: Count, *, spans_max: int) -> None:
        """Raises `ValueError` for standard variables that cannot be used."""
        ids = ChosenIds()
        self._export = SpanExport(exporter, resource, count, spans_max=spans_max, id_generator=ids)
        provider = self._export.provider
        # The SDK reads the sampler from the environment while it makes the provider; it is wrapped afterwards.
        provider.sampler = FollowsLinks(provider.sampler)
        self.tracing = Tracing(provider, ids)

    def flush(self) -> None:
        """Export the queue; blocks for as long as the receiver takes."""
        self._export.flush()

    def close(self) -> None:
        """Export the queue within a deadline, and drop the rest. Blocks."""
        self._export.close()


def open_exporting(resource: Mapping[str, str], count: Count, *, spans_max: int) -> Exporting:
    """Start to export to the endpoint of the environment. Raises `ValueError` for settings that cannot be used."""
    return Exporting(otlp_exporter(), resource, count, spans_max=spans_max)
