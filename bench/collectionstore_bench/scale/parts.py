"""What the parts have in common: figures, and rounds of load."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from collectionstore_bench.figures import Figure
from collectionstore_bench.load.bench import Bench, Row
from collectionstore_bench.load.options import parse_options as load_options
from collectionstore_bench.scale.options import Options
from collectionstore_testkit.clusters.node_status import Nodes

SINGLE = {"unsafe": {"allowSingleReplica": True}}
"""What a manifest must say to have one member."""


async def rounds(
    options: Options, urls: Sequence[str], nodes: Nodes, *, size_bytes: int, keys: int, workloads: Sequence[str]
) -> dict[str, Row]:
    """Write `keys` documents, then measure each workload at the leader. Raises ClusterFailed."""
    wanted = replace(
        load_options("", []),
        seconds=options.seconds,
        payload_bytes=size_bytes,
        keys=keys,
        spread="leader",
        read_spread="leader",
    )
    bench = Bench(wanted, urls, nodes)
    await bench.prepare()
    return {workload: await bench.measure(workload, options.connections) for workload in workloads}


def figures(part: str, case: str, rows: dict[str, Row], size_bytes: int = 0) -> list[Figure]:
    """Return what rounds of load showed."""
    found = []
    for workload, row in rows.items():
        wrong = ", ".join(f"{count} x {cause}" for cause, count in sorted(row.errors.items()))
        note = wrong or ("the leader changed" if row.leader_changed else "")
        found.append(Figure(part, case, f"{workload}s", row.requests_per_s, "/s", note))
        if size_bytes:
            found.append(Figure(part, case, f"{workload}s", row.requests_per_s * size_bytes / 1e6, "MB/s"))
        if row.p99 is not None:
            found.append(Figure(part, case, f"{workload} p99", 1000 * row.p99, "ms"))
        if row.cpu_leader_us is not None:
            found.append(Figure(part, case, f"{workload}, leader", row.cpu_leader_us, "us"))
        if row.cpu_follower_us is not None:
            found.append(Figure(part, case, f"{workload}, each follower", row.cpu_follower_us, "us"))
    return found
