"""Measure backup and restore on a local cluster: throughput, write latency with and without, time to restore.

Phases with a backup and without alternate, on the same cluster with the same load, so that what else the machine does
falls on both.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import tempfile
from pathlib import Path

import aiohttp
import uvloop

from collectionstore_bench.backup.load import fill_documents, fill_values
from collectionstore_bench.backup.measurements import Lab, Phase, measure_phases, restore_cluster, run_program
from collectionstore_bench.machine import describe
from collectionstore_bench.tables import milliseconds, table
from collectionstore_testkit.clusters.local import STATE_PARENT, local_cluster

P99_RATIO_MAX = 1.2
"""Write p99 during a backup against without."""


def main() -> None:
    """Parse the arguments, measure, print; exit with 1 if clients notice more of a backup than they may."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=1024, help="size of the state for the throughput")
    parser.add_argument("--documents", type=int, default=100_000, help="number of documents for the restore")
    parser.add_argument("--rate", type=int, default=150, help="writes per second, whatever their latency")
    parser.add_argument("--rounds", type=int, default=3, help="pairs of phases, one with and one without a backup")
    parser.add_argument("--base-port", type=int, default=23_400)
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        sys.exit(runner.run(measure(options)))


async def measure(options: argparse.Namespace) -> int:
    """Run everything on one cluster of three."""
    print("\n".join(describe(STATE_PARENT).lines()), flush=True)
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=STATE_PARENT)))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        cluster = await stack.enter_async_context(local_cluster(replicas=3, base_port=options.base_port))
        lab = Lab(cluster, session, folder)

        print(f"\nrestore of {options.documents} documents", flush=True)
        await fill_documents(session, cluster.urls(3), options.documents)
        made = await run_program("create", "--repository", str(folder / "small"), *lab.access)
        seconds = await restore_cluster(lab, folder / "small", options.base_port + 100)
        print(f"  backup   {made['seconds']:.1f} s, {made['stored_bytes'] >> 20} MiB stored")
        print(f"  restore  {seconds:.1f} s until the first member serves the data; the others join behind it")

        print(f"\nthroughput at {options.megabytes} MiB", flush=True)
        await fill_values(session, cluster.urls(3), options.megabytes << 20)
        where = ("--repository", str(folder / "large"))
        phases = await measure_phases(lab, where, rate=options.rate, rounds=options.rounds)
        rows = []
        for name, extra in (("verify", ("latest",)), ("restore", ("latest", *lab.new_member(folder / "data")))):
            done = await run_program(name, *extra, *where)
            rows.append([name, f"{phases.stream_bytes / done['seconds'] / (1 << 20):.1f}", f"{done['seconds']:.1f}"])
        rows.insert(0, ["backup, under load", f"{phases.backup_mib_s:.1f}", f"{phases.backup_s:.1f}"])
        print(table(["", "MiB/s", "seconds"], rows, right=(1, 2)))
        print(f"  processor time of the member that is read: {phases.member_ms_per_mib:.1f} ms per MiB")

    print(f"\nwrite latency at {options.rate} writes per second, {options.rounds} phases of each kind, in turns")
    latencies = [_row(name, phase) for name, phase in (("without", phases.without), ("during a backup", phases.during))]
    print(table(["", "writes", "failed", "p50 ms", "p99 ms", "max ms"], latencies, right=(1, 2, 3, 4, 5)))
    ratio = phases.during.percentile(0.99) / phases.without.percentile(0.99)
    within = ratio <= P99_RATIO_MAX
    print(f"p99 during a backup is {ratio:.2f} times that without; {P99_RATIO_MAX} allowed: {'ok' if within else 'NO'}")
    return 0 if within else 1


def _row(name: str, phase: Phase) -> list[str]:
    return [
        name,
        str(len(phase.seconds)),
        str(phase.failed),
        *(milliseconds(phase.percentile(share)) for share in (0.5, 0.99, 1.0)),
    ]


if __name__ == "__main__":
    main()
