"""Makes the audit log of a member from its settings, and ends it with the exit stack it belongs to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Protocol

import structlog

from collectionstore_node.audit.auditor import Auditor
from collectionstore_node.audit.chain import Origin
from collectionstore_node.audit.feeder import Feeder, FeederSeries
from collectionstore_node.audit.files import FileSink
from collectionstore_node.audit.rules import Rules
from collectionstore_node.audit.settings import AuditSettings
from collectionstore_node.audit.sinks import Sink
from collectionstore_node.audit.webhook import WebhookSink

log = structlog.get_logger()


class SinkSeries(FeederSeries, Protocol):
    """What is counted and shown of one sink."""

    def show(self, feeding: Feeder, /) -> None:
        """Export how the sink is, from now on."""


class Surroundings(Protocol):
    """What the audit log takes from its member."""

    @property
    def random(self) -> Callable[[], float]:
        """In [0, 1)."""

    @property
    def wall_ms(self) -> Callable[[], int]:
        """The time of day, in milliseconds since 1970 UTC."""


async def open_audit(
    stack: AsyncExitStack,
    settings: AuditSettings,
    origin: Origin,
    series: Callable[[str], SinkSeries],
    around: Surroundings,
    resource: Mapping[str, str],
    *,
    chain: str,
    ended: Callable[[asyncio.Task[None]], object],
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Auditor | None:
    """Return the audit log, None if it is off; `stack` sends what is queued at its end.

    `series` counts for a sink of that name; `resource` describes the process to receivers of OTLP; `chain` is a random
    ID; `ended` is told when a task that should last has ended. Raises `ValueError` if OpenTelemetry's variables cannot
    be used.
    """
    sinks: dict[str, Sink] = {}
    wall_ms = around.wall_ms
    if settings.directory is not None:
        sinks["file"] = FileSink(
            settings.directory,
            origin,
            chain=chain,
            wall_ms=wall_ms,
            bytes_max=settings.file_bytes_max,
            files_max=settings.files_max,
            sync=settings.sync,
        )
    if settings.webhook:
        sinks["webhook"] = WebhookSink(
            settings.webhook,
            origin,
            chain=chain,
            wall_ms=wall_ms,
            token_file=settings.webhook_token_file,
            ca=settings.webhook_ca,
        )
    if settings.otlp:
        sinks["otlp"] = await asyncio.get_running_loop().run_in_executor(
            None, _otlp_sink, resource, origin, chain, wall_ms
        )
    if not sinks:
        return None
    loop = asyncio.get_running_loop()
    counted = {name: series(name) for name in sinks}
    feeders = [
        Feeder(
            name,
            sink,
            counted[name],
            bytes_max=settings.spool_bytes_max,
            clock=loop.time,
            wall_ms=wall_ms,
            sleep=sleep,
            random=around.random,
        )
        for name, sink in sinks.items()
    ]
    for feeder in feeders:
        counted[feeder.name].show(feeder)
        feeder.start().add_done_callback(ended)
        stack.push_async_callback(feeder.close)
    log.info("audit.started", sinks=sorted(sinks), blocking=settings.blocking)
    return Auditor(
        feeders, Rules(settings.rules, reads=settings.reads), blocking=settings.blocking, random=around.random
    )


def _otlp_sink(resource: Mapping[str, str], origin: Origin, chain: str, wall_ms: Callable[[], int]) -> Sink:
    # Imported here, in a thread: it takes half a second, and members without this sink never do it.
    from collectionstore_node.audit.otlp import OtlpSink, otlp_exporter

    return OtlpSink(otlp_exporter(), resource, origin, chain=chain, wall_ms=wall_ms)
