"""The command line of the backup's figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from collectionstore_bench.command_line import names_of, parser_of, whole

PARTS = ("throughput", "restore", "latency", "archive", "switchover", "quorum")
EXAMPLES = """examples:
  python -m collectionstore_bench.backup                                everything: about 15 minutes
  python -m collectionstore_bench.backup --only latency --rounds 9 --megabytes 256
  python -m collectionstore_bench.backup --only latency --own-core      the program on a processor of its own
  python -m collectionstore_bench.backup --only archive,switchover,quorum -o json

The exit code is 0 when every bound is met, 3 when one is missed, 1 when the cluster or a program failed. What is
measured and how: bench/README.md."""


@dataclass(frozen=True, slots=True)
class Options:
    """What is to be measured."""

    parts: tuple[str, ...]
    megabytes: int
    documents: int
    rate: float
    rounds: int
    max_bytes_per_second: int
    """Of the backups whose cost to clients is measured; 0: without a limit."""
    own_core: bool
    archive_rate: float
    archive_seconds: float
    switchovers: int
    base_port: int
    output: str
    keep: bool


def parse_options(description: str, arguments: Sequence[str] | None = None) -> Options:
    """Parse the command line; exits with 2 and a message when it is wrong."""
    parser = parser_of("backup", description, EXAMPLES)
    add = parser.add_argument
    add(
        "--only",
        dest="parts",
        type=names_of(PARTS),
        default=PARTS,
        metavar="PART[,PART]",
        help=f"of {', '.join(PARTS)}",
    )
    add(
        "--megabytes",
        type=whole(1, 10_000_000),
        default=1024,
        help="size of the state for throughput and latency (1024)",
    )
    add(
        "--documents",
        type=whole(1, 10_000_000),
        default=100_000,
        help="number of documents of the restored cluster (100000)",
    )
    add("--rate", type=whole(1, 10_000_000), default=150, help="writes per second, whatever their latency (150)")
    add("--rounds", type=whole(1, 10_000_000), default=5, help="pairs of phases, one with and one without a backup (5)")
    add(
        "--max-bytes-per-second",
        type=int,
        default=0,
        help="limit of the backups whose cost is measured, as the option of the program; 0: none (0)",
    )
    add(
        "--own-core",
        action="store_true",
        help="the backup program has the last processor for itself, all else the others, in both kinds of phases",
    )
    add("--archive-rate", type=whole(1, 10_000_000), default=1_000, help="writes per second beside the archive (1000)")
    add("--archive-seconds", type=whole(1, 10_000_000), default=20, help="length of that (20)")
    add("--switchovers", type=whole(1, 10_000_000), default=10, help="transfers of leadership (10)")
    add("--base-port", type=whole(1, 10_000_000), default=23_400, help="first port of the cluster (23400)")
    add("--no-keep", dest="keep", action="store_false", help="do not write the results to bench/results")
    return Options(**vars(parser.parse_args(arguments)))
