"""Certificates of a cluster of processes change while clients read and write: rotated, renewed, expired, recovered."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from collectionstore_local.state.authority_files import AuthorityFiles
from collectionstore_operator.reconcile import stored_authority
from collectionstore_testkit.clusters.local import LocalCluster, local_cluster
from collectionstore_testkit.clusters.ports import free_base_port

pytestmark = pytest.mark.xdist_group("certificates")

DEADLINE_S = 90.0
LOOK_S = 0.2


@dataclass
class Load:
    """Clients that write and read back, on kept connections and on new ones; every failure is kept."""

    cluster: LocalCluster
    done: int = 0
    failures: list[str] = field(default_factory=list)

    def ports(self) -> list[str]:
        return [url.replace("http:", "https:") for url in self.cluster.urls(3)]

    def authorities(self) -> Path:
        return self.cluster.state / self.cluster.name / "ca" / "ca.crt"

    async def keep(self, number: int) -> None:
        """Use one connection for everything: it must not be dropped."""
        async with aiohttp.ClientSession(base_url=self.ports()[number % 3]) as session:
            tls = ssl.create_default_context(cafile=str(self.authorities()))
            while True:
                await self._pair(session, tls, f"kept-{number}")
                await asyncio.sleep(0.02)

    async def reconnect(self, number: int) -> None:
        """Read ca.crt and open a connection for every pair of requests, as a client that starts now."""
        while True:
            tls = ssl.create_default_context(cafile=str(self.authorities()))
            async with aiohttp.ClientSession(base_url=self.ports()[number % 3]) as session:
                await self._pair(session, tls, f"new-{number}")
            await asyncio.sleep(0.05)

    async def _pair(self, session: aiohttp.ClientSession, tls: ssl.SSLContext, key: str) -> None:
        path, value = f"/api/v1/kv/load/{key}", str(self.done).encode()
        try:
            async with session.put(path, data=value, ssl=tls) as answer:
                assert answer.status in (200, 201), f"{answer.status} {await answer.text()}"
            async with session.get(path, ssl=tls) as answer:
                assert answer.status == 200, f"{answer.status} {await answer.text()}"
                assert await answer.read() == value
        except (aiohttp.ClientError, OSError, AssertionError) as error:
            self.failures.append(f"{key}: {type(error).__name__}: {error}")
        self.done += 1


@contextlib.asynccontextmanager
async def load(cluster: LocalCluster) -> AsyncIterator[Load]:
    """Run clients against every member, and demand that none of their requests failed."""
    running = Load(cluster)
    tasks = [asyncio.create_task(work(n)) for n in range(3) for work in (running.keep, running.reconnect)]
    try:
        yield running
    finally:
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(end, asyncio.CancelledError) for end in ends), ends
    assert running.done > 100
    assert running.failures == []


@contextlib.asynccontextmanager
async def secure_cluster(**tls: int) -> AsyncIterator[LocalCluster]:
    """Three members with TLS for clients, and with these lifetimes."""
    port = free_base_port(30, within=range(20_000, 30_000))
    spec = {"tls": {"client": "Required", **tls}}
    async with local_cluster(replicas=3, base_port=port, name="certs", spec=spec) as one:
        yield one


def status(cluster: LocalCluster) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((cluster.state / cluster.name / "status.json").read_bytes())
    return found


def node_pids(cluster: LocalCluster) -> dict[str, int]:
    """Return the process ID of each member."""
    nodes = (cluster.state / cluster.name / "nodes").glob("*/process.json")
    return {path.parent.name: json.loads(path.read_bytes())["process"]["pid"] for path in nodes}


async def eventually(what: str, holds: Any) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not holds():  # noqa: ASYNC110 - other processes announce nothing to wait for
            await asyncio.sleep(LOOK_S)


def serials(cluster: LocalCluster) -> set[str]:
    return {one["certificateSerial"] for one in status(cluster)["members"]}


async def test_authority_is_rotated_under_load_without_a_failed_request_or_a_restart() -> None:
    async with secure_cluster() as cluster:
        before, pids = status(cluster), node_pids(cluster)
        assert before["authority"]["phase"] == "Steady"
        assert len(pids) == 3
        async with load(cluster):
            await cluster.csctl("rotate-authority", "--timeout", f"{DEADLINE_S:g}", timeout_s=DEADLINE_S + 30)
            after = status(cluster)
        key = after["authority"]["key"]
        assert key != before["authority"]["key"]
        assert "otherKey" not in after["authority"] or not after["authority"]["otherKey"]
        assert {one["certificateAuthority"] for one in after["members"]} == {key}
        assert node_pids(cluster) == pids
        authority = AuthorityFiles(cluster.state / cluster.name / "ca").read()
        assert authority is not None
        assert stored_authority.identifiers(authority.bundle_pem) == (key,)
