"""The measurements: phases with and without a backup, the program's own figures, and a whole restore."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from collectionstore_bench.backup.load import write_at_rate
from collectionstore_bench.backup.programs import Lab, move, run_program
from collectionstore_bench.machine import cpu_seconds
from collectionstore_testkit.clusters.errors import ClusterFailed

CSCTL = Path(sys.executable).with_name("csctl")


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

    without: list[Phase] = field(default_factory=list)
    during: list[Phase] = field(default_factory=list)
    """Of the same round as that of `without` in its place."""
    stream_bytes: int = 0
    seconds: list[float] = field(default_factory=list)
    """That each backup took, under the load."""
    member_ms_per_mib: list[float] = field(default_factory=list)
    """Processor time of the member that was read, beyond that of the other follower."""

    @property
    def mib_s(self) -> list[float]:
        """Throughput of each backup under the load."""
        return [self.stream_bytes / one / (1 << 20) for one in self.seconds]

    def ratios(self, share: float) -> list[float]:
        """Return a percentile of the writes during a backup by that without, of each round."""
        pairs = zip(self.during, self.without, strict=True)
        return [during.percentile(share) / without.percentile(share) for during, without in pairs]


def joined(phases: Sequence[Phase]) -> Phase:
    """Return all writes of phases as those of one."""
    found = Phase()
    for one in phases:
        found.seconds += one.seconds
        found.failed += one.failed
    return found


async def measure_phases(
    lab: Lab,
    where: tuple[str, ...],
    found: Phases,
    *,
    rate: float,
    rounds: int,
    first_s: float,
    own_core: bool,
) -> None:
    """Fill `found`: write at a rate, in turns with a backup and without, each for as long as a backup takes.

    `first_s` is a guess of that. Which of the two is first changes from round to round. With `own_core` the program
    alone has the last processor.
    """
    processors = sorted(os.sched_getaffinity(0))
    core = processors[-1] if own_core else None
    if own_core:
        move([os.getpid(), *lab.cluster.processes()], set(processors[:-1]))
    try:
        lasted = first_s
        for number in range(rounds):
            if number % 2 == 0:
                found.without.append(await _quiet(lab, rate, lasted))
            made, phase, used = await _backed_up(lab, where, rate, core)
            found.during.append(phase)
            lasted = made["seconds"]
            if number % 2 == 1:
                found.without.append(await _quiet(lab, rate, lasted))
            found.stream_bytes = made["stream_bytes"]
            found.seconds.append(lasted)
            others = [seconds for name, seconds in used.items() if name != made["member"]]
            mib = made["stream_bytes"] / (1 << 20)
            # Without what it does for the writes, as the other follower shows.
            found.member_ms_per_mib.append((used[made["member"]] - min(others)) * 1000 / mib)
    finally:
        if own_core:
            move([os.getpid(), *lab.cluster.processes()], set(processors))


async def _quiet(lab: Lab, rate: float, seconds: float) -> Phase:
    phase = Phase()
    phase.add(await _with_writes(lab, rate, asyncio.sleep(seconds)))
    return phase


async def _backed_up(
    lab: Lab, where: tuple[str, ...], rate: float, core: int | None
) -> tuple[dict[str, Any], Phase, dict[str, float]]:
    """Return what was made, the writes meanwhile, and the processor time that each member used."""
    before = await _processor_s(lab)
    running = asyncio.create_task(run_program("create", *where, *lab.access, core=core))
    phase = Phase()
    phase.add(await _with_writes(lab, rate, running))
    after = await _processor_s(lab)
    return running.result(), phase, {name: after[name] - before[name] for name in after}


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
        found[status["name"]] = cpu_seconds(status["pid"]) or 0.0
    return found
