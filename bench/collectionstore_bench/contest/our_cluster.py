"""A local cluster of this repository, of the checkout or of an older commit, as a store."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from collectionstore_bench.contest.stores import Located
from collectionstore_bench.generators.load import keys_for, prefix_for
from collectionstore_bench.load.documents import fill
from collectionstore_testkit.clusters.local import CSCTL, LocalCluster, local_cluster
from collectionstore_testkit.clusters.node_status import Nodes

REPLICAS = 3


class OurCluster:
    """Three nodes that `csctl local` runs."""

    def __init__(self, name: str, cluster: LocalCluster, session: aiohttp.ClientSession, *, tls: bool) -> None:
        self.name = name
        self.version = ""
        self._nodes = Nodes(session)
        self._session = session
        scheme = "https" if tls else "http"
        self._urls = [url.replace("http", scheme, 1) for url in cluster.urls(REPLICAS)]

    async def locate(self) -> Located:
        """Return the nodes. Raises ClusterFailed when no node leads."""
        url, leader = await self._nodes.leader(self._urls)
        self.version = leader.version
        statuses = await self._nodes.statuses(self._urls)
        pids = {status.name: status.pid for status in statuses.values()}
        return Located([url, *(other for other in self._urls if other != url)], leader.name, pids)

    async def fill(self, size: int) -> None:
        """Write every document of `size` bytes once."""
        located = await self.locate()
        await fill(
            self._session,
            located.urls[0],
            size=size,
            count=keys_for(size),
            prefix=prefix_for(size),
            context=unchecked(),
        )

    async def tidy(self) -> None:
        """Nothing: nodes compact their logs by themselves."""


@asynccontextmanager
async def our_cluster(
    name: str, *, base_port: int, tls: bool = False, program: Path = CSCTL
) -> AsyncIterator[OurCluster]:
    """Start three nodes, and stop them at the end. Raises ClusterFailed."""
    spec = {"tls": {"client": "Required" if tls else "Disabled"}}
    async with (
        local_cluster(replicas=REPLICAS, base_port=base_port, spec=spec, program=program) as cluster,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=unchecked())) as session,
    ):
        yield OurCluster(name, cluster, session, tls=tls)


def unchecked() -> ssl.SSLContext:
    """Return a context that does not check certificates: wrk does not check them either."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
