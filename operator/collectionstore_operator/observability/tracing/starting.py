"""Traces of a process of the operator, from its start to its end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from collectionstore_operator.observability.tracing.rounds import NoTrace, RoundTrace
from collectionstore_telemetry.tracing.lifecycle import exporting
from collectionstore_telemetry.tracing.settings import TraceSettings

if TYPE_CHECKING:
    from collectionstore_operator.observability.tracing.exporting import Exporting
    from collectionstore_telemetry.tracing.export import Count

SERVICE_NAME: Final = "collectionstore-operator"
"""Also the name of the distribution."""

TraceRounds = Callable[[str, str], RoundTrace]
"""Takes namespace and name of a cluster and returns the trace of its loop."""


def untraced(_namespace: str, _name: str) -> RoundTrace:
    """Trace nothing."""
    return NoTrace()


@asynccontextmanager
async def traced(settings: TraceSettings, *, identity: str, count: Count) -> AsyncIterator[TraceRounds]:
    """Provide what traces loops while the process runs; it traces nothing if traces are off or refused."""
    async with exporting(settings, partial(_open, settings, identity, count)) as export:
        if export is None:
            yield untraced
        else:
            yield lambda namespace, name: export.rounds(namespace=namespace, name=name)


def _open(settings: TraceSettings, identity: str, count: Count) -> Exporting:
    # Imported here, in a thread: half a second that an operator without traces does not spend.
    from collectionstore_operator.observability.tracing.exporting import open_exporting

    resource = {
        "service.name": SERVICE_NAME,
        "service.instance.id": identity,
        "service.version": version(SERVICE_NAME),
    }
    return open_exporting(resource, count, spans_max=settings.queue_spans_max)
