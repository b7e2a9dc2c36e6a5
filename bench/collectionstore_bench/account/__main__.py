"""Account for the processor time of a write and a read by stage, on the leader and a follower of three local nodes.

The running nodes are sampled by py-spy, which needs root or the permission to trace processes. Each thread counts for
the processor time that the kernel accounts to it, measured without the profiler.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

import msgspec

from collectionstore_bench.account.measure import Measured, Options, measure
from collectionstore_bench.account.table import block, insert, render
from collectionstore_bench.machine import Machine, describe
from collectionstore_bench.program import exit_code, say
from collectionstore_testkit.clusters.local import CSCTL, STATE_PARENT
from collectionstore_testkit.errors import ToolError
from collectionstore_testkit.places import REPOSITORY
from collectionstore_testkit.tools import older_version

PAGE: Final = REPOSITORY / "bench" / "README.md"


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m collectionstore_bench.account", description=__doc__)
    add = parser.add_argument
    add("--commit", metavar="REV", help="account for this commit, installed below build/older, instead of the checkout")
    add("--connections", type=int, default=64, help="requests in flight (default: 64)")
    add("--seconds", type=int, default=6, help="length of the run without the profiler (default: 6)")
    add("--profile-seconds", type=int, default=15, help="length of the run with it (default: 15)")
    add("--base-port", type=int, default=22_000, metavar="PORT", help="of the cluster (default: 22000)")
    add("--write", action="store_true", help="also put the table into bench/README.md, by commit")
    add("-o", "--output", choices=("table", "json"), default="table")
    return parser.parse_args(arguments)


def main() -> int:
    """Run; 0 measured, 1 a cluster, the profiler or a generator failed, 130 interrupted."""
    given = parse_options()

    def work() -> int:
        machine = describe(STATE_PARENT)
        csctl = CSCTL
        if given.commit:
            older = older_version.check_out(given.commit)
            say(f"installing {older.revision[:12]}")
            older.install()
            csctl, machine = older.csctl, replace(machine, commit=older.revision[:12])
        options = Options(given.connections, given.seconds, given.profile_seconds, given.base_port)
        _publish(given, machine, asyncio.run(measure(options, csctl)))
        return 0

    return exit_code(work, ToolError)


def _publish(given: argparse.Namespace, machine: Machine, measured: Sequence[Measured]) -> None:
    text = render(measured, connections=given.connections)
    if given.write:
        _write(PAGE, machine, text)
    if given.output == "json":
        result = {"machine": asdict(machine), "accounts": [_plain(one) for one in measured]}
        print(msgspec.json.format(json.dumps(result), indent=2))
        return
    print("\n".join([*machine.lines(), "", text]))


def _write(page: Path, machine: Machine, text: str) -> None:
    page.write_text(insert(page.read_text(), machine.commit, block(machine, text)))
    say(f"written to {page}")


def _plain(measured: Measured) -> dict[str, object]:
    return {
        "work": measured.work,
        "requests_per_s": measured.result.per_second,
        "accounts": {who: asdict(account) for who, account in measured.accounts.items()},
    }


if __name__ == "__main__":
    sys.exit(main())
