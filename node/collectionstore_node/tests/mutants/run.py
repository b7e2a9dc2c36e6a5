"""Mutation proof: bring every known bug back, one at a time, and see what notices.

`python -m collectionstore_node.tests.mutants.run [--seeds N] [S01 ...]`, or `make mutants`. README.md explains.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from collectionstore_node.tests.mutants.examine import Finding, examine
from collectionstore_node.tests.mutants.mutant import Mutant, MutantBroken, read_mutants

SEEDS_MAX: Final = 1000
WORKERS: Final = 2
CAUGHT_SHARE_MIN: Final = 0.95
WORDS_MAX: Final = 72

HEAD: Final = """\
| mutant | file | caught by | seeds until caught | tests that notice | seconds |
|---|---|---|---|---|---|"""


def row(finding: Finding, seeds_max: int) -> str:
    """Return a line of the table."""
    mutant = finding.mutant
    if finding.seeds:
        by = f"simulation: {finding.words[:WORDS_MAX]}"
    else:
        by = finding.failing[0] if finding.failing else "-"
    if mutant is not None and not mutant.hunted:
        seeds = mutant.seeds
    else:
        seeds = str(finding.seeds) if finding.seeds else f"not in {seeds_max}"
    cells = (
        mutant.path.stem if mutant is not None else "unchanged",
        ", ".join(mutant.files) if mutant is not None else "-",
        by.replace("|", "/").replace("\n", " "),
        seeds,
        f"{len(finding.failing)} of {len(finding.tests)}",
        f"{finding.seconds:.1f}",
    )
    return f"| {' | '.join(cells)} |"


def problem(finding: Finding) -> str:
    """Return what is wrong with a finding, besides that nothing noticed; empty when nothing is."""
    mutant = finding.mutant
    if mutant is None:
        return f"the unchanged package fails: {finding.words or finding.failing}" if finding.caught else ""
    blind = [test for test in finding.tests if test not in finding.failing]
    return f"{mutant.path.name}: these do not notice it: {', '.join(blind)}" if blind else ""


def run(mutants: list[Mutant], seeds_max: int, *, unchanged: bool) -> int:
    """Print the table as it comes, then what is wrong; return how many mutants were caught, -1 if anything is wrong."""
    _print(HEAD)
    problems: list[str] = []
    caught = 0
    with ThreadPoolExecutor(WORKERS) as pool:
        futures: list[tuple[str, Future[Finding]]] = []
        if unchanged:
            every_test = tuple(dict.fromkeys(test for mutant in mutants for test in mutant.tests))
            futures.append(("unchanged", pool.submit(examine, None, seeds_max, every_test)))
        futures += [(one.path.name, pool.submit(examine, one, seeds_max, one.tests)) for one in mutants]
        for name, future in futures:
            try:
                finding = future.result()
            except (MutantBroken, subprocess.TimeoutExpired) as error:
                problems.append(f"{name}: {error}")
                continue
            _print(row(finding, seeds_max))
            caught += finding.mutant is not None and finding.caught
            problems += filter(None, [problem(finding)])
    for text in problems:
        _print(text)
    return -1 if problems else caught


def main(arguments: list[str]) -> int:
    """Return 0 if enough mutants were caught, every patch applies, and the unchanged package passes; else 1."""
    parser = argparse.ArgumentParser(description="Bring known bugs back, one at a time, and see what notices.")
    parser.add_argument("rows", nargs="*", help="only these, as S01, and not the unchanged package")
    parser.add_argument("--seeds", type=int, default=SEEDS_MAX, help="give up after so many (default: %(default)s)")
    options = parser.parse_args(arguments)
    mutants = [mutant for mutant in read_mutants() if not options.rows or mutant.row in options.rows]
    started = time.perf_counter()
    caught = run(mutants, options.seeds, unchanged=not options.rows)
    if caught < 0:
        return 1
    _print(f"\n{caught} of {len(mutants)} mutants caught in {time.perf_counter() - started:.0f} s")
    return int(caught < CAUGHT_SHARE_MIN * len(mutants))


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
