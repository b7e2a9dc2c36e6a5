"""Readiness probes: polls whether each node can serve a linearizable read, as the kubelet does for pods.

Runs beside the reconcile loop: a node that hangs makes its probe time out, which must not delay an observation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from collectionstore_operator.reconcile.node_client import NodeClient

PERIOD_READY_S = 1.0
PERIOD_UNREADY_S = 0.2


class Probes:
    """One probe task per running node. `changed` is called when a node becomes ready or unready."""

    def __init__(self, client: NodeClient, changed: Callable[[], None]) -> None:
        self._client = client
        self._changed = changed
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._ready: set[str] = set()

    def watch(self, metrics_urls: Mapping[str, str]) -> None:
        """Probe exactly these nodes. A key identifies a process, so that a restarted node begins as not ready."""
        for key in self._tasks.keys() - metrics_urls.keys():
            # Not awaited here: `watch` is called in every observation, and cancelled probes need one turn of the loop.
            self._tasks.pop(key).cancel()
            self._ready.discard(key)
        for key in metrics_urls.keys() - self._tasks.keys():
            self._tasks[key] = asyncio.create_task(self._probe(key, metrics_urls[key]))

    def is_ready(self, key: str) -> bool:
        """Return the result of the last probe."""
        return key in self._ready

    async def close(self) -> None:
        """Stop all probes."""
        tasks = tuple(self._tasks.values())
        self.watch({})
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _probe(self, key: str, metrics_url: str) -> None:
        while True:
            ready = await self._client.is_ready(metrics_url)
            # No await from here to `changed`: `watch` could discard the key in between, and a process that no longer
            # exists would be ready again.
            if ready != (key in self._ready):
                (self._ready.add if ready else self._ready.discard)(key)
                self._changed()
            await asyncio.sleep(PERIOD_READY_S if ready else PERIOD_UNREADY_S)
