"""Write the rule file, or check that it is current; for another base of runbooks, or for a trial, print it."""

from __future__ import annotations

import argparse
import sys

from collectionstore_alerts import catalogue
from collectionstore_alerts.rules import RUNBOOKS

COMMAND = "make generate"


def main() -> int:
    """Write, check or print; 1 when the file is not current."""
    parser = argparse.ArgumentParser(prog="python -m collectionstore_alerts", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 unless the file is current")
    parser.add_argument("--print", action="store_true", help="print the rules instead")
    parser.add_argument("--runbooks", default=RUNBOOKS, help="base URL of the runbooks, with --print")
    parser.add_argument("--hold", help="how long every alert must be true before it fires, with --print: for trials")
    options = parser.parse_args()
    if options.print:
        print(catalogue.text(runbooks=options.runbooks, hold=options.hold), end="")
        return 0
    current = catalogue.FILE.exists() and catalogue.FILE.read_text() == catalogue.text()
    if options.check and not current:
        print(f"alerts/{catalogue.FILE.name} is not current; make it so:  {COMMAND}", file=sys.stderr)
        return 1
    if not current:
        catalogue.FILE.write_text(catalogue.text())
        print(f"wrote alerts/{catalogue.FILE.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
