"""Event loop lag from a node's /metrics."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping

import aiohttp

from collectionstore_testkit.clusters.errors import ClusterFailed

_LAG = re.compile(r'^collectionstore_event_loop_lag_seconds_bucket\{le="([^"]+)"\} (\S+)$', re.MULTILINE)
_TIMEOUT_S = 5.0


async def lag_buckets(session: aiohttp.ClientSession, metrics_address: str) -> dict[float, float]:
    """Return how many ticks were at most so many seconds late, by that bound. Raises ClusterFailed."""
    try:
        async with asyncio.timeout(_TIMEOUT_S), session.get(f"http://{metrics_address}/metrics") as response:
            text = await response.text()
    except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
        raise ClusterFailed(f"{metrics_address} does not tell its metrics: {error}") from error
    found = {float(bound): float(count) for bound, count in _LAG.findall(text)}
    if not found:
        raise ClusterFailed(f"{metrics_address} does not tell how late its event loop is")
    return found


def worst_lag_s(before: Mapping[float, float], after: Mapping[float, float]) -> float:
    """Return a bound of every tick's lateness between two looks: the least bucket that holds all of them."""
    new = after[float("inf")] - before[float("inf")]
    return min(bound for bound in after if after[bound] - before[bound] >= new)
