"""A real cluster loses the disks of two of its three members, and is recovered by the guide, under load before it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from collectionstore_testkit.clusters.local import LocalCluster, local_cluster
from collectionstore_testkit.clusters.ports import free_base_port

pytestmark = pytest.mark.xdist_group("recovery")

TIMEOUT = aiohttp.ClientTimeout(total=10)
PORTS = range(23_000, 24_000)
GRACE_S = 5
WRITERS = 6


class Load:
    """Writers that each create one document after the other; what was acknowledged, by the revision of its answer."""

    def __init__(self, session: aiohttp.ClientSession, urls: list[str]) -> None:
        self.session = session
        self.urls = urls
        self.acknowledged: dict[str, int] = {}
        self.stopping = False

    async def write(self, writer: int) -> None:
        number = 0
        while not self.stopping:
            number += 1
            name = f"{writer}-{number:06}"
            url = f"{self.urls[(writer + number) % len(self.urls)]}/api/v1/collections/books/documents/{name}"
            try:
                async with self.session.put(url, json={"name": name}) as response:
                    if response.status in (200, 201):
                        self.acknowledged[name] = (await response.json())["revision"]
            except (aiohttp.ClientError, TimeoutError):
                await asyncio.sleep(0)  # unknown: it may be there or not; another document comes next


async def until(check: Callable[[], Any], what: str, timeout_s: float = 120) -> Any:
    """Return what `check` returns once that is true."""
    async with asyncio.timeout(timeout_s):
        while True:
            found = await check()
            if found:
                return found
            await asyncio.sleep(0.2)
    raise AssertionError(what)


async def published(cluster: LocalCluster) -> dict[str, Any]:
    """Return the published status, as it is."""
    value: dict[str, Any] = json.loads((cluster.state / cluster.name / "status.json").read_text())
    return value


def condition(status: dict[str, Any], kind: str) -> dict[str, Any]:
    return next(one for one in status["conditions"] if one["type"] == kind)


def kill_node(cluster: LocalCluster, ordinal: int) -> None:
    """End the process of a member."""
    record = json.loads((cluster.state / cluster.name / "nodes" / cluster.member(ordinal) / "process.json").read_text())
    os.kill(record["process"]["pid"], signal.SIGKILL)


async def lose(cluster: LocalCluster, ordinals: tuple[int, ...]) -> Path:
    """Delete the data directories of members, and end their processes: their successors start on empty ones.

    Return a copy of the directories, as they would be on a disk that turns up again.
    """
    kept = cluster.folder / "kept"
    kept.mkdir()
    for ordinal in ordinals:
        node = cluster.state / cluster.name / "nodes" / cluster.member(ordinal)
        (node / "data").rename(kept / cluster.member(ordinal))
        kill_node(cluster, ordinal)
    return kept


async def documents(session: aiohttp.ClientSession, url: str) -> dict[str, int]:
    """Return every document with its revision."""
    found: dict[str, int] = {}
    cursor: str | None = ""
    while cursor is not None:
        parameters = {"limit": "1000"} | ({"cursor": cursor} if cursor else {})
        async with session.get(f"{url}/api/v1/collections/books/documents", params=parameters) as response:
            page = await response.json()
            assert response.status == 200, page
        found |= {one["id"]: one["revision"] for one in page["documents"]}
        cursor = page["next_cursor"]
    return found


async def test_two_of_three_disks_are_lost_and_the_guide_brings_the_cluster_back() -> None:
    """Init: three members under load. Step: stop two and delete their data; recover by the nonce in the status.

    Check: nothing happens before the nonce; every write that was acknowledged with a revision that the survivor had is
    there, with its revision; three members vote again in a cluster of another ID; revisions go on, and never go back;
    the old disks are refused.
    """
    spec = {"failedMember": {"graceSeconds": GRACE_S}}
    async with (
        aiohttp.ClientSession(timeout=TIMEOUT) as session,
        local_cluster(replicas=3, base_port=free_base_port(60, within=PORTS), spec=spec) as cluster,
    ):
        async with session.put(f"{cluster.url(0)}/api/v1/collections/books") as response:
            assert response.status == 201
        before = await published(cluster)
        load = Load(session, cluster.urls(3))
        writing = [asyncio.create_task(load.write(number)) for number in range(WRITERS)]

        async def enough() -> bool:
            return len(load.acknowledged) > 300

        await until(enough, "writes")
        kept = await lose(cluster, (0, 1))
        load.stopping = True
        await asyncio.gather(*writing)

        # Classified, frozen, and offered after the grace time.
        async def offered() -> dict[str, Any] | None:
            status = await published(cluster)
            return status if status["recovery"]["nonce"] else None

        status = await until(offered, "an offer")
        lost = condition(status, "QuorumLost")
        assert (lost["status"], lost["reason"]) == ("True", "DisksGone")
        assert "2 of 3 disks are gone" in lost["message"]
        recovery = status["recovery"]
        assert recovery["lost"] == [cluster.member(0), cluster.member(1)]
        (survivor,) = recovery["survivors"]
        assert (survivor["name"], survivor["known"]) == (cluster.member(2), True)
        assert status["clusterID"] == before["clusterID"]
        assert [step["step"] for step in status["plan"]] == ["RecoverQuorum"]

        manifest = json.loads(cluster.manifest.read_text())
        manifest["spec"]["recovery"] = {"nonce": recovery["nonce"]}
        cluster.manifest.write_text(json.dumps(manifest))
        deadline = ("--timeout", "120")
        await cluster.csctl("apply", "-f", str(cluster.manifest), *deadline, timeout_s=150)

        async def finished() -> dict[str, Any] | None:
            status = await published(cluster)
            done = status["recovery"]["phase"] == "Finished" and condition(status, "Ready")["status"] == "True"
            return status if done else None

        status = await until(finished, "the recovery")
        recovery = status["recovery"]
        assert recovery["survivor"] == cluster.member(2)
        assert status["clusterID"] == recovery["clusterID"] != recovery["fromClusterID"] == before["clusterID"]
        assert status["membersSummary"] == "3/3"
        assert len(status["configuration"]["voters"]) == 3
        assert condition(status, "QuorumLost")["status"] == "False"

        # All that the survivor had is there; what was acknowledged behind it is the measured loss.
        found = await documents(session, cluster.url(2))
        missing = {name: revision for name, revision in load.acknowledged.items() if name not in found}
        assert all(revision > recovery["revision"] for revision in missing.values())
        assert all(found[name] == revision for name, revision in load.acknowledged.items() if name in found)
        assert len(found) > 250
        # An acknowledged write is on a majority, so the survivor lacks some only if the two others were that majority.
        async with session.put(f"{cluster.url(0)}/api/v1/collections/books/documents/after", json={}) as response:
            assert response.status == 201
            assert (await response.json())["revision"] > max(load.acknowledged.values())

        # The dead cannot return: an old disk under its old name is refused.
        data = cluster.state / cluster.name / "nodes" / cluster.member(0) / "data"
        copy = cluster.folder / "returned"
        shutil.copytree(kept / cluster.member(0), copy)
        refused = await _start_on(copy, cluster, status["clusterID"])
        assert "belongs to cluster" in refused
        assert data.exists()


async def _start_on(data: Path, cluster: LocalCluster, cluster_id: str) -> str:
    """Start a node of the new cluster on an old directory, and return why it does not run."""
    record = json.loads((cluster.state / cluster.name / "nodes" / cluster.member(0) / "process.json").read_text())
    settings = {**record["launch"]["settings"], "COLLECTIONSTORE_DATA_DIR": str(data)}
    settings |= {f"COLLECTIONSTORE_{kind}_ADDRESS": "127.0.0.1:0" for kind in ("CLIENT", "PEER", "METRICS")}
    assert settings["COLLECTIONSTORE_CLUSTER_ID"] == cluster_id
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "collectionstore_node",
        env={**os.environ, **settings},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 65
    return output.decode()
