"""The command line of the operator's measurement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from collectionstore_bench.command_line import parser_of
from collectionstore_bench.operator.contender import Contender
from collectionstore_testkit.places import REPOSITORY

EXAMPLES = """examples:
  make bench-operator                                                     200 clusters, about ten minutes
  make bench-operator OPERATOR_OPTIONS="--clusters 20 --seconds 30"
  make bench-operator OPERATOR_OPTIONS="--beside ../main"                 another checkout's operator, too

What is measured and how: bench/README.md; what follows from it: docs/operate/operator-scale.md."""


@dataclass(frozen=True, slots=True)
class Options:
    """What is to be measured."""

    clusters: int
    seconds: float
    settle_s: float
    reactions: int
    beside: tuple[Contender, ...]
    base_port: int
    keep: bool
    output: str


def parse_options(description: str, arguments: Sequence[str] | None = None) -> Options:
    """Parse the command line; exits with 2 and a message when it is wrong."""
    parser = parser_of("operator", description, EXAMPLES)
    add = parser.add_argument
    add("--clusters", type=int, default=200, metavar="N", help="of three members each (default: 200)")
    add("--seconds", type=float, default=120.0, help="length of the window that is measured (default: 120)")
    add("--settle", type=float, default=30.0, metavar="SECONDS", help="after the start of an operator (default: 30)")
    add("--reactions", type=int, default=10, metavar="N", help="changes of a spec (default: 10)")
    add("--beside", action="append", type=Path, default=[], metavar="CHECKOUT", help="measure its operator, too")
    add("--base-port", type=int, default=23_500, metavar="PORT", help="the first of four (default: 23500)")
    add("--keep", action="store_true", help="keep the logs of all processes")
    given = parser.parse_args(arguments)
    if not 1 <= given.clusters <= 2_000:
        parser.error("--clusters: allowed are 1 to 2000")
    if not 5 <= given.seconds <= 3_600:
        parser.error("--seconds: allowed are 5 to 3600")
    for checkout in given.beside:
        if not (checkout / "operator" / "collectionstore_operator").is_dir():
            parser.error(f"--beside: {checkout} is no checkout of this repository")
    beside = tuple(Contender(f"before-{number}", path.resolve()) for number, path in enumerate(given.beside, 1))
    return Options(
        clusters=given.clusters,
        seconds=given.seconds,
        settle_s=given.settle,
        reactions=min(given.reactions, given.clusters),
        beside=beside,
        base_port=given.base_port,
        keep=given.keep,
        output=given.output,
    )


def contenders(options: Options) -> tuple[Contender, ...]:
    """Return what is measured, in order: this checkout, then others."""
    return (Contender("this", REPOSITORY), *options.beside)
