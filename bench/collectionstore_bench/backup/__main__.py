"""Print what a backup costs clients and how fast data come back.

Throughput of backup, verification and restore, write latency during a backup beside that without, the lag of the
archive, the time of a restore, of a switchover and of a recovery from a lost quorum: on local clusters of three.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median

import aiohttp

from collectionstore_bench.backup import figures
from collectionstore_bench.backup.archive_lag import measure_archive_lag
from collectionstore_bench.backup.load import fill_documents, fill_values
from collectionstore_bench.backup.measurements import Phases, measure_phases, restore_cluster
from collectionstore_bench.backup.options import Options, parse_options
from collectionstore_bench.backup.outages import GRACE_S, recover_quorum, switchovers
from collectionstore_bench.backup.programs import Lab, run_program
from collectionstore_bench.lifecycle.trials import Finding
from collectionstore_bench.machine import describe
from collectionstore_bench.program import exit_code, on_uvloop, say
from collectionstore_bench.results import keep
from collectionstore_testkit.clusters.local import STATE_PARENT, local_cluster

RUNS = 3
"""Of each command whose throughput is measured; the median counts."""
COPY_PORTS = 100
STATUS_PORT = 200
MIB = 1 << 20


async def measure(options: Options) -> bool:
    """Measure, print and keep; return whether every bound is met."""
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    machine = describe(STATE_PARENT)
    findings: list[Finding] = []
    found = Phases()
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=STATE_PARENT)))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        spec = {"failedMember": {"graceSeconds": GRACE_S}}
        say("starting three members")
        cluster = await stack.enter_async_context(local_cluster(replicas=3, base_port=options.base_port, spec=spec))
        async for finding in _parts(Lab(cluster, session, folder), options, found):
            findings.append(finding)
            say(f"  {finding.what}: {figures.shown(finding)}")
    page = figures.page(machine, options, findings)
    content = figures.content(machine, options, findings, found if found.seconds else None)
    print(content if options.output == "json" else page)
    if options.keep:
        say(f"kept: {keep('backup', machine, content, page)}")
    return all(finding.met for finding in findings)


async def _parts(lab: Lab, options: Options, found: Phases) -> AsyncIterator[Finding]:
    """Measure each part, and fill `found`."""
    urls, small, large = lab.cluster.urls(3), lab.folder / "small", lab.folder / "large"
    wanted = set(options.parts)
    count = options.documents if "restore" in wanted else 1_000
    say(f"writing {count} documents")
    await fill_documents(lab.session, urls, count)
    if "switchover" in wanted:
        say("leaders hand over")
        for one in await switchovers(lab, options.switchovers):
            yield one
    if wanted & {"restore", "archive"}:
        await run_program("create", "--repository", str(small), *lab.access)
    if "restore" in wanted:
        say(f"restoring {count} documents as a new cluster")
        seconds = await restore_cluster(lab, small, options.base_port + COPY_PORTS)
        yield Finding(
            f"restore of {count:,} documents",
            seconds,
            "s",
            note="csctl restore, until its first member serves the data",
        )
    if "archive" in wanted:
        say(f"archiving under {options.archive_rate:g} writes/s")
        port = options.base_port + STATUS_PORT
        lag = await measure_archive_lag(
            lab, small, rate=options.archive_rate, seconds=options.archive_seconds, port=port
        )
        for one in figures.of_archive(lag):
            yield one
    if wanted & {"throughput", "latency"}:
        say(f"writing {options.megabytes} MiB")
        await fill_values(lab.session, urls, options.megabytes << 20)
        backup_s = 10.0
        if "throughput" in wanted:
            rates: dict[str, list[float]] = {}
            async for name, mib_s, seconds in _throughput(lab, large):
                rates.setdefault(name, []).append(mib_s)
                backup_s = seconds if name == "backup" else backup_s
            for name, values in rates.items():
                spread = f"median of {len(values)}; {min(values):.1f} to {max(values):.1f}"
                yield Finding(f"{name}, no other load", median(values), "MiB/s", note=spread)
        if "latency" in wanted:
            say(f"{options.rounds} rounds of writes with and without a backup")
            limit = (
                ("--max-bytes-per-second", str(options.max_bytes_per_second)) if options.max_bytes_per_second else ()
            )
            await measure_phases(
                lab,
                ("--repository", str(large), *limit),
                found,
                rate=options.rate,
                rounds=options.rounds,
                first_s=backup_s,
                own_core=options.own_core,
            )
            for one in figures.of_phases(found, options):
                yield one
    if "quorum" in wanted:
        say("two of three disks are lost")
        for one in figures.of_recovery(await recover_quorum(lab)):
            yield one


async def _throughput(lab: Lab, repository: Path) -> AsyncIterator[tuple[str, float, float]]:
    """Yield name, MiB/s of the stream and seconds of each run, in turns."""
    where = ("--repository", str(repository))
    for number in range(RUNS):
        made = await run_program("create", *where, *lab.access)
        size = made["stream_bytes"] / MIB
        yield "backup", size / made["seconds"], made["seconds"]
        for name, extra in (("verify", ()), ("restore", lab.new_member(lab.folder / f"data-{number}"))):
            done = await run_program(name, made["id"], *extra, *where)
            yield name, size / done["seconds"], done["seconds"]


def main() -> int:
    """Run; return the exit code: 0 every bound met, 3 one missed, 1 the cluster failed, 130 interrupted."""
    options = parse_options(__doc__ or "")
    return exit_code(lambda: 0 if on_uvloop(measure(options)) else 3, aiohttp.ClientError)


if __name__ == "__main__":
    sys.exit(main())
