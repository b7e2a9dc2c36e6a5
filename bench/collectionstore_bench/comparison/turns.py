"""Clusters side by side that are loaded in turns, so that whatever else the machine does meanwhile favours none."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import aiohttp

from collectionstore_bench.load.bench import Bench, Row
from collectionstore_bench.load.options import Options
from collectionstore_bench.program import say
from collectionstore_testkit.clusters.local import local_cluster
from collectionstore_testkit.clusters.node_status import Nodes

SETTLE_S = 0.5
APART = 40
"""Ports between two clusters."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of the clusters, with every document written."""

    bench: Bench
    urls: Sequence[str]


def side_options(
    *, workload: str, connections: int, seconds: float, payload_bytes: int, keys: int, base_port: int, spread: str
) -> Options:
    """Return how every one of the clusters is loaded."""
    return Options(
        targets=(),
        workloads=(workload,),
        connections=(connections,),
        seconds=seconds,
        payload_bytes=payload_bytes,
        keys=keys,
        spread=spread,
        read_spread="all",
        nodes=3,
        profile="default",
        base_port=base_port,
        output="table",
        keep=False,
    )


@asynccontextmanager
async def side_by_side(
    options: Options, environments: Mapping[str, Mapping[str, str]], session: aiohttp.ClientSession, *, what: str
) -> AsyncIterator[dict[str, Side]]:
    """Start one cluster for each environment; from then on this process collects no garbage, so as not to pause."""
    async with AsyncExitStack() as stack:
        sides: dict[str, Side] = {}
        for number, (side, environment) in enumerate(environments.items()):
            say(f"starting three nodes with {what} {side}")
            base_port = options.base_port + APART * number
            cluster = await stack.enter_async_context(
                local_cluster(replicas=options.nodes, base_port=base_port, environment=environment)
            )
            urls = cluster.urls(options.nodes)
            sides[side] = Side(Bench(options, urls, Nodes(session)), urls)
            await sides[side].bench.prepare()
        without_collecting()
        yield sides


def without_collecting() -> None:
    """Collect no garbage from now on: a pause here would be measured as one of the nodes."""
    gc.collect()
    gc.freeze()
    gc.disable()


async def in_turns(sides: Mapping[str, Side], *, rounds: int, workload: str, connections: int) -> dict[str, list[Row]]:
    """Measure each of `sides` once a round, and return what each measured."""
    rows: dict[str, list[Row]] = {side: [] for side in sides}
    for number in range(rounds):
        # The first in a round is the last in the next: a machine that warms up favors neither.
        for side in list(sides) if number % 2 == 0 else reversed(list(sides)):
            await asyncio.sleep(SETTLE_S)
            rows[side].append(await sides[side].bench.measure(workload, connections))
            say(f"{side:4} {rows[side][-1].requests_per_s:,.0f} requests/s")
    return rows
