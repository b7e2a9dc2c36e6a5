"""Loads a local cluster and profiles its leader and one follower."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp

from collectionstore_bench.account.samples import Account, Sample, make_account, parse_samples
from collectionstore_bench.generators import programs, running
from collectionstore_bench.generators.load import Load, Result, Work
from collectionstore_bench.load.documents import fill
from collectionstore_bench.processes import ThreadTime, thread_times
from collectionstore_bench.program import say
from collectionstore_testkit.clusters.local import local_cluster
from collectionstore_testkit.clusters.node_status import Nodes
from collectionstore_testkit.errors import CommandFailed
from collectionstore_testkit.tools import wrk

PROFILER: Final = Path(sys.executable).with_name("py-spy")
SAMPLES_PER_S: Final = 40
"""The profiler stops the node for some milliseconds per sample: more would leave it little time to run."""
MARGIN_S: Final = 3.0
"""The load outlasts the profile by this."""
WARM_UP_S: Final = 2.0
KINDS: Final = (Work.PUT, Work.GET)
LEADER, FOLLOWER = "leader", "follower"


@dataclass(frozen=True, slots=True)
class Options:
    """How long each kind of request is loaded without the profiler and with it, and over how many connections."""

    connections: int
    seconds: float
    profile_s: float
    base_port: int


@dataclass(frozen=True, slots=True)
class Measured:
    """One kind of request: the accounts of leader and follower, and the throughput without the profiler."""

    work: Work
    accounts: Mapping[str, Account]
    result: Result


async def measure(options: Options, csctl: Path) -> list[Measured]:
    """Start a cluster with `csctl`, and account for each of KINDS. Raises ClusterFailed, ToolError, OSError."""
    async with (
        local_cluster(replicas=3, base_port=options.base_port, program=csctl) as cluster,
        aiohttp.ClientSession() as session,
    ):
        nodes, urls = Nodes(session), cluster.urls(3)
        url, leader = await nodes.leader(urls)
        written = Load(Work.PUT, options.connections)
        await fill(session, url, size=written.size, count=written.keys, prefix=written.prefix)
        statuses = await nodes.statuses(urls)
        pids = {LEADER: leader.pid, FOLLOWER: next(one.pid for one in statuses.values() if not one.leads)}
        loaded = _Loaded(url, running.write_filling(cluster.folder), options.connections)
        measured = []
        for work in KINDS:
            say(f"{work}: {options.seconds:g} s without the profiler, {options.profile_s:g} s with it")
            measured.append(await _account(work, loaded, pids, options))
            after = await nodes.leader(urls)
            if after[1].pid != leader.pid:
                raise CommandFailed("the leader changed during the measurement: run it again")
        return measured


@dataclass(frozen=True, slots=True)
class _Loaded:
    """Where the load goes."""

    url: str
    filling: Path
    connections: int

    async def run(self, work: Work, seconds: float) -> Result:
        load = Load(work, self.connections)
        command = programs.wrk(wrk.command(), "ours", load, [self.url], seconds=seconds, filling=self.filling)
        printed, _ = await running.run(command, seconds=seconds)
        result = programs.parse_wrk(printed)
        if result.failures or not result.requests:
            raise CommandFailed(f"{work}: {result.requests} requests were answered, errors: {result.errors}")
        return result


async def _account(work: Work, loaded: _Loaded, pids: Mapping[str, int], options: Options) -> Measured:
    await loaded.run(work, WARM_UP_S)
    before = {name: thread_times(pid) for name, pid in pids.items()}
    result = await loaded.run(work, options.seconds)
    spent = {name: _grown(before[name], thread_times(pid)) for name, pid in pids.items()}
    # The profiler slows the node down, so it only tells the shares; what they are shares of was measured without it.
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(loaded.run(work, options.profile_s + MARGIN_S))
            profiles = {name: group.create_task(_profile(pid, options.profile_s)) for name, pid in pids.items()}
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    accounts = {name: make_account(profiles[name].result(), spent[name], result.requests) for name in pids}
    return Measured(work, accounts, result)


async def _profile(pid: int, seconds: float) -> list[Sample]:
    with tempfile.NamedTemporaryFile(suffix=".raw") as output:
        command = [str(PROFILER), "record", "--pid", str(pid), "--native", "--threads", "--full-filenames"]
        command += ["--rate", str(SAMPLES_PER_S), "--duration", f"{seconds:.0f}", "--format", "raw"]
        await running.run([*command, "--output", output.name], seconds=seconds)
        return parse_samples(output.read().decode())


def _grown(before: Mapping[int, ThreadTime], after: Mapping[int, ThreadTime]) -> dict[int, ThreadTime]:
    """Return the processor time that each thread used in between."""
    nothing = ThreadTime("", 0.0)
    return {
        thread: ThreadTime(time.name, time.seconds - before.get(thread, nothing).seconds)
        for thread, time in after.items()
    }
