"""Measure what metrics cost: two clusters side by side, one that counts and one that does not, loaded in turns.

Then, with the counting one under full load, how long a scrape and /health take there.
"""

from __future__ import annotations

import argparse
import asyncio
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, quantiles

import aiohttp
import msgspec

from collectionstore_bench.comparison.turns import Side, in_turns, side_by_side, side_options
from collectionstore_bench.load.bench import Row
from collectionstore_bench.machine import describe
from collectionstore_bench.program import exit_code, on_uvloop, say
from collectionstore_bench.tables import milliseconds, table
from collectionstore_testkit.clusters.errors import ClusterFailed
from collectionstore_testkit.clusters.local import STATE_PARENT
from collectionstore_testkit.clusters.node_status import Nodes

NODE_COMMAND = "COLLECTIONSTORE_NODE_COMMAND"
WITHOUT_METRICS = shlex.join(["env", "COLLECTIONSTORE_METRICS=Disabled", sys.executable, "-m", "collectionstore_node"])
"""How the supervisor starts a node that counts nothing; the manifest of a local cluster has no setting for it."""
POLLER = "collectionstore_bench.comparison.metrics_poller"


@dataclass(frozen=True, slots=True)
class Choice:
    """What is to be measured."""

    rounds: int
    seconds: float
    connections: int
    workload: str
    base_port: int


class Asked(msgspec.Struct, frozen=True):
    """How long answers of the leader's metrics port took under load, in seconds, as `metrics_poller` prints it."""

    scrape: Sequence[float]
    health: Sequence[float]
    scrape_bytes: int


def parse_choice() -> Choice:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m collectionstore_bench.comparison.metrics", description=__doc__)
    add = parser.add_argument
    add("--rounds", type=int, default=8, help="pairs of measurements (default: 8)")
    add("--seconds", type=float, default=5.0, help="length of each, after 1 s of warm-up (default: 5)")
    add("--connections", type=int, default=64, help="requests in flight (default: 64)")
    add("--workload", choices=("write", "read"), default="write", help="default: write")
    add(
        "--base-port", type=int, default=21_500, metavar="PORT", help="two clusters of three from here (default: 21500)"
    )
    return Choice(**vars(parser.parse_args()))


async def measure(choice: Choice) -> tuple[dict[str, list[Row]], Asked]:
    """Run everything."""
    environments = {"on": {}, "off": {NODE_COMMAND: WITHOUT_METRICS}}
    load = side_options(
        workload=choice.workload,
        connections=choice.connections,
        seconds=choice.seconds,
        payload_bytes=255,
        keys=10_000,
        base_port=choice.base_port,
        spread="leader",
    )
    async with (
        aiohttp.ClientSession() as session,
        side_by_side(load, environments, session, what="metrics") as sides,
    ):
        rows = await in_turns(sides, rounds=choice.rounds, workload=choice.workload, connections=choice.connections)
        return rows, await _ask_under_load(choice, sides["on"], Nodes(session))


async def _ask_under_load(choice: Choice, side: Side, nodes: Nodes) -> Asked:
    say("asking for /metrics and /health under load")
    _, leader = await nodes.leader(side.urls)
    loading = asyncio.create_task(side.bench.measure(choice.workload, choice.connections))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", POLLER, leader.metrics_address, str(choice.seconds)), stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    await loading
    if process.returncode != 0:
        raise ClusterFailed(f"asking ended with exit code {process.returncode}")
    return msgspec.json.decode(said, type=Asked)


def _spread(seconds: Sequence[float]) -> str:
    """Return median, 95th percentile and worst."""
    p95 = quantiles(seconds, n=20, method="inclusive")[-1]
    return (
        f"median {milliseconds(median(seconds))} ms, p95 {milliseconds(p95)} ms, worst {milliseconds(max(seconds))} ms"
    )


def render(rows: dict[str, list[Row]], asked: Asked) -> str:
    """Return the result as text."""
    lines = [
        (
            side,
            f"{median(row.requests_per_s for row in some):,.0f}",
            f"{median(row.cpu_leader_us or 0 for row in some):.0f}",
        )
        for side, some in rows.items()
    ]
    shares = sorted(on.requests_per_s / off.requests_per_s for on, off in zip(rows["on"], rows["off"], strict=True))
    cpu = sorted((on.cpu_leader_us or 0) / (off.cpu_leader_us or 1) for on, off in zip(*rows.values(), strict=True))
    return "\n".join(
        [
            table(("metrics", "median requests/s", "median leader µs"), lines, right=(1, 2)),
            "",
            f"throughput on/off by pair: median {median(shares):.3f}, from {shares[0]:.3f} to {shares[-1]:.3f}",
            f"leader CPU per request on/off by pair: median {median(cpu):.3f}, from {cpu[0]:.3f} to {cpu[-1]:.3f}",
            f"scrape under load: {len(asked.scrape)} of {asked.scrape_bytes:,} B, {_spread(asked.scrape)}",
            f"/health under load: {_spread(asked.health)}",
        ]
    )


def main() -> int:
    """Run; 0 measured, 1 a cluster failed."""
    choice = parse_choice()
    machine = describe(STATE_PARENT)
    what = f"{choice.rounds} pairs of {choice.seconds:g} s, {choice.workload}s over {choice.connections} connections"

    def work() -> int:
        rows, asked = on_uvloop(measure(choice))
        print("\n".join([*machine.lines(), what, "", render(rows, asked)]))
        return 0

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
