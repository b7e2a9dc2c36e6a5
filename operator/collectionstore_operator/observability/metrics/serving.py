"""Serves the metrics of a process: its own series and those of any Python process."""

from __future__ import annotations

from importlib.metadata import version

from aiohttp import web
from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import choose_encoder

from collectionstore_operator.observability.metrics.counting import OperatorMetrics

DISTRIBUTION = "collectionstore-operator"


def process_metrics(registry: CollectorRegistry) -> OperatorMetrics:
    """Return the metrics of this process, registered in `registry`."""
    # `_created` would add a second line for each child of a counter, and no dashboard or alert reads it.
    disable_created_metrics()  # type: ignore[no-untyped-call]
    for kind in (ProcessCollector, PlatformCollector, GCCollector):
        kind(registry=registry)
    return OperatorMetrics(registry, version=version(DISTRIBUTION))


def add_metrics(app: web.Application, registry: CollectorRegistry) -> None:
    """Serve /metrics: the Prometheus text format, or OpenMetrics if the Accept header asks for it."""

    async def metrics(request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(registry), headers={"Content-Type": content_type})

    app.router.add_get("/metrics", metrics)
