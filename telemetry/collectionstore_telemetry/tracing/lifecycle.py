"""Traces of a process, from start to end: off, refused with a reason, or exported; never a reason not to start."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol, TypeVar

import structlog

from collectionstore_telemetry.tracing.settings import TraceSettings

log = structlog.get_logger()


class Closable(Protocol):
    """An exporter, or what holds one."""

    def close(self) -> None:
        """Export what is queued, within a deadline. Blocks."""


Export = TypeVar("Export", bound=Closable)


@asynccontextmanager
async def exporting(settings: TraceSettings, start: Callable[[], Export]) -> AsyncIterator[Export | None]:
    """Provide the exporter that `start` returns, and close it at the end; None if traces are off or refused.

    `start` runs in a thread and imports OpenTelemetry there: that takes half a second, which must not block the
    event loop. It raises `ValueError` for settings that cannot be used.
    """
    export = await _started(settings, start)
    try:
        yield export
    finally:
        if export is not None:
            await asyncio.get_running_loop().run_in_executor(None, export.close)


async def _started(settings: TraceSettings, start: Callable[[], Export]) -> Export | None:
    if settings.refused:
        log.warning("tracing.refused", reason=settings.refused)
    if not settings.endpoint:
        return None
    try:
        export = await asyncio.get_running_loop().run_in_executor(None, start)
    except ValueError as error:
        log.warning("tracing.refused", reason=str(error))
        return None
    log.info("tracing.started", endpoint=settings.endpoint)
    return export
