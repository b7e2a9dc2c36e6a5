"""The trial of lifecycle.py that kills leaders: how long clients wait for the next one."""

from __future__ import annotations

import asyncio
import signal
import statistics
import time

from collectionstore_bench.lifecycle.node_logs import log_events, when
from collectionstore_bench.lifecycle.trials import BEFORE_KILL_S, Finding, Lab
from collectionstore_testkit.clusters.errors import ClusterFailed
from collectionstore_testkit.clusters.local import LocalCluster, send_signal

FAILOVER_S_MAX = {"default": (1.2, 2.0), "fast": (0.15, None)}
"""Per profile of spec.raft the highest median and worst pause that are accepted."""


async def measure_leader_kills(lab: Lab) -> list[Finding]:
    """How long writes pause when the leader is killed."""
    first, every, elected = [], [], []
    async with lab.writers.writing():
        for number in range(lab.kills):
            await asyncio.sleep(BEFORE_KILL_S)
            _, leader = await lab.leader()
            killed_at, on_the_wall = time.monotonic(), time.time()
            send_signal(leader.pid, signal.SIGKILL)
            first.append(await lab.writers.resumed(killed_at) - killed_at)
            every.append(await lab.writers.resumed(killed_at, all_of_them=True) - killed_at)
            elected.append(_elected_at(lab.cluster, on_the_wall) - on_the_wall)
            lab.say(
                f"kill {number + 1} of {lab.kills}: {leader.name}, another leads after {elected[-1]:.3f} s, next write "
                f"acknowledged after {first[-1]:.3f} s, every writer served again after {every[-1]:.3f} s"
            )
            await lab.whole()
    note = f"{lab.kills} kills"
    what = f"{lab.profile} profile: leader killed, "
    median_max, worst_max = FAILOVER_S_MAX[lab.profile]
    return [
        Finding(what + "another leads, median", statistics.median(elected), "s", note=f"{note}; by the nodes' logs"),
        Finding(what + "next acknowledged write, median", statistics.median(first), "s", median_max, note),
        Finding(what + "next acknowledged write, worst", max(first), "s", worst_max, note),
        Finding(what + "every writer served, worst", max(every), "s", note=note),
    ]


def _elected_at(cluster: LocalCluster, since: float) -> float:
    """Return when a node first logged after `since` that it leads, both in seconds since 1970."""
    elections = [event for event in log_events(cluster, "leader.elected", since) if event["role"] == "Leader"]
    if not elections:
        raise ClusterFailed("no node has logged that it leads since the leader was killed")
    return min(when(event) for event in elections)
