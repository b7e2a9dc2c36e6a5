"""Measure what encryption at rest costs: two clusters, one of which seals what it stores, loaded in turns.

Writes first, then reads of all members, within one run. "nodes µs" is the processor time of all three nodes for one
request.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final

import aiohttp

from collectionstore_bench.comparison.metrics import NODE_COMMAND
from collectionstore_bench.comparison.tracing import nodes_us
from collectionstore_bench.comparison.turns import in_turns, side_by_side, side_options
from collectionstore_bench.load.bench import Row
from collectionstore_bench.machine import describe
from collectionstore_bench.program import exit_code, on_uvloop
from collectionstore_bench.tables import milliseconds, table
from collectionstore_testkit.clusters.errors import ClusterFailed
from collectionstore_testkit.clusters.local import STATE_PARENT

WORKLOADS: Final = ("write", "read")
KEYS: Final = 10_000
NODE: Final = (sys.executable, "-m", "collectionstore_node")


def parse_options() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m collectionstore_bench.comparison.encryption", description=__doc__)
    add = parser.add_argument
    add("--rounds", type=int, default=5, help="how often each cluster is measured with each workload (default: 5)")
    add("--seconds", type=float, default=5.0, help="length of each measurement (default: 5)")
    add("--connections", type=int, default=64, help="requests in flight (default: 64)")
    add("--payload", type=int, default=255, metavar="BYTES", help="size of a document (default: 255)")
    add("--base-port", type=int, default=21_700, metavar="PORT", help="of what is started, 100 ports (default: 21700)")
    return parser.parse_args()


def render(rows: Mapping[str, Mapping[str, Sequence[Row]]], what: str, ratio: str) -> str:
    """Return a table with the two sides of each workload, `what` on and off, and the ratio of on to off by round."""
    lines, said = [], []
    for workload, sides in rows.items():
        for side, some in sides.items():
            lines.append(
                (
                    workload,
                    side,
                    f"{median(row.requests_per_s for row in some):,.0f}",
                    milliseconds(median(row.p99 or 0.0 for row in some)),
                    f"{median(map(nodes_us, some)):.0f}",
                    str(sum(sum(row.errors.values()) for row in some)),
                )
            )
        shares = sorted(
            on.requests_per_s / off.requests_per_s for off, on in zip(sides["off"], sides["on"], strict=True)
        )
        spread = f"median {median(shares):.2f}, {shares[0]:.2f} to {shares[-1]:.2f}"
        said.append(f"{workload}s {ratio}, by round: {spread}")
    head = ("workload", what, "median requests/s", "p99 ms", "nodes µs", "errors")
    return "\n".join([table(head, lines, right=range(2, 6)), "", *said])


async def run(options: argparse.Namespace, keys: Path) -> None:
    """Measure and print. Raises ClusterFailed if a member is not encrypted that should be."""
    machine = describe(STATE_PARENT)
    command = shlex.join(["env", f"COLLECTIONSTORE_ENCRYPTION_KEYS_DIR={keys}", *NODE])
    load = side_options(
        workload="write",
        connections=options.connections,
        seconds=options.seconds,
        payload_bytes=options.payload,
        keys=KEYS,
        base_port=options.base_port,
        spread="leader",
    )
    rows: dict[str, dict[str, list[Row]]] = {}
    async with (
        aiohttp.ClientSession() as session,
        side_by_side(load, {"off": {}, "on": {NODE_COMMAND: command}}, session, what="encryption") as sides,
    ):
        for workload in WORKLOADS:
            rows[workload] = await in_turns(
                sides, rounds=options.rounds, workload=workload, connections=options.connections
            )
        sealed = len(list(STATE_PARENT.glob("*/**/data/KEYS")))
        if sealed != load.nodes:
            raise ClusterFailed(f"{sealed} of {load.nodes} members of the encrypted cluster are encrypted")
    settings = (
        f"settings  3 nodes each, {options.payload} B documents, {options.connections} connections, "
        f"{options.rounds} x {options.seconds:g} s each, writes to the leader, reads of all"
    )
    print("\n".join([*machine.lines(), settings, "", render(rows, "encryption", "encrypted to plain")]))


def main() -> int:
    """Run; return the exit code: 0 measured, 1 a cluster failed, 130 interrupted."""
    options = parse_options()

    def work() -> int:
        with TemporaryDirectory() as folder:
            (Path(folder) / "key").write_bytes(os.urandom(32))
            on_uvloop(run(options, Path(folder)))
        return 0

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
