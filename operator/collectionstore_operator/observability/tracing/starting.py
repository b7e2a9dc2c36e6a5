"""Traces of a process of the operator, from its start to its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

import structlog

from collectionstore_operator.observability.tracing.rounds import NoTrace, RoundTrace
from collectionstore_operator.observability.tracing.wanted import Wanted

if TYPE_CHECKING:
    from collectionstore_operator.observability.tracing.exporting import Count, Exporting

SERVICE_NAME: Final = "collectionstore-operator"

log = structlog.get_logger(__name__)

TraceRounds = Callable[[str, str], RoundTrace]
"""Takes namespace and name of a cluster and returns what traces its loop."""


def untraced(_namespace: str, _name: str) -> RoundTrace:
    """Trace nothing."""
    return NoTrace()


@asynccontextmanager
async def traced(wanted: Wanted, *, identity: str, count: Count) -> AsyncIterator[TraceRounds]:
    """Provide what traces loops, for as long as the process runs; what is not wanted, or cannot be, traces nothing."""
    exporting = None
    if wanted.refused:
        log.warning("tracing.refused", reason=wanted.refused)
    if wanted.endpoint:
        exporting = await _open(wanted, identity, count)
    if exporting is None:
        yield untraced
        return
    opened = exporting

    def trace(namespace: str, name: str) -> RoundTrace:
        return opened.rounds(namespace=namespace, name=name)

    try:
        yield trace
    finally:
        await asyncio.get_running_loop().run_in_executor(None, opened.close)


async def _open(wanted: Wanted, identity: str, count: Count) -> Exporting | None:
    try:
        # In a thread: it imports what takes half a second.
        exporting = await asyncio.get_running_loop().run_in_executor(None, _exporting, identity, count)
    except ValueError as error:
        log.warning("tracing.refused", reason=str(error))
        return None
    log.info("tracing.started", endpoint=wanted.endpoint)
    return exporting


def _exporting(identity: str, count: Count) -> Exporting:
    from collectionstore_operator.observability.tracing.exporting import open_exporting

    resource = {
        "service.name": SERVICE_NAME,
        "service.instance.id": identity,
        "service.version": version("collectionstore"),
    }
    return open_exporting(resource, count)
