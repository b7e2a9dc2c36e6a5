"""One scrape: what belongs to the event loop is read there, what may block and the making of text are in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from collectionstore_node.metrics.registry import Metrics


class _Scraped(Collector):
    """What was read on the event loop, followed by what the thread reads."""

    def __init__(self, read: list[Metric], blocking: Iterable[Collector]) -> None:
        self._read = read
        self._blocking = blocking

    def collect(self) -> Iterator[Metric]:
        yield from self._read
        for collector in self._blocking:
            yield from collector.collect()


class Exposition:
    """Renders the metrics of one node; scrapes that come together wait for one another.

    `blocking` collectors are asked in the thread.
    """

    def __init__(self, metrics: Metrics, blocking: Iterable[Collector]) -> None:
        self._metrics = metrics
        self._blocking = tuple(blocking)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="scrape")

    async def render(self, accept: str) -> tuple[bytes, str]:
        """Return the text and its content type: OpenMetrics, with examples, where `accept` asks for it.

        Raises `StorageFailed` when the disk does not let itself be asked any more.
        """
        encode, content_type = choose_encoder(accept)
        scraped = _Scraped(list(self._metrics.collect()), self._blocking)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, encode, scraped), content_type

    def close(self) -> None:
        """Let the thread end."""
        self._thread.shutdown()
