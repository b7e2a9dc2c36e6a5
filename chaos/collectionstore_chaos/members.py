"""The end of a run: every fault over, every member there, and all of them the same."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import aiohttp
import msgspec

from collectionstore_chaos.cluster import Cluster
from collectionstore_chaos.lab import until
from collectionstore_testkit.clusters.errors import ClusterFailed
from collectionstore_testkit.clusters.node_status import Status
from collectionstore_testkit.histories.http_store import BUCKET, COLLECTION

READY_TIMEOUT_S: Final = 180.0
EQUAL_TIMEOUT_S: Final = 60.0
READ_TIMEOUT_S: Final = 10.0
PAGE: Final = 1000


async def await_ready(cluster: Cluster) -> None:
    """Return when the cluster is Ready in its first size. Raises ClusterFailed."""

    async def ready() -> bool:
        leader = await cluster.leader()
        return leader is not None and len(leader.configuration.voters) == cluster.size and cluster.members.is_ready()

    if not await until(ready, READY_TIMEOUT_S):
        status = await cluster.local.csctl("status", timeout_s=30)
        raise ClusterFailed(f"not Ready {READY_TIMEOUT_S:g} s after every fault was over:\n{status}")


async def compare(cluster: Cluster) -> tuple[int, list[str]]:
    """Compare what every member has applied, by digest and key by key; return how many keys, and each disagreement.

    Nothing may write meanwhile. Raises ClusterFailed when the members do not come to the same index in time.
    """

    async def equal() -> bool:
        statuses = (await cluster.statuses()).values()
        places = {(one.applied_index, one.commit_index, one.revision) for one in statuses}
        return len(statuses) == cluster.size and len(places) == 1

    if not await until(equal, EQUAL_TIMEOUT_S):
        places = {name: (one.commit_index, one.applied_index) for name, one in (await cluster.statuses()).items()}
        raise ClusterFailed(f"commit and applied index differ {EQUAL_TIMEOUT_S:g} s after the last write: {places}")
    statuses = await cluster.statuses()
    differences = _different_digests(statuses)
    contents = {name: await _everything(cluster, name) for name in statuses}
    (reference, expected), *others = contents.items()
    for name, content in others:
        for key in sorted(expected.keys() | content.keys()):
            if expected.get(key) != content.get(key):
                differences.append(f"{key}: {reference} has {expected.get(key)}, {name} has {content.get(key)}")
    return len(expected), differences


def _different_digests(statuses: Mapping[str, Status]) -> list[str]:
    """Return the state digest of each member if they differ."""
    if len({one.state_digest for one in statuses.values()}) == 1:
        return []
    return [f"the state at {one.applied_index}: {name} has digest {one.state_digest}" for name, one in statuses.items()]


async def _everything(cluster: Cluster, name: str) -> dict[str, Any]:
    """Return every document and every raw value with its revision, as this member has applied them."""
    documents = await _list(cluster, name, f"collections/{COLLECTION}/documents", "documents", {})
    values = await _list(cluster, name, f"kv/{BUCKET}", "keys", {"values": "true"})
    return {f"documents/{one['id']}": one for one in documents} | {f"kv/{one['key']}": one for one in values}


async def _list(
    cluster: Cluster, name: str, path: str, field: str, parameters: Mapping[str, str]
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    query = {"consistency": "stale", "limit": str(PAGE), **parameters}
    while True:
        try:
            async with (
                asyncio.timeout(READ_TIMEOUT_S),
                cluster.nodes.session.get(f"{cluster.local.url_of(name)}/api/v1/{path}", params=query) as response,
            ):
                content = await response.read()
        except (aiohttp.ClientError, OSError) as error:
            raise ClusterFailed(f"{name} cannot be read at the end: {error!r}") from error
        if response.status != 200:
            raise ClusterFailed(f"{name} cannot be read at the end: {response.status} {content.decode()}")
        page = msgspec.json.decode(content)
        found += page[field]
        if page["next_cursor"] is None:
            return found
        query["cursor"] = page["next_cursor"]
