"""Writes that go on beside something else, one at a time, so that a node that is held up shows in their latency."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp

from collectionstore_testkit.clusters.errors import ClusterFailed

COLLECTION = "beside"
KEYS = 100
PAUSE_S = 0.01
"""Between an answer and the next write."""
BODY = b'{"text":"written beside"}'


@dataclass(slots=True)
class Probed:
    """What the writes showed; latencies in seconds."""

    latencies: list[float] = field(default_factory=list)
    refused: int = 0

    def quantile(self, fraction: float) -> float:
        """Return the latency that this part of the writes did not exceed. Raises ClusterFailed without any."""
        if not self.latencies:
            raise ClusterFailed("no write was answered meanwhile")
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(fraction * len(ordered)))]


@asynccontextmanager
async def writes_beside(session: aiohttp.ClientSession, url: str) -> AsyncIterator[Probed]:
    """Write to a collection of its own for the time of the block. Raises ClusterFailed for an unexpected answer."""
    async with session.put(f"{url}/api/v1/collections/{COLLECTION}") as response:
        response.raise_for_status()
    probed, ended = Probed(), asyncio.Event()

    async def write() -> None:
        number = 0
        while not ended.is_set():
            place = f"{url}/api/v1/collections/{COLLECTION}/documents/{number % KEYS:03d}"
            number += 1
            began = time.perf_counter()
            async with session.put(place, data=BODY, headers={"Content-Type": "application/json"}) as response:
                await response.read()
                if response.status == 503:
                    probed.refused += 1
                elif response.status < 300:
                    probed.latencies.append(time.perf_counter() - began)
                else:
                    raise ClusterFailed(f"a write was answered with {response.status}: {await response.text()}")
            await asyncio.sleep(PAUSE_S)

    # A task group: a write that fails ends the block too.
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(write())
            yield probed
            ended.set()
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
