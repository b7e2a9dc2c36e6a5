"""The runs: for each number of groups on each number of nodes the peak, and the latency at a part of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from collectionstore_bench.scale.groups.simulation import Cluster, Costs, Run

CLIENTS_PER_GROUP: Final = 256
LOAD: Final = 0.8
"""Offered part of the peak at which latencies are told."""
BUSY: Final = 0.95
"""From here on something counts as what ends it."""
SEED: Final = 13


@dataclass(frozen=True, slots=True)
class Point:
    """One cluster: rates per second, latencies in seconds."""

    groups: int
    nodes: int
    cores: int
    peak: float
    p50: float
    p99: float
    """At LOAD of the peak, open loop."""
    busy: float
    """Of the cores of the busiest node at the peak, as a part of all its cores."""
    disk_busy: float
    """Of the busiest disk at the peak."""
    leader_busy: float
    """Of the busiest leader's one core at the peak."""

    @property
    def limit(self) -> str:
        """What ends it."""
        if self.busy > BUSY:
            return "cores"
        if self.disk_busy > BUSY:
            return "disk"
        return "leaders, one core each" if self.leader_busy > BUSY else "waiting for followers"


def study(
    groups: Sequence[int], nodes: Sequence[int], cores: int, costs: Costs, seconds: float, seed: int = SEED
) -> Iterator[Point]:
    """Yield a point for each number of groups on each number of nodes."""
    for of_nodes in nodes:
        for of_groups in groups:
            yield point(Cluster(of_groups, of_nodes, cores, costs), seconds, seed)


def point(cluster: Cluster, seconds: float, seed: int) -> Point:
    """Return the peak of a cluster, and its latencies below it."""
    most = Run(cluster, seed).closed_loop(CLIENTS_PER_GROUP * cluster.groups, warm_up_s=seconds / 4, seconds=seconds)
    below = Run(cluster, seed).open_loop(LOAD * most.per_second, warm_up_s=seconds / 4, seconds=seconds)
    return Point(
        groups=cluster.groups,
        nodes=cluster.nodes,
        cores=cluster.cores,
        peak=most.per_second,
        p50=quantile(below.latencies, 0.5) or 0.0,
        p99=quantile(below.latencies, 0.99) or 0.0,
        busy=max(most.busy) / cluster.cores,
        disk_busy=max(most.disk_busy),
        leader_busy=max(most.leader_busy),
    )


def quantile(ascending: Sequence[float], fraction: float) -> float | None:
    """Return the least value that at least `fraction` of all do not exceed (nearest rank); None without values."""
    if not ascending:
        return None
    return ascending[max(0, math.ceil(fraction * len(ascending)) - 1)]
