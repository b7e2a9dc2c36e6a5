"""Offer a cluster more writes than it can take, in an open loop, and see what it does with them."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import aiohttp
import msgspec

from collectionstore_bench.load.documents import COLLECTION, fill
from collectionstore_bench.machine import Machine, cpu_seconds, describe
from collectionstore_bench.overload import generator
from collectionstore_bench.overload.options import Options, parse_options
from collectionstore_bench.overload.plan import Plan, Report
from collectionstore_bench.processes import resident_bytes
from collectionstore_bench.program import exit_code, on_uvloop, say
from collectionstore_bench.tables import milliseconds, table
from collectionstore_testkit.clusters.local import STATE_PARENT, local_cluster
from collectionstore_testkit.clusters.node_status import Nodes, Status

PEAK_CONNECTIONS: Final = (256, 768)
"""Of the closed loops, the better of which is the peak; fewer than the writes that a member lets in."""
WARM_UP_S: Final = 2.0
OVERLOAD_WARM_UP_S: Final = 5.0
"""The node finds its bound from how long writes take, which takes a few seconds; they are part of the table's RSS."""
READ_SHARE: Final = 0.2
READ_CONNECTIONS: Final = 256
SAMPLE_S: Final = 0.5
SEED: Final = 13
PREFIX: Final = "document-"
PEAK: Final = "peak"
PEAK_AFTER: Final = "peak, after"

GOODPUT_MIN: Final = 0.8
OVERLOAD_P99_S: Final = 0.5
FIXED_WRITES_P99_S: Final = 0.05
FIXED_READS_P99_S: Final = 0.01
GROWTH_BYTES_MAX: Final = 256 << 20
"""What the resident memory of a node may grow by beyond what it was at the peak."""
LATE_S_MAX: Final = 0.1


@dataclass(frozen=True, slots=True)
class Row:
    """One round; rates per second, latencies in seconds from when the request was due."""

    name: str
    offered: float
    goodput: float
    p50: float | None
    p99: float | None
    worst: float | None
    refused: float
    refused_p99: float | None
    reads: float
    reads_p99: float | None
    reads_refused: float
    errors: Mapping[str, int]
    leader_changes: int
    rss_bytes: int
    """The most that any node had resident."""
    leader_cpu: float
    """Processor seconds per second of the leader, of all other members together, and of the generator."""
    others_cpu: float
    generator_cpu: float
    late_p99_s: float | None
    """How far the generator was behind its schedule, whatever the members did; and at worst."""
    late_s: float | None
    waited: int
    """Writes and reads that were due when no connection was free."""


@dataclass(frozen=True, slots=True)
class Check:
    """A bound, and whether it was met; None when it could not be judged."""

    what: str
    value: str
    bound: str
    met: bool | None


class Watch:
    """Samples leadership and memory of the nodes while a round runs."""

    def __init__(self, nodes: Nodes, urls: Sequence[str], pids: Mapping[str, int]) -> None:
        self._nodes, self._urls, self._pids = nodes, urls, pids
        self.rss_bytes = 0
        self.leaders: list[tuple[int, str]] = []
        """Each leader seen, by term and node ID, without repetition."""

    async def run(self) -> None:
        """Sample until cancelled."""
        while True:
            await self.sample()
            await asyncio.sleep(SAMPLE_S)

    async def sample(self) -> None:
        """Look once."""
        self.rss_bytes = max(self.rss_bytes, *(resident_bytes(pid) for pid in self._pids.values()))
        for status in (await self._nodes.statuses(self._urls)).values():
            seen = (status.term, status.node_id)
            if status.leads and seen not in self.leaders:
                self.leaders.append(seen)

    @property
    def changes(self) -> int:
        """How often leadership changed."""
        return max(0, len(self.leaders) - 1)


class Experiment:
    """The rounds on one cluster."""

    def __init__(self, options: Options, urls: Sequence[str], nodes: Nodes, program: Path) -> None:
        self._options, self._urls, self._nodes, self._program = options, urls, nodes, program

    async def prepare(self) -> None:
        """Create the collection and every document. Raises ClusterFailed."""
        url, _ = await self._nodes.leader(self._urls)
        await fill(self._nodes.session, url, size=self._options.payload_bytes, count=self._options.keys, prefix=PREFIX)

    async def run(self) -> list[Row]:
        """Measure the peak, then the fixed rate, then each multiple of the peak, then the peak again."""
        options = self._options
        rows = [await self._peak(PEAK)]
        if options.rate:
            name = f"{options.rate:,.0f}/s"
            rows.append(await self._round(name, options.rate, options.seconds, WARM_UP_S, options.connections))
        for factor in options.factors:
            name = f"{factor:g} x peak"
            rate, seconds = factor * rows[0].goodput, options.overload_seconds
            rows.append(await self._round(name, rate, seconds, OVERLOAD_WARM_UP_S, options.connections))
        # The speed of a machine drifts. An overload is judged by the better one of both.
        rows.append(await self._peak(PEAK_AFTER))
        return rows

    async def _peak(self, name: str) -> Row:
        closed = [
            await self._round(name, 0.0, self._options.seconds, WARM_UP_S, connections)
            for connections in PEAK_CONNECTIONS
        ]
        return max(closed, key=lambda row: row.goodput)

    async def _round(self, name: str, rate: float, seconds: float, warm_up_s: float, connections: int) -> Row:
        options = self._options
        leader_url, leader = await self._nodes.leader(self._urls)
        urls = [leader_url, *(url for url in self._urls if url != leader_url and options.spread == "all")]
        statuses = await self._nodes.statuses(self._urls)
        reads = name == f"{options.rate:,.0f}/s"
        plan = Plan(
            urls=urls,
            connections=connections,
            write_rate=rate,
            read_rate=rate * READ_SHARE if reads else 0.0,
            read_connections=READ_CONNECTIONS if reads else 0,
            warm_up_s=warm_up_s,
            seconds=seconds,
            keys=options.keys,
            payload_bytes=options.payload_bytes,
            path=f"/api/v1/collections/{COLLECTION}/documents",
            prefix=PREFIX,
            arrivals=options.arrivals,
            threads=options.threads,
            seed=SEED,
        )
        watch = Watch(self._nodes, self._urls, {status.name: status.pid for status in statuses.values()})
        await watch.sample()
        watching = asyncio.create_task(watch.run())
        loop = asyncio.get_running_loop()
        pids = {status.pid for status in statuses.values()}
        began, before = loop.time(), {pid: cpu_seconds(pid) or 0.0 for pid in pids}
        try:
            report = await generator.run_plan(self._program, plan)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        ended, after = loop.time(), {pid: cpu_seconds(pid) or 0.0 for pid in pids}
        await watch.sample()
        busy = {pid: (after[pid] - before[pid]) / (ended - began) for pid in pids}
        row = make_row(name, report, seconds, watch, busy, leader.pid)
        say(f"{name}: {row.goodput:,.0f} writes/s, {row.refused:,.0f} refused/s, p99 {milliseconds(row.p99)} ms")
        return row


def make_row(name: str, report: Report, seconds: float, watch: Watch, busy: Mapping[int, float], leader: int) -> Row:
    """Return the row of a round; `busy` is processor seconds per second by process."""
    writes, reads = report.writes, report.reads
    errors = dict(writes.errors)
    for cause, count in reads.errors.items():
        errors[f"read: {cause}"] = count
    return Row(
        name=name,
        offered=writes.due / seconds,
        goodput=writes.admitted / seconds,
        p50=writes.p50_s,
        p99=writes.p99_s,
        worst=writes.worst_s,
        refused=writes.refused / seconds,
        refused_p99=writes.refused_p99_s,
        reads=reads.admitted / seconds,
        reads_p99=reads.p99_s,
        reads_refused=reads.refused / seconds,
        errors=errors,
        leader_changes=watch.changes,
        rss_bytes=watch.rss_bytes,
        leader_cpu=busy.get(leader, 0.0),
        others_cpu=sum(share for pid, share in busy.items() if pid != leader),
        generator_cpu=report.cpu_s / seconds,
        late_p99_s=report.late_p99_s,
        late_s=report.late_s,
        waited=writes.waited + reads.waited,
    )


def checks(rows: Sequence[Row], options: Options) -> list[Check]:
    """Return every bound that applies to the rows; the first is the peak, which may be measured again."""
    peak, found = rows[0], []
    best = max(row.goodput for row in rows if row.name in (PEAK, PEAK_AFTER))
    for row in rows[1:]:
        if row.name == PEAK_AFTER:
            continue
        if row.name.endswith("x peak"):
            if row.offered > peak.goodput:
                share = row.goodput / best
                found.append(
                    _check(row, "goodput", f"{share:.0%} of the peak", f"{GOODPUT_MIN:.0%}", share >= GOODPUT_MIN)
                )
            found.append(_p99(row, "p99 of admitted writes", row.p99, OVERLOAD_P99_S))
        else:
            # Above the peak it would be an overload, and what is asked of the fixed rate is its latency without one.
            able = peak.goodput > 1.1 * options.rate
            found.append(_p99(row, "p99 of writes", row.p99, FIXED_WRITES_P99_S, judged=able))
            found.append(_p99(row, "p99 of reads", row.reads_p99, FIXED_READS_P99_S, judged=able))
        growth = row.rss_bytes - peak.rss_bytes
        found.append(
            _check(
                row,
                "memory beyond the peak's",
                f"{growth / 1e6:.0f} MB",
                f"{GROWTH_BYTES_MAX / 1e6:.0f} MB",
                growth <= GROWTH_BYTES_MAX,
            )
        )
        found.append(_check(row, "leader changes", str(row.leader_changes), "0", row.leader_changes == 0))
        wrong = sum(row.errors.values())
        found.append(_check(row, "answers but 2xx and 503 with Retry-After", str(wrong), "0", wrong == 0))
    return found


def _check(row: Row, what: str, value: str, bound: str, met: bool | None) -> Check:  # noqa: FBT001 - a table's column
    return Check(f"{row.name}: {what}", value, bound, met)


def _p99(row: Row, what: str, value: float | None, bound: float, *, judged: bool = True) -> Check:
    met = value is not None and value <= bound
    return _check(row, what, f"{milliseconds(value)} ms", f"{bound * 1000:.0f} ms", met if judged else None)


def render(rows: Sequence[Row]) -> str:
    """Return the rows as a table."""
    headings = ("round", "offered/s", "goodput/s", "p50 ms", "p99 ms", "worst ms", "refused/s", "p99 ms", "reads/s")
    more = (
        "p99 ms",
        "leader changes",
        "RSS MB",
        "leader CPU",
        "others",
        "generator",
        "late p99 ms",
        "waited",
        "errors",
    )
    lines = [
        (
            row.name,
            f"{row.offered:,.0f}",
            f"{row.goodput:,.0f}",
            *(milliseconds(value) for value in (row.p50, row.p99, row.worst)),
            f"{row.refused:,.0f}",
            milliseconds(row.refused_p99),
            f"{row.reads:,.0f}",
            milliseconds(row.reads_p99),
            str(row.leader_changes),
            f"{row.rss_bytes / 1e6:.0f}",
            f"{row.leader_cpu:.2f}",
            f"{row.others_cpu:.2f}",
            f"{row.generator_cpu:.2f}",
            milliseconds(row.late_p99_s),
            f"{row.waited:,}",
            ", ".join(f"{count} x {cause}" for cause, count in sorted(row.errors.items())) or "none",
        )
        for row in rows
    ]
    return table((*headings, *more), lines, right=range(1, 17))


def render_checks(found: Sequence[Check]) -> str:
    """Return the bounds as a table."""
    words = {True: "met", False: "MISSED", None: "not judged: above the peak of this machine"}
    return table(
        ("bound", "value", "allowed", ""), [(one.what, one.value, one.bound, words[one.met]) for one in found], right=()
    )


async def run(options: Options) -> bool:
    """Measure, print, and return whether every bound was met."""
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    program = await asyncio.to_thread(generator.program)
    machine = describe(STATE_PARENT)
    say(f"starting {options.nodes} nodes on 127.0.0.1:{options.base_port}")
    spec = {"unsafe": {"allowSingleReplica": True}} if options.nodes == 1 else None
    async with (
        local_cluster(replicas=options.nodes, base_port=options.base_port, spec=spec, keep=options.keep) as cluster,
        aiohttp.ClientSession() as session,
    ):
        nodes, urls = Nodes(session), cluster.urls(options.nodes)
        experiment = Experiment(options, urls, nodes, program)
        await experiment.prepare()
        _, leader = await nodes.leader(urls)
        rows = await experiment.run()
    found = checks(rows, options)
    print_result(options, machine, leader, rows, found)
    return all(one.met is not False for one in found)


def print_result(
    options: Options, machine: Machine, leader: Status, rows: Sequence[Row], found: Sequence[Check]
) -> None:
    """Print the rows and bounds in the format that was asked for."""
    if options.output == "json":
        result = {
            "machine": asdict(machine),
            "settings": asdict(options) | {"node_version": leader.version},
            "rows": [asdict(row) for row in rows],
            "bounds": [asdict(one) for one in found],
        }
        print(msgspec.json.format(json.dumps(result), indent=2))
        return
    settings = (
        f"settings  {options.nodes} nodes {leader.version}, {options.payload_bytes} B documents, fsync on, client TLS "
        f"off, peer TLS on, requests to {'the leader' if options.spread == 'leader' else 'all nodes'}, "
        f"{options.connections} connections"
    )
    print("\n".join([*machine.lines(), settings, "", render(rows), "", render_checks(found)]))
    if any((row.late_p99_s or 0.0) > LATE_S_MAX for row in rows):
        print("The generator was late: it shares the processors with the nodes, and part of the latencies is its own.")


def main() -> int:
    """Run; return the exit code: 0 every bound met, 3 one missed, 1 the cluster failed, 130 interrupted."""
    options = parse_options(__doc__ or "")
    return exit_code(lambda: 0 if on_uvloop(run(options)) else 3)
