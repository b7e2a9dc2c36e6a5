"""Run worlds by number: `python -m collectionstore_node.tests.simulation.run SEED [--count N] [--bank] [--log]`.

With `--log` everything is logged as it happens: faults, the operator's steps, what the members log.
"""

from __future__ import annotations

import argparse
import sys

from collectionstore_node.tests.simulation import world
from collectionstore_node.tests.simulation.seeds import replay


def main() -> int:
    """Run what the command line asks for and return 1 when a seed fails."""
    parser = argparse.ArgumentParser(prog="simulation", description=__doc__.partition("\n")[0])
    parser.add_argument("seed", type=int)
    parser.add_argument("--count", type=int, default=1, help="run this many seeds, from SEED on")
    parser.add_argument("--bank", action="store_true", help="run a bank by interactive transactions, too")
    parser.add_argument("--log", action="store_true", help="tell what happens")
    options = parser.parse_args()
    failed = 0
    for seed in range(options.seed, options.seed + options.count):
        try:
            report = world.run(seed, _tell if options.log else None, bank=options.bank)
        except AssertionError as error:
            failed += 1
            _tell(f"{error}\nreplay: {replay(seed)}{' --bank' if options.bank else ''}")
        else:
            faults = ", ".join(f"{kind} {count}" for kind, count in sorted(report.faults.items()))
            _tell(
                f"seed {seed}: {report.simulated_s:.1f} s, {report.operations} operations, "
                f"trace {report.trace}; {faults or 'no faults'}"
            )
            if options.bank:
                _tell("  " + ", ".join(f"{kind} {count}" for kind, count in sorted(report.transactions.items())))
    return 1 if failed else 0


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
