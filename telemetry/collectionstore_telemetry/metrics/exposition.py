"""One scrape: series of the event loop are rendered on it, series whose reading blocks in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from collectionstore_telemetry.metrics.registry import Metrics

_OPENMETRICS = "application/openmetrics-text"


def process_collectors() -> CollectorRegistry:
    """Return prometheus-client's series of any Python process; reading them blocks, as they come from /proc."""
    registry = CollectorRegistry()
    for kind in (ProcessCollector, PlatformCollector, GCCollector):
        kind(registry=registry)
    return registry


class Exposition:
    """Renders the metrics of one process; concurrent scrapes are rendered one after the other.

    `blocking`, such as the state of the disk, and `process` are read in the thread.
    """

    def __init__(self, metrics: Metrics, *, process: Collector, blocking: Metrics | None = None) -> None:
        self._metrics = metrics
        self._blocking = blocking
        self._process = process
        # Its own thread: scrapes are serialized, and do not wait behind other work in the loop's executor.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="scrape")

    async def render(self, accept: str) -> tuple[bytes, str]:
        """Return the text and its content type: OpenMetrics, with exemplars, if the `accept` header asks for it.

        Raises what reading `blocking` raises.
        """
        encode, content_type = choose_encoder(accept)
        openmetrics = content_type.startswith(_OPENMETRICS)
        # One event-loop turn, so that the series of the loop are consistent with each other.
        text = self._metrics.render(openmetrics=openmetrics)
        blocking = asyncio.get_running_loop().run_in_executor(self._thread, self._render_blocking, encode, openmetrics)
        return text.encode() + await blocking, content_type

    def _render_blocking(self, encode: Callable[[Collector], bytes], openmetrics: bool) -> bytes:  # noqa: FBT001
        text = self._blocking.render(openmetrics=openmetrics) if self._blocking is not None else ""
        # LAST: the encoder writes the `# EOF` that ends an OpenMetrics text.
        return text.encode() + encode(self._process)

    def close(self) -> None:
        """Shut down the thread."""
        self._thread.shutdown()
