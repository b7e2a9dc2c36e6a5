"""The command line of the overload experiment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from collectionstore_bench.command_line import number, parser_of, whole

EXAMPLES = """examples:
  python -m collectionstore_bench.overload                       peak, 5,000 writes/s, twice the peak for 60 s
  python -m collectionstore_bench.overload --overload-seconds 600 -o json    the full form: ten minutes of overload
  python -m collectionstore_bench.overload --rate 5000 --factors none --seconds 60    only the fixed rate, with reads
  python -m collectionstore_bench.overload --factors 1.5,2,4 --seconds 10
  python -m collectionstore_bench.overload --payload 65536 --spread all -o json

The exit code is 0 when every bound is met, 3 when one is missed, 1 when the cluster failed. What is measured and how,
and what the figures of a machine are worth that the generator shares with the nodes: bench/README.md."""


@dataclass(frozen=True, slots=True)
class Options:
    """What is to be measured."""

    seconds: float
    overload_seconds: float
    factors: tuple[float, ...]
    rate: float
    connections: int
    threads: int
    arrivals: str
    payload_bytes: int
    keys: int
    spread: str
    nodes: int
    base_port: int
    output: str
    keep: bool


def parse_options(description: str, arguments: Sequence[str] | None = None) -> Options:
    """Parse the command line; exits with 2 and a message when it is wrong."""
    parser = parser_of("overload", description, EXAMPLES)
    add = parser.add_argument
    add(
        "--seconds", type=number(0.5, 3600), default=10.0, help="length of the peak and of the fixed rate (default: 10)"
    )
    add("--overload-seconds", type=number(0.5, 3600), default=60.0, help="length of each overload (default: 60)")
    add(
        "--factors",
        type=_factors,
        default=(2.0,),
        metavar="N[,N]",
        help="offered, in multiples of the peak, or none (2)",
    )
    add(
        "--rate",
        type=number(0, 1_000_000),
        default=5_000.0,
        help="the fixed rate, in writes per second; 0 leaves it out (5000)",
    )
    add("--connections", type=whole(1, 100_000), default=3_000, help="connections of the open loop (default: 3000)")
    add("--threads", type=whole(1, 100_000), default=1, help="of the generator, at a time (default: 1)")
    add("--arrivals", choices=("poisson", "constant"), default="poisson", help="of the open loop (default: poisson)")
    add(
        "--payload",
        type=whole(64, 1_000_000),
        default=255,
        metavar="BYTES",
        help="size of the JSON documents (default: 255)",
    )
    add("--keys", type=whole(1, 100_000), default=10_000, help="how many documents are written (default: 10000)")
    add("--spread", choices=("leader", "all"), default="leader", help="where requests go (default: leader)")
    add("--nodes", type=int, choices=(1, 3, 5, 7), default=3, help="size of the cluster (default: 3)")
    add("--base-port", type=int, default=21_800, metavar="PORT", help="of the first member (default: 21800)")
    add("--keep", action="store_true", help="stop the cluster at the end but keep its files, logs among them")
    given = parser.parse_args(arguments)
    return Options(
        seconds=given.seconds,
        overload_seconds=given.overload_seconds,
        factors=given.factors,
        rate=given.rate,
        connections=given.connections,
        threads=given.threads,
        arrivals=given.arrivals,
        payload_bytes=given.payload,
        keys=given.keys,
        spread=given.spread,
        nodes=given.nodes,
        base_port=given.base_port,
        output=given.output,
        keep=given.keep,
    )


_factor = number(0.1, 100)


def _factors(text: str) -> tuple[float, ...]:
    return () if text == "none" else tuple(map(_factor, text.split(",")))
