"""The command line."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from collectionstore_attack.attacks import ATTACKS

MEMORY_DEFAULT: Final = "1Gi"
OPEN_FILES_DEFAULT: Final = 1024
SECONDS_DEFAULT: Final = 6.0
BASE_PORT_DEFAULT: Final = 22_400

DESCRIPTION = """Attack a local cluster as hostile clients would, beside a client that must not notice.

Three members run with the given limits of memory and descriptors. For each attack a victim writes and reads before,
during and after it, from another address than the attackers; one row shows what the attack cost.
"""
EPILOG = """attacks:
{attacks}

exit codes:
  0    every bound held
  1    an attack could not be carried out
  2    wrong usage
  3    a bound was broken
  130  interrupted
"""
_UNITS: Final = {"Mi": 1 << 20, "Gi": 1 << 30}


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for."""

    only: tuple[str, ...]
    seconds: float
    memory: str
    open_files: int
    base_port: int
    output: str
    timing: bool
    keep: bool

    @property
    def memory_bytes(self) -> int:
        return int(self.memory[:-2]) * _UNITS[self.memory[-2:]]


def parse_options(arguments: Sequence[str] | None = None) -> Options:
    """Parse the command line; exits with 2 when it is wrong."""
    width = max(map(len, ATTACKS))
    attacks = "\n".join(f"  {name:<{width}}  {attack.summary}" for name, attack in ATTACKS.items())
    parser = argparse.ArgumentParser(
        prog="python -m collectionstore_attack",
        description=DESCRIPTION,
        epilog=EPILOG.format(attacks=attacks),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", type=_only, default=tuple(ATTACKS), metavar="ATTACK,...", help="only these attacks")
    parser.add_argument("--seconds", type=_seconds, default=SECONDS_DEFAULT, help="time of an attack (default: 6)")
    parser.add_argument(
        "--memory",
        type=_memory,
        default=MEMORY_DEFAULT,
        help="memory limit of a member: 512Mi, 1Gi, 2Gi (default: 1Gi)",
    )
    parser.add_argument(
        "--open-files", type=int, default=OPEN_FILES_DEFAULT, help="soft limit of descriptors (default: 1024)"
    )
    parser.add_argument("--base-port", type=int, default=BASE_PORT_DEFAULT, help="first port (default: 22400)")
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table", help="form of the results")
    parser.add_argument(
        "--no-timing",
        action="store_true",
        help="judge exits, lost writes, memory and answers alone: on a busy machine the rest proves nothing",
    )
    parser.add_argument("--keep", action="store_true", help="keep the cluster's folder")
    given = parser.parse_args(arguments)
    return Options(
        only=given.only,
        seconds=given.seconds,
        memory=given.memory,
        open_files=given.open_files,
        base_port=given.base_port,
        output=given.output,
        timing=not given.no_timing,
        keep=given.keep,
    )


def _only(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    unknown = [name for name in names if name not in ATTACKS]
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; allowed: {', '.join(ATTACKS)}")
    return names


def _seconds(text: str) -> float:
    value = float(text)
    if not 1 <= value <= 3600:
        raise argparse.ArgumentTypeError("from 1 to 3600 seconds")
    return value


def _memory(text: str) -> str:
    if re.fullmatch(r"[1-9][0-9]{0,5}(Mi|Gi)", text) is None:
        raise argparse.ArgumentTypeError("a number with Mi or Gi, such as 512Mi")
    return text
