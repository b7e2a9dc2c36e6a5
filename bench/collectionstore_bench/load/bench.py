"""Measure writes and linearizable reads per second, and their latency, on three local nodes."""

from __future__ import annotations

import asyncio
import gc
import json
import signal
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace

import aiohttp
import msgspec

from collectionstore_bench.load.documents import (
    LOAD_CONNECTIONS,
    LOAD_TIMEOUT_S,
    create_collection,
    make_documents,
    make_requests,
)
from collectionstore_bench.load.http_load import Measured, Target, run_round, send_each_once
from collectionstore_bench.load.options import Options, parse_options
from collectionstore_bench.machine import cpu_seconds, describe
from collectionstore_bench.program import exit_code, on_uvloop, say
from collectionstore_bench.tables import milliseconds, table
from collectionstore_testkit.clusters.local import STATE_PARENT, local_cluster
from collectionstore_testkit.clusters.node_status import Nodes, Status

WARM_UP_S = 1.0
SETTLE_S = 0.5
GENERATOR = "generator"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; latencies in seconds, CPU in microseconds per request."""

    workload: str
    connections: int
    requests_per_s: float
    p50: float | None
    p99: float | None
    worst: float | None
    errors: Mapping[str, int]
    cpu_leader_us: float | None
    cpu_follower_us: float | None
    cpu_generator_us: float | None
    leader_changed: bool


class Bench:
    """One run over one cluster."""

    def __init__(
        self, options: Options, urls: Sequence[str], nodes: Nodes, headers: Mapping[str, str] | None = None
    ) -> None:
        """`headers` go with every request, besides those of the session of `nodes`."""
        self._options = options
        self._urls = urls
        self._nodes = nodes
        self._targets = {url: Target.parse(url) for url in urls}
        documents = make_documents(options.keys, options.payload_bytes)
        self._requests = make_requests(list(self._targets.values()), documents, headers)

    async def prepare(self) -> None:
        """Create the collection and every document, so that all writes overwrite and all reads find something."""
        url, _ = await self._nodes.leader(self._urls)
        await create_collection(self._nodes.session, url)
        say(f"writing {self._options.keys} documents of {self._options.payload_bytes} bytes")
        target = self._targets[url]
        await send_each_once([target], self._requests["write"], connections=LOAD_CONNECTIONS, timeout_s=LOAD_TIMEOUT_S)

    async def measure(self, workload: str, connections: int) -> Row:
        """Measure one line of the table."""
        leader_url, leader = await self._nodes.leader(self._urls)
        spread = self._options.spread if workload == "write" else self._options.read_spread
        # The leader comes first: a single connection always talks to it.
        urls = [leader_url, *(url for url in self._urls if url != leader_url and spread == "all")]
        statuses = await self._nodes.statuses(self._urls)
        pids = {status.name: status.pid for status in statuses.values()} if self._on_this_machine() else {}
        measured = await run_round(
            [self._targets[url] for url in urls],
            self._requests[workload],
            connections=connections,
            seconds=self._options.seconds,
            warm_up_s=WARM_UP_S,
            probe=lambda: _cpu_times(pids),
        )
        after = await self._nodes.leader(self._urls)
        row = make_row(workload, connections, measured, leader)
        return replace(row, leader_changed=(after[1].node_id, after[1].term) != (leader.node_id, leader.term))

    def _on_this_machine(self) -> bool:
        return all(target.host in ("127.0.0.1", "localhost", "::1") for target in self._targets.values())


def make_row(workload: str, connections: int, measured: Measured, leader: Status) -> Row:
    """Return a line of the table."""
    count = len(measured.latencies)
    cpu = {name: seconds / count * 1e6 for name, seconds in measured.spent.items()} if count else {}
    followers = [value for name, value in cpu.items() if name not in (leader.name, GENERATOR)]
    return Row(
        workload=workload,
        connections=connections,
        requests_per_s=measured.per_second,
        p50=measured.quantile(0.5),
        p99=measured.quantile(0.99),
        worst=measured.quantile(1.0),
        errors=measured.errors,
        cpu_leader_us=cpu.get(leader.name),
        cpu_follower_us=sum(followers) / len(followers) if followers else None,
        cpu_generator_us=cpu.get(GENERATOR),
        leader_changed=False,
    )


def _cpu_times(pids: Mapping[str, int]) -> dict[str, float]:
    times = {name: cpu_seconds(pid) for name, pid in pids.items()}
    return {GENERATOR: time.process_time()} | {name: spent for name, spent in times.items() if spent is not None}


def render(rows: Sequence[Row]) -> str:
    """Return the table as text."""
    headings = ("workload", "connections", "requests/s", "p50 ms", "p99 ms", "worst ms")
    cpu_headings = ("leader µs", "follower µs", "generator µs")
    lines = [
        (
            row.workload + (" *" if row.leader_changed else ""),
            str(row.connections),
            f"{row.requests_per_s:,.0f}",
            *(milliseconds(value) for value in (row.p50, row.p99, row.worst)),
            *(_whole(value) for value in (row.cpu_leader_us, row.cpu_follower_us, row.cpu_generator_us)),
            ", ".join(f"{count} x {cause}" for cause, count in sorted(row.errors.items())) or "none",
        )
        for row in rows
    ]
    text = table((*headings, *cpu_headings, "errors"), lines, right=range(1, 9))
    if any(row.leader_changed for row in rows):
        text += "\n* the leader changed during this measurement"
    return text


def _whole(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def settings_line(options: Options, urls: Sequence[str], version: str) -> str:
    """Return under which settings the figures hold."""
    tls = "on" if urls[0].startswith("https") else "off"
    return (
        f"settings  {len(urls)} nodes {version}, {options.payload_bytes} B documents, {options.keys} keys, "
        f"{options.seconds:g} s each, fsync on, client TLS {tls}, peer TLS on, {options.profile} profile, "
        f"writes to {_where(options.spread)}, reads from {_where(options.read_spread)}"
    )


def _where(spread: str) -> str:
    return "the leader" if spread == "leader" else "all nodes"


@asynccontextmanager
async def cluster_urls(options: Options) -> AsyncIterator[Sequence[str]]:
    """Provide the cluster to measure: the given one, or a new one for the time of the run."""
    if options.targets:
        yield options.targets
        return
    say(f"starting {options.nodes} nodes on 127.0.0.1:{options.base_port}")
    spec = {"raft": {"profile": options.profile}}
    async with local_cluster(
        replicas=options.nodes, base_port=options.base_port, spec=spec, keep=options.keep
    ) as cluster:
        yield cluster.urls(options.nodes)


async def run(options: Options) -> None:
    """Measure everything and print it."""
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    machine = describe(STATE_PARENT)
    async with cluster_urls(options) as urls, aiohttp.ClientSession() as session:
        bench = Bench(options, urls, Nodes(session))
        await bench.prepare()
        # Nothing here makes cycles; a collection in the middle of a round would be measured as the nodes' latency.
        gc.collect()
        gc.freeze()
        gc.disable()
        _, leader = await Nodes(session).leader(urls)
        rows = []
        for workload in options.workloads:
            for connections in options.connections:
                await asyncio.sleep(SETTLE_S)
                rows.append(await bench.measure(workload, connections))
                say(f"{workload:5} {connections:4} connections: {rows[-1].requests_per_s:,.0f} requests/s")
    if options.output == "json":
        settings = {name: value for name, value in asdict(options).items() if name not in ("output", "keep")}
        settings |= {"targets": list(urls), "warm_up_s": WARM_UP_S, "fsync": True, "node_version": leader.version}
        settings["client_tls"] = urls[0].startswith("https")
        result = {"machine": asdict(machine), "settings": settings, "rows": [asdict(row) for row in rows]}
        print(msgspec.json.format(json.dumps(result), indent=2))
        return
    print("\n".join([*machine.lines(), settings_line(options, urls, leader.version), "", render(rows)]))


def main() -> int:
    """Run; return the exit code: 0 measured, 1 the cluster failed, 130 interrupted."""
    options = parse_options(__doc__ or "")

    def work() -> int:
        on_uvloop(run(options))
        return 0

    return exit_code(work)
