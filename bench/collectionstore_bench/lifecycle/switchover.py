"""The trial of lifecycle.py that transfers leadership: how long clients with retries wait."""

from __future__ import annotations

import asyncio
import statistics
import time

from collectionstore_bench.lifecycle.trials import BEFORE_KILL_S, Finding, Lab
from collectionstore_testkit.clusters.errors import ClusterFailed

GAP_MEDIAN_S_MAX = 0.1
AFTERWARDS_S = 0.5
"""How much of the time after the transfer belongs to its gap: longer than a client's retries take."""


async def measure_switchovers(lab: Lab) -> list[Finding]:
    """How long writes pause when the leader transfers leadership, as a user or the operator asks it to."""
    gaps, served, errors = [], [], 0
    async with lab.writers.writing():
        for number in range(lab.switchovers):
            await asyncio.sleep(BEFORE_KILL_S)
            await lab.whole()
            retried = lab.writers.retried.total()
            began = time.monotonic()
            leader = await _transfer(lab)
            served.append(await lab.writers.resumed(began, all_of_them=True) - began)
            await asyncio.sleep(AFTERWARDS_S)
            gaps.append(lab.writers.longest_pause_s(began, time.monotonic()))
            errors += lab.writers.retried.total() - retried
            lab.say(
                f"switchover {number + 1} of {lab.switchovers}: {leader} hands over, longest time without an "
                f"acknowledged write {gaps[-1]:.3f} s, every writer served again after {served[-1]:.3f} s"
            )
    note = f"{lab.switchovers} switchovers, {errors} requests repeated"
    return [
        Finding("leadership transferred: gap in writes, median", statistics.median(gaps), "s", GAP_MEDIAN_S_MAX, note),
        Finding("leadership transferred: gap in writes, worst", max(gaps), "s", note=note),
        Finding("leadership transferred: every writer served, median", statistics.median(served), "s", note=note),
        Finding("leadership transferred: every writer served, worst", max(served), "s", note=note),
    ]


async def _transfer(lab: Lab) -> str:
    """Ask the leader to hand over to any voter; return its name. Raises ClusterFailed if it refuses."""
    url, leader = await lab.leader()
    async with lab.nodes.session.post(
        f"{url}/api/v1/cluster/transfer-leadership",
        json={},
        headers=lab.cluster.admin_headers,
    ) as response:
        if response.status != 200:
            raise ClusterFailed(f"{leader.name} refused to transfer leadership: {await response.text()}")
    return leader.name
