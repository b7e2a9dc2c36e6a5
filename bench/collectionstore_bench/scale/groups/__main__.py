"""Simulate a cluster of several Raft groups: throughput and latency by the number of groups and nodes."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

import msgspec

from collectionstore_bench.scale.groups.picture import draw
from collectionstore_bench.scale.groups.simulation import MEMBERS, Costs
from collectionstore_bench.scale.groups.study import CLIENTS_PER_GROUP, LOAD, SEED, Point, study
from collectionstore_bench.tables import milliseconds, table


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line; exits with 2 and a message when it is wrong."""
    parser = argparse.ArgumentParser(prog="python -m collectionstore_bench.scale.groups", description=__doc__)
    add = parser.add_argument
    add("--groups", type=_counts, default=(1, 2, 4, 8, 16, 32), metavar="N[,N]", help="default: 1,2,4,8,16,32")
    add("--nodes", type=_counts, default=(3, 6, 12), metavar="N[,N]", help="3 or more each (default: 3,6,12)")
    add("--cores", type=_count, default=4, help="cores of a node (default: 4)")
    add("--seconds", type=float, default=0.5, help="simulated length of each run (default: 0.5)")
    add("--seed", type=int, default=SEED, help=f"of the arrivals (default: {SEED})")
    for one in fields(Costs):
        what = one.name.replace("_us", " time in microseconds").replace("_", " ")
        add(f"--{one.name.replace('_', '-')}", type=float, default=one.default, help=f"{what} (default: {one.default})")
    add("--svg", type=Path, metavar="FILE", help="write the picture")
    add("-o", "--output", choices=("table", "json"), default="table", help="json: everything, for other programs")
    given = parser.parse_args(arguments)
    if min(given.nodes) < MEMBERS:
        parser.error(f"--nodes: a group has {MEMBERS} members, each on a node of its own")
    if not 0.01 <= given.seconds <= 60:
        parser.error("--seconds: allowed are 0.01 to 60")
    return given


def _counts(text: str) -> tuple[int, ...]:
    return tuple(_count(part) for part in text.split(","))


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 256:
        raise argparse.ArgumentTypeError(f"{text!r}; allowed: a whole number from 1 to 256")
    return int(text)


def render(points: Sequence[Point]) -> str:
    """Return the table."""
    headings = ("nodes", "groups", "writes/s", "against one group", "p50 ms", "p99 ms", "busiest node", "what ends it")
    one = {point.nodes: point.peak for point in points if point.groups == 1}
    lines = [
        (
            f"{point.nodes} x {point.cores} cores",
            str(point.groups),
            f"{point.peak:,.0f}",
            f"{point.peak / one[point.nodes]:.1f}x" if point.nodes in one else "-",
            milliseconds(point.p50),
            milliseconds(point.p99),
            f"{point.busy:.0%} of its cores",
            point.limit,
        )
        for point in points
    ]
    return table(headings, lines, right=range(1, 6))


def main() -> int:
    """Run; return the exit code."""
    given = parse_arguments()
    costs = Costs(**{one.name: getattr(given, one.name) for one in fields(Costs)})
    points = list(study(given.groups, given.nodes, given.cores, costs, given.seconds, given.seed))
    if given.svg is not None:
        given.svg.write_text(draw(points))
    settings = {"costs": asdict(costs), "seconds": given.seconds, "seed": given.seed, "clients": CLIENTS_PER_GROUP}
    if given.output == "json":
        print(
            msgspec.json.format(json.dumps({"settings": settings, "points": [asdict(one) for one in points]}), indent=2)
        )
        return 0
    shown = ", ".join(f"{name.removesuffix('_us')} {value:g}" for name, value in asdict(costs).items())
    print(f"simulated, seed {given.seed}, {given.seconds:g} s each; us: {shown}")
    print(f"writes/s at the peak, {CLIENTS_PER_GROUP} clients a group; latencies at {LOAD:.0%} of it, open loop\n")
    print(render(points))
    return 0


if __name__ == "__main__":
    sys.exit(main())
