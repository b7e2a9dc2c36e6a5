"""Backup and restore of real clusters: under load, through the loss of the leader, into a cluster of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from collectionstore_testkit.clusters.local import LocalCluster, local_cluster
from collectionstore_testkit.clusters.ports import free_base_port

pytestmark = pytest.mark.xdist_group("backups")

CSCTL = str(Path(sys.executable).with_name("csctl"))
TIMEOUT = aiohttp.ClientTimeout(total=10)
WRITERS = 8
PORTS = range(21_000, 23_000)


async def csctl(cluster: LocalCluster, *arguments: str, code: int = 0) -> str:
    """Run csctl on the state directory of `cluster` and return what it printed to stdout."""
    environment = {**os.environ, "COLLECTIONSTORE_STATE_DIR": str(cluster.state)}
    output = cluster.folder / "output"
    with output.open("w+b") as stdout, (cluster.folder / "errors").open("w+b") as stderr:
        # Files and no pipes: the supervisor that csctl starts keeps them open.
        process = await asyncio.create_subprocess_exec(
            CSCTL, *arguments, env=environment, stdout=stdout, stderr=stderr, stdin=asyncio.subprocess.DEVNULL
        )
        async with asyncio.timeout(180):
            await process.wait()
    printed = output.read_text()
    assert process.returncode == code, printed + (cluster.folder / "errors").read_text()
    return printed


@dataclass
class Load:
    """Writers that each create one document after the other; what was acknowledged, with its revision."""

    session: aiohttp.ClientSession
    urls: list[str]
    acknowledged: dict[str, int] = field(default_factory=dict)
    enough: asyncio.Event = field(default_factory=asyncio.Event)
    wanted: int = 0
    stopping: bool = False

    async def write(self, writer: int) -> None:
        number = 0
        while not self.stopping:
            number += 1
            name = f"{writer}-{number:06}"
            url = f"{self.urls[(writer + number) % len(self.urls)]}/api/v1/collections/books/documents/{name}"
            try:
                async with self.session.put(url, json={"name": name, "text": name * 30}) as response:
                    if response.status in (200, 201):
                        self.acknowledged[name] = (await response.json())["revision"]
            except (aiohttp.ClientError, TimeoutError):
                continue  # unknown: it may be there or not; another document comes next
            if len(self.acknowledged) >= self.wanted:
                self.enough.set()

    async def more(self, count: int) -> None:
        """Return when `count` more are acknowledged."""
        self.wanted = len(self.acknowledged) + count
        self.enough.clear()
        async with asyncio.timeout(120):
            await self.enough.wait()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self.write(number)) for number in range(WRITERS)]
        try:
            yield
        finally:
            # Each ends with the answer to its last write: one that is given up may still be applied.
            self.stopping = True
            await asyncio.gather(*tasks)


async def documents(session: aiohttp.ClientSession, url: str) -> dict[str, tuple[int, Any]]:
    """Return every document with its revision."""
    found: dict[str, tuple[int, Any]] = {}
    cursor: str | None = ""
    while cursor is not None:
        parameters = {"limit": "1000"} | ({"cursor": cursor} if cursor else {})
        async with session.get(f"{url}/api/v1/collections/books/documents", params=parameters) as response:
            page = await response.json()
            assert response.status == 200, page
        found |= {one["id"]: (one["revision"], one["document"]) for one in page["documents"]}
        cursor = page["next_cursor"]
    return found


async def test_a_backup_under_load_restores_to_exactly_its_revision(tmp_path: Path) -> None:
    """Init: three members and eight writers. Step: back up; kill the leader and back up during its loss; restore the
    second backup as a new cluster of three.

    Check: what was acknowledged before a backup began is in it; the restored documents are those of the old cluster up
    to the revision of the backup, byte for byte and with their revisions, and no others; the members agree; revisions
    go on behind it. The archived log takes it on to the last write.
    """
    async with (
        aiohttp.ClientSession(timeout=TIMEOUT) as session,
        local_cluster(replicas=3, base_port=free_base_port(60, within=PORTS)) as cluster,
    ):
        repository = ("--repository", str(tmp_path / "repository"), "-o", "json")
        async with session.put(f"{cluster.url(0)}/api/v1/collections/books") as response:
            assert response.status == 201
        load = Load(session, cluster.urls(3))
        async with load.running():
            await load.more(300)
            before = max(load.acknowledged.values())
            first = json.loads(await csctl(cluster, "backup", "create", *repository))
            assert first["revision"] >= before
            assert first["from_leader"] is False

            async with session.get(f"{cluster.url(0)}/api/v1/cluster") as response:
                leader = (await response.json())["leader"]["name"]
            await csctl(cluster, "local", "kill", leader)
            await load.more(50)
            before = max(load.acknowledged.values())
            second = json.loads(await csctl(cluster, "backup", "create", *repository))
            assert second["revision"] >= before
            await load.more(100)

        old = await documents(session, cluster.url(0))
        assert all(old[name][0] == revision for name, revision in load.acknowledged.items())
        verified = json.loads(await csctl(cluster, "backup", "verify", "latest", *repository))
        assert verified["id"] == second["id"]

        port = free_base_port(60, within=PORTS)
        source: tuple[str, ...] = ("--from", str(tmp_path / "repository"), "--name", "copy")
        await csctl(cluster, "restore", second["id"], *source, "--base-port", str(port))
        try:
            copy = [f"http://127.0.0.1:{port + 10 * ordinal}" for ordinal in range(3)]
            revision = second["revision"]
            for url in copy:
                assert await documents(session, url) == {
                    name: (at, document) for name, (at, document) in old.items() if at <= revision
                }
            assert len(old) > len(await documents(session, copy[0])) > 300
            statuses = []
            for url in copy:
                async with session.get(f"{url}/status") as response:
                    statuses.append(await response.json())
            assert {one["cluster_id"] for one in statuses}.isdisjoint({first["cluster_id"]})
            assert len({one["state_digest"] for one in statuses}) == 1
            async with session.put(f"{copy[1]}/api/v1/collections/books/documents/new", json={}) as response:
                assert (await response.json())["revision"] == revision + 1
            await csctl(cluster, "restore", *source, "--base-port", str(port), code=7)
        finally:
            await csctl(cluster, "local", "clean", "--yes", "--cluster", "copy")

        lag = json.loads(await csctl(cluster, "backup", "archive", *repository, "--once"))
        assert lag["lag_entries"] == 0
        source = ("--from", str(tmp_path / "repository"), "--name", "point", "--to", "end")
        await csctl(cluster, "restore", "latest", *source, "--base-port", str(port))
        try:
            assert await documents(session, copy[2]) == old
        finally:
            await csctl(cluster, "local", "clean", "--yes", "--cluster", "point")


async def test_a_cluster_without_a_quorum_is_not_backed_up_unless_stale(tmp_path: Path) -> None:
    """A member in a minority may lack acknowledged writes: it refuses, and nothing is stored."""
    async with (
        aiohttp.ClientSession(timeout=TIMEOUT) as session,
        local_cluster(replicas=3, base_port=free_base_port(60, within=PORTS)) as cluster,
    ):
        repository = ("--repository", str(tmp_path / "repository"), "-o", "json")
        async with session.put(f"{cluster.url(0)}/api/v1/kv/b/k", data=b"value") as response:
            assert response.status == 201
        for ordinal in (0, 1):
            await csctl(cluster, "local", "pause", cluster.member(ordinal))

        await csctl(cluster, "backup", "create", *repository, "--deadline", "120s", code=10)
        assert json.loads(await csctl(cluster, "backup", "list", *repository)) == []
        await csctl(cluster, "local", "heal")
        made = json.loads(await csctl(cluster, "backup", "create", *repository, "--deadline", "60s"))
        assert made["revision"] == 1
