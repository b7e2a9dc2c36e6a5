"""Run the specification tests of a checkout, and print the share that passes and why each other one does not.

`python -m collectionstore_testkit.specifications PATH` with PATH the folder of a checkout of mongodb/specifications.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from collectionstore import AsyncClient
from collectionstore.testing import memory_store
from collectionstore_testkit.specifications.runner import Verdict, run_test

GROUPS: Final = ("crud", "transactions", "transactions-convenient-api", "change-streams")
TEST_S: Final = 30.0


async def run_group(folder: Path, client: AsyncClient) -> list[tuple[str, Verdict]]:
    """Run all tests of a group; return (file: test, verdict)."""
    verdicts = []
    for path in sorted((folder / "tests" / "unified").glob("*.json")):
        file = json.loads(path.read_text())
        for test in file["tests"]:
            try:
                async with asyncio.timeout(TEST_S):
                    verdict = await run_test(client, file, test)
            except TimeoutError:
                verdict = Verdict(passed=False, reason="no end in time")
            verdicts.append((f"{path.stem}: {test['description']}", verdict))
    return verdicts


def shown(group: str, verdicts: Sequence[tuple[str, Verdict]], *, every: bool) -> str:
    """Return the share of a group, and the reasons with how many tests each has."""
    counted = [verdict for _, verdict in verdicts if verdict.counts]
    passed = sum(verdict.passed for verdict in counted)
    offered = sum(verdict.offered for verdict in counted)
    lines = [
        f"{group}: {passed} of {len(counted)} pass ({_share(passed, len(counted))}); "
        f"of the {offered} that need nothing else than is offered, {_share(passed, offered)}"
    ]
    reasons = Counter(verdict.reason for _, verdict in verdicts if not verdict.passed)
    lines += [f"  {count:4} {reason}" for reason, count in reasons.most_common()]
    if every:
        lines += [f"  - {name}: {verdict.reason}" for name, verdict in verdicts if not verdict.passed]
    return "\n".join(lines)


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "none"


async def run(source: Path, *, every: bool) -> None:
    """Run all groups."""
    for group in GROUPS:
        async with memory_store() as store, AsyncClient(store.url) as client:
            verdicts = await run_group(source / group, client)
        sys.stdout.write(shown(group, verdicts, every=every) + "\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; return its exit code."""
    parser = argparse.ArgumentParser(prog="collectionstore_testkit.specifications", description=__doc__)
    parser.add_argument("path", type=Path, help="a checkout of mongodb/specifications")
    parser.add_argument("--every", action="store_true", help="name every test that does not pass")
    options = parser.parse_args(arguments)
    source = options.path / "source"
    if not (source / GROUPS[0]).is_dir():
        parser.error(f"{options.path} is no checkout of mongodb/specifications")
    asyncio.run(run(source, every=options.every))
    return 0


if __name__ == "__main__":
    sys.exit(main())
