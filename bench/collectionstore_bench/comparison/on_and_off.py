"""What the comparisons of something that is on in one cluster and off in the other have in common."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Final

from collectionstore_bench.comparison.tracing import nodes_us
from collectionstore_bench.comparison.turns import Side, in_turns, side_options
from collectionstore_bench.load.bench import Row
from collectionstore_bench.load.options import Options
from collectionstore_bench.tables import milliseconds, table

WORKLOADS: Final = ("write", "read")
KEYS: Final = 10_000
OFF: Final = "off"
ON: Final = "on"


def parse_options(name: str, description: str | None, base_port: int) -> argparse.Namespace:
    """Parse the command line of the comparison called `name`."""
    parser = argparse.ArgumentParser(prog=f"python -m collectionstore_bench.comparison.{name}", description=description)
    add = parser.add_argument
    add("--rounds", type=int, default=5, help="how often each cluster is measured with each workload (default: 5)")
    add("--seconds", type=float, default=5.0, help="length of each measurement (default: 5)")
    add("--connections", type=int, default=64, help="requests in flight (default: 64)")
    add("--payload", type=int, default=255, metavar="BYTES", help="size of a document (default: 255)")
    add(
        "--base-port",
        type=int,
        default=base_port,
        metavar="PORT",
        help="of what is started, 100 ports (default: %(default)s)",
    )
    return parser.parse_args()


def load_of(options: argparse.Namespace) -> Options:
    """Return how both clusters are loaded."""
    return side_options(
        workload=WORKLOADS[0],
        connections=options.connections,
        seconds=options.seconds,
        payload_bytes=options.payload,
        keys=KEYS,
        base_port=options.base_port,
        spread="leader",
    )


async def measure(sides: Mapping[str, Side], options: argparse.Namespace) -> dict[str, dict[str, list[Row]]]:
    """Measure both sides with each workload, and return the rows by workload and side."""
    return {
        workload: await in_turns(sides, rounds=options.rounds, workload=workload, connections=options.connections)
        for workload in WORKLOADS
    }


def render(
    rows: Mapping[str, Mapping[str, Sequence[Row]]], options: argparse.Namespace, what: str, ratio: str
) -> list[str]:
    """Return the settings, a table with `what` on and off, and the ratio of on to off by round, called `ratio`."""
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
        shares = sorted(on.requests_per_s / off.requests_per_s for off, on in zip(sides[OFF], sides[ON], strict=True))
        spread = f"median {median(shares):.2f}, {shares[0]:.2f} to {shares[-1]:.2f}"
        said.append(f"{workload}s {ratio}, by round: {spread}")
    settings = (
        f"settings  3 nodes each, {options.payload} B documents, {options.connections} connections, "
        f"{options.rounds} x {options.seconds:g} s each, writes to the leader, reads of all"
    )
    head = ("workload", what, "median requests/s", "p99 ms", "nodes µs", "errors")
    return [settings, "", table(head, lines, right=range(2, 6)), "", *said]
