"""The command line of the query experiment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from collectionstore_bench.command_line import number, parser_of, whole

PARTS = ("indexes", "scan", "writes")

EXAMPLES = """examples:
  python -m collectionstore_bench.queries                       everything, 100,000 documents
  python -m collectionstore_bench.queries --documents 20000     a smaller collection
  python -m collectionstore_bench.queries --only writes -o json

What is measured and how: bench/README.md."""


@dataclass(frozen=True, slots=True)
class Options:
    """What is to be measured."""

    parts: tuple[str, ...]
    documents: int
    rounds: int
    """Queries by a scan of each case; ten times as many by the index."""
    seconds: float
    """Of each round of writes."""
    connections: int
    base_port: int
    output: str


def parse_options(description: str, arguments: Sequence[str] | None = None) -> Options:
    """Parse the command line; exits with 2 and a message when it is wrong."""
    parser = parser_of("queries", description, EXAMPLES)
    add = parser.add_argument
    add("--only", action="append", choices=PARTS, default=None, help="measure this part; may be repeated")
    add(
        "--documents",
        type=whole(1_000, 900_000),
        default=100_000,
        metavar="N",
        help="1,000 to 900,000 (default: 100,000)",
    )
    add(
        "--rounds",
        type=whole(1, 100),
        default=5,
        metavar="N",
        help="queries by a scan of each case, 1 to 100 (default: 5)",
    )
    add("--seconds", type=number(0.1, 600), default=5.0, help="length of each round of writes, 0.1 to 600 (default: 5)")
    add("--connections", type=whole(1, 1_000), default=32, metavar="N", help="that write, 1 to 1,000 (default: 32)")
    add("--base-port", type=int, default=22_100, metavar="PORT", help="of the member (default: 22100)")
    given = parser.parse_args(arguments)
    return Options(
        parts=tuple(name for name in PARTS if given.only is None or name in given.only),
        documents=given.documents,
        rounds=given.rounds,
        seconds=given.seconds,
        connections=given.connections,
        base_port=given.base_port,
        output=given.output,
    )
