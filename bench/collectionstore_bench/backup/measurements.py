"""The measurements: phases with and without a backup, the program's own figures, and a whole restore."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from collectionstore_bench.backup.load import write_at_rate
from collectionstore_testkit.clusters.errors import ClusterFailed
from collectionstore_testkit.clusters.local import LocalCluster

PROGRAM = Path(sys.executable).with_name("collectionstore-backup")
CSCTL = Path(sys.executable).with_name("csctl")
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Lab:
    """The cluster that is measured."""

    cluster: LocalCluster
    session: aiohttp.ClientSession
    folder: Path

    @property
    def access(self) -> tuple[str, ...]:
        """Options by which the program reaches it."""
        token = self.cluster.state / self.cluster.name / "admin.token"
        return ("--endpoint", self.cluster.url(0), "--token-file", str(token))

    def new_member(self, target: Path) -> tuple[str, ...]:
        """Options for a restore that nothing is started on."""
        addresses = ("--peer-address", "127.0.0.1:1", "--client-address", "http://127.0.0.1:2")
        return ("--data-dir", str(target), "--cluster-id", "copy", "--name", "copy-0", *addresses)


@dataclass(slots=True)
class Phase:
    """The writes of all phases of one kind."""

    seconds: list[float] = field(default_factory=list)
    failed: int = 0

    def add(self, results: list[float | None]) -> None:
        """Add the writes of a phase."""
        done = [one for one in results if one is not None]
        self.seconds += done
        self.failed += len(results) - len(done)

    def percentile(self, share: float) -> float:
        """Return the latency that this share of the writes did not exceed."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@dataclass(slots=True)
class Phases:
    """What all phases found."""

    without: Phase = field(default_factory=Phase)
    during: Phase = field(default_factory=Phase)
    stream_bytes: int = 0
    backup_s: float = 0.0
    """Of the fastest backup."""
    member_ms_per_mib: float = 0.0

    @property
    def backup_mib_s(self) -> float:
        """Throughput of that one."""
        return self.stream_bytes / self.backup_s / (1 << 20)


async def measure_phases(lab: Lab, where: tuple[str, ...], *, rate: float, rounds: int) -> Phases:
    """Write at a rate, in turns with a backup and without, each for as long as a backup takes."""
    found = Phases()
    backup_s = 10.0
    for _ in range(rounds):
        found.without.add(await _with_writes(lab, rate, asyncio.sleep(backup_s)))
        before = await _processor_s(lab)
        running = asyncio.create_task(run_program("create", *where, *lab.access))
        found.during.add(await _with_writes(lab, rate, running))
        made = running.result()
        after = await _processor_s(lab)
        backup_s = made["seconds"]
        found.stream_bytes = made["stream_bytes"]
        if not found.backup_s or backup_s < found.backup_s:
            found.backup_s = backup_s
            # Without what it does for the writes, as the other follower shows.
            used = {name: after[name] - before[name] for name in after}
            others = [seconds for name, seconds in used.items() if name != made["member"]]
            found.member_ms_per_mib = (used[made["member"]] - min(others)) * 1000 / (made["stream_bytes"] / (1 << 20))
    return found


async def run_program(command: str, *arguments: str) -> dict[str, Any]:
    """Run `collectionstore-backup` and return its JSON. Raises ClusterFailed."""
    process = await asyncio.create_subprocess_exec(
        *(str(PROGRAM), command, *arguments, "-o", "json", "--quiet"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    if process.returncode:
        raise ClusterFailed(f"collectionstore-backup {command} exited with {process.returncode}: {errors.decode()}")
    found: dict[str, Any] = json.loads(output)
    return found


async def restore_cluster(lab: Lab, repository: Path, base_port: int) -> float:
    """Restore into a new local cluster; return the seconds until its first member answers a linearizable read."""
    loop = asyncio.get_running_loop()
    state = ("--state-dir", str(lab.folder / "state"))
    began = loop.time()
    restoring = await asyncio.create_subprocess_exec(
        *(CSCTL, "restore", "--from", repository, "--name", "copy", "--base-port", str(base_port), *state),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        while True:
            try:
                # Of the new cluster: another program may serve on a port that csctl refuses to take.
                async with lab.session.get(f"http://127.0.0.1:{base_port}/status") as response:
                    name = (await response.json())["name"]
                async with lab.session.get(f"http://127.0.0.1:{base_port}/readyz") as response:
                    if response.status == 200 and name == "copy-0":
                        return loop.time() - began
            except aiohttp.ClientConnectionError:
                pass  # it is not started yet
            if restoring.returncode:
                raise ClusterFailed(f"csctl restore exited with {restoring.returncode}")
            await asyncio.sleep(0.05)
    finally:
        if await restoring.wait():
            raise ClusterFailed(f"csctl restore exited with {restoring.returncode}")
        cleaning = await asyncio.create_subprocess_exec(
            *(CSCTL, "local", "clean", "--yes", *state),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        await cleaning.wait()


async def _with_writes(lab: Lab, rate: float, work: Any) -> list[float | None]:
    done = asyncio.Event()
    writing = asyncio.create_task(write_at_rate(lab.session, lab.cluster.urls(3), rate, done))
    try:
        await work
    finally:
        done.set()
        results = await writing
    return results


async def _processor_s(lab: Lab) -> dict[str, float]:
    """Return the processor time that each member has used, by name."""
    found = {}
    for url in lab.cluster.urls(3):
        async with lab.session.get(f"{url}/status") as response:
            status = await response.json()
        found[status["name"]] = _used_s(status["pid"])
    return found


def _used_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS
