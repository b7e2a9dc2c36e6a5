"""Check stored histories: are they linearizable?"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from collectionstore_testkit.histories.checker import STEPS_MAX, Linearizable, check
from collectionstore_testkit.histories.operations import load

EXAMPLES = """examples:
  python -m collectionstore_testkit.histories.check history.jsonl
  python -m collectionstore_testkit.histories.check --steps 20000000 history.jsonl     search longer

A history is one JSON object per line, as the workload stores them. The exit code is 0 when every history is
linearizable, 1 when one is not, 3 when one is undecided within the bound, 2 for a file that cannot be read."""

_CODES = {Linearizable.YES: 0, Linearizable.NO: 1, Linearizable.UNDECIDED: 3}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m collectionstore_testkit.histories.check",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="histories")
    parser.add_argument("--steps", type=int, default=STEPS_MAX, help="operations tried per group of keys (%(default)s)")
    options = parser.parse_args(arguments)
    worst = 0
    for path in options.files:
        try:
            history = load(path)
        except (OSError, msgspec.DecodeError) as error:
            sys.stderr.write(f"{path}: cannot be read: {error}\n")
            return 2
        verdict = check(history, steps_max=options.steps)
        sys.stdout.write(
            f"{path}: {verdict.linearizable.value}; {verdict.operations} operations, {verdict.groups} groups of keys, "
            f"{verdict.searched} needed a search\n"
        )
        if verdict.explanation:
            sys.stdout.write(verdict.explanation + "\n")
        code = _CODES[verdict.linearizable]
        worst = code if worst in (0, 3) and code else worst
    return worst


if __name__ == "__main__":
    raise SystemExit(main())
