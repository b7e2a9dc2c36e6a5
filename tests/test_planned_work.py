"""Planned work on a cluster of processes under load: no request fails, nothing that was acknowledged is lost."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from collectionstore_testkit.clusters.local import LocalCluster, local_cluster
from collectionstore_testkit.clusters.ports import free_base_port

pytestmark = pytest.mark.xdist_group("planned-work")

DEADLINE_S = 60.0
ENOUGH = 50
"""Writes that a load must have done to show anything."""


@contextlib.asynccontextmanager
async def cluster() -> AsyncIterator[LocalCluster]:
    port = free_base_port(30, within=range(20_000, 30_000))
    async with local_cluster(replicas=3, base_port=port, name="planned") as one:
        yield one


def status(of: LocalCluster) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((of.state / of.name / "status.json").read_bytes())
    return found


async def eventually(holds: Callable[[], bool]) -> None:
    """Return when it holds; other processes announce nothing."""
    async with asyncio.timeout(DEADLINE_S):
        while not holds():  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.02)


@dataclass
class Load:
    """One client for each member that writes new values and never repeats one; every failure is kept."""

    cluster: LocalCluster
    written: dict[str, str] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    async def write(self, number: int) -> None:
        async with aiohttp.ClientSession(base_url=self.cluster.urls(3)[number]) as session:
            count = 0
            while True:
                key, value = f"{number}-{count}", f"value-{count}"
                count += 1
                try:
                    async with session.put(f"/api/v1/kv/load/{key}", data=value) as answer:
                        if answer.status in (200, 201):
                            self.written[key] = value
                        else:
                            self.failures.append(f"{key}: {answer.status} {await answer.text()}")
                except (aiohttp.ClientError, OSError) as error:
                    self.failures.append(f"{key}: {type(error).__name__}: {error}")
                await asyncio.sleep(0.01)

    async def read_back(self) -> dict[str, str]:
        """Return what the first member reads of everything that was acknowledged."""
        found = {}
        async with aiohttp.ClientSession(base_url=self.cluster.urls(3)[0]) as session:
            for key in self.written:
                async with session.get(f"/api/v1/kv/load/{key}") as answer:
                    found[key] = await answer.text() if answer.status == 200 else f"{answer.status}"
        return found


@contextlib.asynccontextmanager
async def loaded(on: LocalCluster) -> AsyncIterator[Load]:
    """Run the load for the time of the block."""
    running = Load(on)
    tasks = [asyncio.create_task(running.write(number)) for number in range(3)]
    try:
        yield running
    finally:
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(end, asyncio.CancelledError) for end in ends), ends
    assert len(running.written) > ENOUGH


async def test_leadership_is_transferred_without_a_failed_request() -> None:
    """To a named member and back to any: members hold writes meanwhile, and no client without retries sees an error."""
    async with cluster() as one:
        async with loaded(one) as load:
            for target in ("1", "2", "any", "planned-0"):
                before = status(one)
                printed = await one.csctl("transfer-leader", target, "--timeout", f"{DEADLINE_S:g}", timeout_s=90)
                leader = printed.split()[0]
                assert leader == one.member(int(target[-1])) if target != "any" else leader != before["leader"]
        assert load.failures == []
        assert await load.read_back() == load.written


async def test_transfer_to_a_member_that_does_not_exist_is_refused() -> None:
    async with cluster() as one:
        leader = status(one)["leader"]
        printed = await one.csctl("transfer-leader", "7", timeout_s=30, allowed=(1,))
        assert printed == ""
        assert status(one)["leader"] == leader


async def test_hibernated_cluster_stops_and_wakes_with_every_acknowledged_write() -> None:
    """Stopped under load: no process is left, other changes wait, and all that was acknowledged is there afterwards."""
    async with cluster() as one:
        async with loaded(one) as load:
            await eventually(lambda: len(load.written) > ENOUGH)
            await one.apply({"hibernate": True})
        conditions = {found["type"]: found for found in status(one)["conditions"]}
        assert conditions["Hibernated"]["status"] == "True", conditions
        assert conditions["Available"]["reason"] == "Hibernated"
        assert not nodes(one)
        await one.csctl("scale", "--replicas", "5", "--no-wait", timeout_s=30)
        await eventually(lambda: "spec.replicas is 5" in json.dumps(status(one)["plan"]))
        assert not nodes(one)
        await one.csctl("scale", "--replicas", "3", "--no-wait", timeout_s=30)
        await one.apply({"hibernate": False})
        assert len(nodes(one)) == 3
        assert "Hibernated" not in {found["type"] for found in status(one)["conditions"]}
        assert await load.read_back() == load.written


async def test_supervisor_that_is_killed_while_members_stop_goes_on() -> None:
    """Whenever it is killed: the next one finds what was recorded, and stops what is left."""
    async with cluster() as one:
        os.kill(one.supervisor_pid(), signal.SIGSTOP)
        manifest = json.loads(one.manifest.read_text())
        manifest["spec"]["hibernate"] = True
        one.manifest.write_text(json.dumps(manifest))
        await one.csctl("apply", "-f", str(one.manifest), "--no-wait", timeout_s=30)
        os.kill(one.supervisor_pid(), signal.SIGCONT)
        await eventually(lambda: "stopping" in (one.state / one.name / "operator.json").read_text())
        os.kill(one.supervisor_pid(), signal.SIGKILL)
        await one.csctl("up", "-f", str(one.manifest), timeout_s=90)
        assert not nodes(one)
        assert {found["type"]: found["status"] for found in status(one)["conditions"]}["Hibernated"] == "True"


def nodes(of: LocalCluster) -> list[int]:
    """Return the processes of members."""
    supervisor = of.supervisor_pid()
    return [pid for pid in of.processes() if pid != supervisor and b"COLLECTIONSTORE_DATA_DIR" in environ(pid)]


def environ(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


async def test_fenced_member_is_stopped_and_comes_back() -> None:
    """A supervisor that starts meanwhile does not start it; its data directory stays."""
    async with cluster() as one:
        await annotate(one, fence="planned-1")
        await eventually(lambda: condition(one, "MembersFenced") == "True")
        assert len(nodes(one)) == 2
        os.kill(one.supervisor_pid(), signal.SIGKILL)
        await one.csctl("up", "-f", str(one.manifest), "--timeout", "5", timeout_s=30, allowed=(0, 6))
        assert len(nodes(one)) == 2
        assert condition(one, "MembersFenced") == "True"
        await annotate(one)
        await eventually(lambda: condition(one, "Ready") == "True")
        assert len(nodes(one)) == 3
        assert not list((one.state / one.name / "nodes" / "planned-1").glob("retired/*"))


async def annotate(of: LocalCluster, **annotations: str) -> None:
    """Apply the manifest with these annotations of ours."""
    manifest = json.loads(of.manifest.read_text())
    manifest["metadata"]["annotations"] = {f"collectionstore.io/{name}": text for name, text in annotations.items()}
    of.manifest.write_text(json.dumps(manifest))
    await of.csctl("apply", "-f", str(of.manifest), "--no-wait", timeout_s=30)


def condition(of: LocalCluster, kind: str) -> str:
    """Return the status of a condition; empty if there is none of this type."""
    return next((str(found["status"]) for found in status(of)["conditions"] if found["type"] == kind), "")


async def test_member_that_works_is_replaced_without_a_moment_of_less_tolerance() -> None:
    """An extra member votes in its place meanwhile; no request fails, and the extra one is gone in the end."""
    async with cluster() as one:
        before = {found["name"]: found["nodeID"] for found in status(one)["members"]}
        tolerances = []

        async def watch() -> None:
            while True:
                tolerances.append(status(one)["faultTolerance"])
                await asyncio.sleep(0.05)

        watching = asyncio.create_task(watch())
        async with loaded(one) as load:
            await one.csctl("replace", "1", "--timeout", f"{DEADLINE_S:g}", timeout_s=90)
        watching.cancel()
        # 0 only while no leader is trusted, as in the moment in which a configuration is on its way to the members.
        assert tolerances.count(1) > 0.9 * len(tolerances), tolerances
        # Clients of the member that is replaced must go elsewhere; those of the others notice nothing.
        assert [failure for failure in load.failures if not failure.startswith("1-")] == []
        after = {found["name"]: found["nodeID"] for found in status(one)["members"] if found["podUID"]}
        assert after.keys() == before.keys()
        assert [name for name in before if after[name] != before[name]] == ["planned-1"]
        assert await load.read_back() == load.written
