"""The command line of the scale experiment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from collectionstore_bench.command_line import parser_of, whole_numbers

PARTS = ("members", "values", "documents", "connections")

EXAMPLES = """examples:
  python -m collectionstore_bench.scale                              everything, about 15 minutes
  python -m collectionstore_bench.scale --reduced                    smaller and shorter, about 4 minutes
  python -m collectionstore_bench.scale --only documents --documents 10000000
  python -m collectionstore_bench.scale --only values --sizes 255,16384 -o json
  python -m collectionstore_bench.scale.groups --svg docs/pictures/groups.svg    several groups, simulated

What is measured and how: bench/README.md; what follows from it: docs/scale.md."""


@dataclass(frozen=True, slots=True)
class Options:
    """What is to be measured."""

    parts: tuple[str, ...]
    members: tuple[int, ...]
    sizes: tuple[int, ...]
    documents: tuple[int, ...]
    snapshots: bool
    idle_connections: int
    connections: int
    seconds: float
    reduced: bool
    base_port: int
    output: str


def parse_options(description: str, arguments: Sequence[str] | None = None) -> Options:
    """Parse the command line; exits with 2 and a message when it is wrong."""
    parser = parser_of("scale", description, EXAMPLES)
    add = parser.add_argument
    add("--only", action="append", choices=PARTS, default=None, help="measure this part; may be repeated")
    add("--reduced", action="store_true", help="2 s rounds, at most 100,000 documents, 2,000 idle connections")
    add("--members", type=whole_numbers(1, 7), default=(1, 3, 5, 7), metavar="N[,N]", help="default: 1,3,5,7")
    add(
        "--sizes",
        type=whole_numbers(64, 1_000_000),
        default=(255, 4_096, 16_384, 65_536, 262_144, 1_000_000),
        metavar="BYTES[,BYTES]",
        help="of values (default: 255 B to 1 MB)",
    )
    add(
        "--documents",
        type=whole_numbers(100, 10_000_000),
        default=None,
        metavar="N[,N]",
        help="default: 10000,100000,1000000; 10000000 needs 10 GB of disk",
    )
    add("--no-snapshots", action="store_true", help="do not add members, which get the documents as a snapshot")
    add("--idle-connections", type=whole_numbers(1, 50_000), default=None, metavar="N", help="default: 10000")
    add("--connections", type=whole_numbers(1, 1_000), default=(64,), metavar="N", help="that work (default: 64)")
    add("--seconds", type=float, default=None, help="length of each round of load (default: 10)")
    add("--base-port", type=int, default=22_000, metavar="PORT", help="of the first member (default: 22000)")
    given = parser.parse_args(arguments)
    seconds = given.seconds if given.seconds is not None else (2.0 if given.reduced else 10.0)
    if not 0.1 <= seconds <= 600:
        parser.error("--seconds: allowed are 0.1 to 600")
    return Options(
        parts=tuple(name for name in PARTS if given.only is None or name in given.only),
        members=given.members,
        sizes=given.sizes,
        documents=given.documents or ((10_000, 100_000) if given.reduced else (10_000, 100_000, 1_000_000)),
        snapshots=not given.no_snapshots,
        idle_connections=given.idle_connections[0] if given.idle_connections else (2_000 if given.reduced else 10_000),
        connections=given.connections[0],
        seconds=seconds,
        reduced=given.reduced,
        base_port=given.base_port,
        output=given.output,
    )
