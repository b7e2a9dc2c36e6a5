"""The command line."""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from collectionstore_chaos.schedule import KINDS

SEED_MAX = 1 << 32

DESCRIPTION = """Break a real cluster in every way there is, and check that it kept its promises.

Nodes are real processes with RocksDB and mutual TLS, run by csctl local. Clients read, write, delete, compare and
commit transactions all the time, and every answer is recorded. In the end every fault is over, all members must be
there and hold the same, and the history must be linearizable.
"""

EPILOG = """kinds of faults:
{kinds}

Without --only, the seed picks about two thirds of them for a run.

exit codes:
  0    every promise was kept
  1    the run could not be carried out
  2    wrong usage
  3    a promise was broken; everything that was found is kept, and the command that checks it again is printed
  130  interrupted
"""


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for."""

    minutes: float
    nodes: int
    seed: int
    only: tuple[str, ...]
    clients: int
    rate: float
    base_port: int
    folder: Path
    output: str
    keep: bool
    bank: bool
    """Whether a bank is run by interactive transactions, too."""


def parse_options(arguments: Sequence[str] | None = None) -> Options:
    """Parse the command line; exits with 2 when it is wrong."""
    width = max(map(len, KINDS))
    kinds = "\n".join(f"  {name:<{width}}  {_first_line(fault)}" for name, fault in KINDS.items())
    parser = argparse.ArgumentParser(
        prog="python -m collectionstore_chaos",
        description=DESCRIPTION,
        epilog=EPILOG.format(kinds=kinds),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=_minutes, default=5.0, help="how long there are faults (default: 5)")
    parser.add_argument("--nodes", type=int, choices=(3, 5), default=3, help="members (default: 3)")
    parser.add_argument("--seed", type=_seed, help="what faults and clients are drawn from (default: a random one)")
    parser.add_argument("--only", type=_only, default=(), metavar="KIND,...", help="only these kinds of faults")
    parser.add_argument("--clients", type=_count, default=10, help="clients, each with one request (default: 10)")
    parser.add_argument("--rate", type=_count, default=100, help="operations a second, together (default: 100)")
    parser.add_argument("--bank", action="store_true", help="run a bank by interactive transactions, and check it")
    parser.add_argument("--base-port", type=_port, default=21400, help="first port of the nodes (default: 21400)")
    parser.add_argument(
        "--folder", type=Path, default=Path("/var/tmp"), help="where the run's folder is made (default: /var/tmp)"
    )
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table", help="form of the results")
    parser.add_argument("--keep", action="store_true", help="keep the folder of a run that was good, too")
    given = parser.parse_args(arguments)
    return Options(
        minutes=given.minutes,
        nodes=given.nodes,
        seed=random.SystemRandom().randrange(SEED_MAX) if given.seed is None else given.seed,
        only=given.only,
        clients=given.clients,
        rate=float(given.rate),
        base_port=given.base_port,
        folder=given.folder,
        output=given.output,
        keep=given.keep,
        bank=given.bank,
    )


def _first_line(fault: object) -> str:
    return (fault.__doc__ or "").splitlines()[0]


def _minutes(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.1 <= value <= 1440:
        raise argparse.ArgumentTypeError(f"{text!r}; allowed: 0.1 to 1440")
    return value


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= SEED_MAX:
        raise argparse.ArgumentTypeError(f"{text!r}; allowed: a whole number from 0 to {SEED_MAX - 1}")
    return int(text)


def _only(text: str) -> tuple[str, ...]:
    kinds = tuple(text.split(","))
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}; allowed: {', '.join(KINDS)}")
    return kinds


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1000:
        raise argparse.ArgumentTypeError(f"{text!r}; allowed: 1 to 1000")
    return int(text)


def _port(text: str) -> int:
    if not text.isdecimal() or not 1024 <= int(text) <= 65_000:
        raise argparse.ArgumentTypeError(f"{text!r}; allowed: 1024 to 65000")
    return int(text)
