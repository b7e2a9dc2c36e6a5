"""Measure queries by an index and by a scan in the same run, the scan beside SQLite, and writes with indexes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict

import aiohttp

from collectionstore_bench.figures import Figure, end_with_sigterm, print_json, print_table, shown
from collectionstore_bench.machine import Machine, describe
from collectionstore_bench.program import exit_code, on_uvloop, say
from collectionstore_bench.queries.measure import Subject
from collectionstore_bench.queries.options import Options, parse_options
from collectionstore_testkit.clusters.local import STATE_PARENT, local_cluster

SINGLE = {"unsafe": {"allowSingleReplica": True}}
TIMEOUT_S = 120.0


async def run(options: Options, found: list[Figure]) -> None:
    """Measure the parts on one member; `found` gets what is known so far. Raises ClusterFailed."""
    end_with_sigterm()

    def report(figure: Figure) -> None:
        found.append(figure)
        say(f"{figure.part} {figure.case}: {figure.what} {shown(figure.value)} {figure.unit} {figure.note}")

    async with (
        local_cluster(replicas=1, base_port=options.base_port, spec=SINGLE) as cluster,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as session,
    ):
        subject = Subject(session, cluster.url(0), options, report)
        if set(options.parts) & {"indexes", "scan"}:
            await subject.load()
        if "scan" in options.parts:
            await subject.scan()
        if "indexes" in options.parts:
            await subject.build()
            await subject.indexes()
        if "writes" in options.parts:
            await subject.writes()


def print_result(options: Options, machine: Machine, found: Sequence[Figure]) -> None:
    """Print what was found in the format that was asked for."""
    if options.output == "json":
        print_json(machine, asdict(options), found)
    else:
        print_table(machine, f"{options.documents:,} documents, one member", found)


def main() -> int:
    """Run and print what was found; return the exit code: 0 measured, 1 it failed, 130 interrupted."""
    options = parse_options(__doc__ or "")
    machine, found = describe(STATE_PARENT), list[Figure]()

    def work() -> int:
        on_uvloop(run(options, found))
        return 0

    code = exit_code(work, aiohttp.ClientError)
    print_result(options, machine, found)
    return code


if __name__ == "__main__":
    sys.exit(main())
