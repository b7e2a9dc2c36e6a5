"""The command line of the load benchmark."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from collectionstore_bench.command_line import names_of, number, parser_of, whole, whole_numbers
from collectionstore_bench.load.http_load import Target

EXAMPLES = """examples:
  python -m collectionstore_bench.load                    the full table, about 100 s, on a temporary cluster
  python -m collectionstore_bench.load --seconds 3 --connections 64
  python -m collectionstore_bench.load --spread all       writes to all nodes: followers forward to the leader
  python -m collectionstore_bench.load --target http://127.0.0.1:7400,http://127.0.0.1:7410,http://127.0.0.1:7420
  python -m collectionstore_bench.load -o json > after.json

Each connection keeps one request in flight. Requests per second count 2xx answers only; every other answer, timeout
and lost connection stands in the column of errors. The CPU columns are microseconds of processor time per request,
of the leader, of one follower on average, and of the load generator: where they add up to two seconds per second on
two cores, the machine is full. How to read and compare the figures: bench/README.md."""


@dataclass(frozen=True, slots=True)
class Options:
    """What is to be measured."""

    targets: tuple[str, ...]
    workloads: tuple[str, ...]
    connections: tuple[int, ...]
    seconds: float
    payload_bytes: int
    keys: int
    spread: str
    read_spread: str
    nodes: int
    profile: str
    base_port: int
    output: str
    keep: bool


def parse_options(description: str, arguments: Sequence[str] | None = None) -> Options:
    """Parse the command line; exits with 2 and a message when it is wrong."""
    parser = parser_of("load", description, EXAMPLES)
    add = parser.add_argument
    add("--target", type=_urls, default=(), metavar="URL[,URL]", help="use this running cluster instead of a new one")
    add(
        "--workloads",
        type=names_of(("write", "read")),
        default=("write", "read"),
        help="write, read or write,read (default)",
    )
    add(
        "--connections",
        type=whole_numbers(1, 10_000),
        default=(1, 16, 64, 256),
        metavar="N[,N]",
        help="default: 1,16,64,256",
    )
    add(
        "--seconds",
        type=number(0.1, 3600),
        default=10.0,
        help="length of each measurement after 1 s of warm-up (default: 10)",
    )
    add(
        "--payload",
        type=whole(64, 1_000_000),
        default=255,
        metavar="BYTES",
        help="size of the JSON documents (default: 255)",
    )
    add(
        "--keys",
        type=whole(1, 1_000_000),
        default=10_000,
        help="how many documents are written and read (default: 10000)",
    )
    add("--spread", choices=("leader", "all"), default="leader", help="where writes go (default: leader)")
    add("--read-spread", choices=("all", "leader"), default="all", help="where reads go (default: all)")
    add("--nodes", type=int, choices=(3, 5, 7), default=3, help="size of the cluster that is started (default: 3)")
    add("--profile", choices=("default", "fast"), default="default", help="spec.raft.profile of it (default: default)")
    add("--base-port", type=int, default=21_400, metavar="PORT", help="of the cluster that is started (default: 21400)")
    add("--keep", action="store_true", help="stop the cluster at the end but keep its files")
    given = parser.parse_args(arguments)
    return Options(
        targets=given.target,
        workloads=given.workloads,
        connections=given.connections,
        seconds=given.seconds,
        payload_bytes=given.payload,
        keys=given.keys,
        spread=given.spread,
        read_spread=given.read_spread,
        nodes=given.nodes,
        profile=given.profile,
        base_port=given.base_port,
        output=given.output,
        keep=given.keep,
    )


def _urls(text: str) -> tuple[str, ...]:
    urls = tuple(part.rstrip("/") for part in text.split(","))
    for url in urls:
        try:
            Target.parse(url)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
    return urls
