"""One scrape: what belongs to the event loop is told there, at once; what may block is asked in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from collectionstore_node.metrics.registry import Metrics

_OPENMETRICS = "application/openmetrics-text"


class Exposition:
    """Renders the metrics of one node; scrapes that come together wait for one another.

    `stored` and `process` are asked in the thread: the disk, and /proc.
    """

    def __init__(self, metrics: Metrics, *, stored: Metrics, process: Collector) -> None:
        self._metrics = metrics
        self._stored = stored
        self._process = process
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="scrape")

    async def render(self, accept: str) -> tuple[bytes, str]:
        """Return the text and its content type: OpenMetrics, with examples, where `accept` asks for it.

        Raises `StorageFailed` when the disk does not let itself be asked any more.
        """
        encode, content_type = choose_encoder(accept)
        openmetrics = content_type.startswith(_OPENMETRICS)
        told = self._metrics.render(openmetrics=openmetrics)
        blocking = asyncio.get_running_loop().run_in_executor(self._thread, self._render_blocking, encode, openmetrics)
        return told.encode() + await blocking, content_type

    def _render_blocking(self, encode: Callable[[Collector], bytes], openmetrics: bool) -> bytes:  # noqa: FBT001
        # The last part: the encoder ends an OpenMetrics text.
        return self._stored.render(openmetrics=openmetrics).encode() + encode(self._process)

    def close(self) -> None:
        """Let the thread end."""
        self._thread.shutdown()
