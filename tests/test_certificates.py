"""Certificates of a cluster of processes change while clients read and write: rotated, renewed, expired, recovered."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from collectionstore_local.state.authority_files import AuthorityFiles
from collectionstore_operator.model.observed import CertificateKind
from collectionstore_operator.planning import certificates
from collectionstore_operator.reconcile import pki, stored_authority
from collectionstore_operator.resource.desired import Desired
from collectionstore_testkit.clusters.local import LocalCluster, local_cluster
from collectionstore_testkit.clusters.ports import free_base_port

pytestmark = pytest.mark.xdist_group("certificates")

DEADLINE_S = 90.0
LOOK_S = 0.2
ENOUGH = 100
"""Pairs of requests that a load must have done to show anything."""


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
    assert running.done > ENOUGH
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


async def eventually(holds: Callable[[], Awaitable[bool]]) -> None:
    """Return when it holds; looks again every LOOK_S, for DEADLINE_S: other processes announce nothing."""
    async with asyncio.timeout(DEADLINE_S):
        while not await holds():  # noqa: ASYNC110 - see above
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


async def renewed(cluster: LocalCluster, before: set[str]) -> bool:
    """Return whether every member uses another certificate than before."""
    now = serials(cluster)
    return len(now) == 3 and not now & before


async def test_certificates_of_one_minute_are_renewed_under_load_without_a_restart() -> None:
    async with secure_cluster(certificateLifetimeSeconds=60, authorityLifetimeSeconds=3_600) as cluster:
        before, pids = serials(cluster), node_pids(cluster)
        assert len(before) == 3
        async with load(cluster):
            await eventually(lambda: renewed(cluster, before))
        assert node_pids(cluster) == pids
        conditions = {one["type"]: one["status"] for one in status(cluster)["conditions"]}
        assert conditions["CertificatesReady"] == "True"


def end_all_certificates(cluster: LocalCluster) -> str:
    """Replace the authority and every leaf by ones of the same keys and names that have ended; return its key."""
    folder = cluster.state / cluster.name
    cluster_id, year_s = status(cluster)["clusterID"], 365 * 86_400
    then = time.time() - 2 * year_s
    key_pem = (folder / "ca" / "ca.key").read_bytes()
    authority = pki.make_authority(cluster.name, cluster_id, lifetime_s=year_s, now=then, key_pem=key_pem)
    (folder / "ca" / "ca.crt").write_bytes(authority.certificate_pem)
    desired = Desired(name=cluster.name)
    subjects = [certificates.operator(desired, cluster_id)]
    subjects += [certificates.member(desired, cluster_id, ordinal) for ordinal in range(3)]
    for subject in subjects:
        own = (
            folder / "operator" if subject.kind is CertificateKind.OPERATOR else folder / "nodes" / subject.name / "tls"
        )
        leaf = pki.make_leaf(
            authority, kind=subject.kind, name=subject.name, names=subject.names, lifetime_s=year_s, now=then
        )
        (own / "tls.key").write_bytes(leaf.key_pem)
        (own / "ca.crt").write_bytes(authority.certificate_pem)
        (own / "tls.crt").write_bytes(leaf.certificate_pem)
    return stored_authority.identifiers(authority.certificate_pem)[0]


async def connects(running: Load) -> list[bool]:
    """Return for each member whether a new client can verify it."""
    tls, found = ssl.create_default_context(cafile=str(running.authorities())), []
    for port in running.ports():
        try:
            async with aiohttp.ClientSession() as session, session.get(f"{port}/api/v1/cluster", ssl=tls) as answer:
                found.append(answer.status == 200)
        except (aiohttp.ClientError, OSError):
            found.append(False)
    return found


async def expire(cluster: LocalCluster) -> str:
    """Have no operator, and everything expired and in use; return the key of the authority."""
    os.kill(cluster.supervisor_pid(), signal.SIGKILL)
    key = end_all_certificates(cluster)

    async def none_connects() -> bool:
        return not any(await connects(Load(cluster)))

    await eventually(none_connects)
    return key


async def recovered(cluster: LocalCluster) -> None:
    """Start the operator, and demand that all clients work again."""
    await cluster.resume()

    async def all_connect() -> bool:
        return all(await connects(Load(cluster)))

    await eventually(all_connect)
    async with load(cluster) as running:

        async def enough() -> bool:
            return running.done > ENOUGH

        await eventually(enough)
    conditions = {one["type"]: one["status"] for one in status(cluster)["conditions"]}
    assert conditions["CertificatesReady"] == "True"


async def test_members_that_start_with_expired_certificates_recover_by_themselves() -> None:
    """No operator ran for longer than anything lived, and every machine was restarted."""
    async with secure_cluster() as cluster:
        key = await expire(cluster)
        for pid in node_pids(cluster).values():
            os.kill(pid, signal.SIGKILL)
        await recovered(cluster)
        assert status(cluster)["authority"]["key"] == key, "clients that have its certificate need no other one"


async def test_certificates_that_expired_under_running_members_are_replaced_without_a_restart() -> None:
    """The key is older than ten certificates of the authority: it is rotated, and its certificate renewed but once."""
    tenth_s = 2 * 365 * 86_400 // 10
    async with secure_cluster(certificateLifetimeSeconds=86_400, authorityLifetimeSeconds=tenth_s) as cluster:
        pids = node_pids(cluster)
        key = await expire(cluster)
        await recovered(cluster)

        async def rotating() -> bool:
            return bool(status(cluster)["authority"]["phase"] == "Trusting")

        await eventually(rotating)
        assert status(cluster)["authority"]["key"] == key, "clients have eight hours to read the next one"
        assert node_pids(cluster) == pids
