"""Measure what encryption at rest costs: two clusters, one of which seals what it stores, loaded in turns.

Writes first, then reads of all members, within one run. "nodes µs" is the processor time of all three nodes for one
request.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import aiohttp

from collectionstore_bench.comparison.metrics import NODE_COMMAND
from collectionstore_bench.comparison.on_and_off import OFF, ON, load_of, measure, parse_options, render
from collectionstore_bench.comparison.turns import side_by_side
from collectionstore_bench.machine import describe
from collectionstore_bench.program import exit_code, on_uvloop
from collectionstore_testkit.clusters.errors import ClusterFailed
from collectionstore_testkit.clusters.local import STATE_PARENT

VARIABLE: Final = "COLLECTIONSTORE_ENCRYPTION_KEYS_DIR"
NODE: Final = (sys.executable, "-m", "collectionstore_node")


async def run(options: argparse.Namespace, keys: Path) -> None:
    """Measure and print. Raises ClusterFailed if a member is not encrypted that should be."""
    machine, load = describe(STATE_PARENT), load_of(options)
    environments = {OFF: {}, ON: {NODE_COMMAND: shlex.join(["env", f"{VARIABLE}={keys}", *NODE])}}
    async with (
        aiohttp.ClientSession() as session,
        side_by_side(load, environments, session, what="encryption") as sides,
    ):
        rows = await measure(sides, options)
        sealed = len(list(STATE_PARENT.glob("*/**/data/KEYS")))
        if sealed != load.nodes:
            raise ClusterFailed(f"{sealed} of {load.nodes} members of the encrypted cluster are encrypted")
    print("\n".join([*machine.lines(), *render(rows, options, "encryption", "encrypted to plain")]))


def main() -> int:
    """Run; return the exit code: 0 measured, 1 a cluster failed, 130 interrupted."""
    options = parse_options("encryption", __doc__, 21_700)

    def work() -> int:
        with TemporaryDirectory() as folder:
            (Path(folder) / "key").write_bytes(os.urandom(32))
            on_uvloop(run(options, Path(folder)))
        return 0

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
