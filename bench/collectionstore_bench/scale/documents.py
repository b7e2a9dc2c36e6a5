"""10,000 documents to 10 million on one member: load, point read, listing, restart, memory; then a snapshot.

The snapshot is for two members that are added at the end.

Documents are loaded by transactions of `BATCH`, which is how a client would load them. The rest is measured by requests
like those of any client. Rates are of a machine that the client shares; the processor time of the member is not.
"""

from __future__ import annotations

import asyncio
import random
import signal
import time

import aiohttp
import msgspec

from collectionstore_bench.figures import Figure, Report
from collectionstore_bench.lifecycle.data_trials import process_life, ready_again
from collectionstore_bench.lifecycle.node_logs import log_events
from collectionstore_bench.lifecycle.node_metrics import lag_buckets, worst_lag_s
from collectionstore_bench.lifecycle.trials import until
from collectionstore_bench.load.http_load import Target, encode_request, run_round
from collectionstore_bench.processes import peak_resident_bytes, resident_bytes, usage
from collectionstore_bench.scale.corpus import BATCH, COLLECTION, document_id, transactions
from collectionstore_bench.scale.options import Options
from collectionstore_bench.scale.parts import SINGLE
from collectionstore_bench.scale.prober import Probed, writes_beside
from collectionstore_testkit.clusters.errors import ClusterFailed
from collectionstore_testkit.clusters.local import LocalCluster, local_cluster, send_signal
from collectionstore_testkit.clusters.node_status import Nodes, Status

LOADERS = 8
SAMPLED = 200_000
"""Documents that the point reads ask for, spread over all: more than are read, so that few are read twice."""
PAGE_ITEMS = 1_000
ENDS = 50
"""Pages at the beginning and at the end of a listing that are compared."""
UNDISTURBED_S = 5.0
JOIN_TIMEOUT_S = 600.0
PART = "documents"
SPEC = SINGLE | {"snapshot": {"logBytes": 1 << 20}}
"""The least size of the log, so that it does not hold the documents when members join."""


class _Page(msgspec.Struct):
    """What matters of a page of a listing."""

    documents: list[msgspec.Raw]
    next_cursor: str | None


async def measure(options: Options, report: Report) -> None:
    """Measure each number of documents on a cluster of its own. Raises ClusterFailed."""
    for count in options.documents:
        async with (
            local_cluster(replicas=1, base_port=options.base_port, spec=SPEC) as cluster,
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session,
        ):
            await _Many(options, report, cluster, Nodes(session), count).measure()


class _Many:
    """One number of documents."""

    def __init__(self, options: Options, report: Report, cluster: LocalCluster, nodes: Nodes, count: int) -> None:
        self._options, self._cluster, self._nodes, self._count = options, cluster, nodes, count
        self._url = cluster.url(0)
        self._report = report

    async def measure(self) -> None:
        """Load, then read, list, restart, and copy."""
        await self._load()
        await self._reads()
        await self._listing()
        await self._restart()
        if self._options.snapshots:
            await self._snapshot()

    def _tell(self, what: str, value: float, unit: str, note: str = "") -> None:
        self._report(Figure(PART, f"{self._count:,}", what, value, unit, note))

    async def _status(self) -> Status:
        _, status = await self._nodes.leader([self._url], timeout_s=30.0)
        return status

    async def _load(self) -> None:
        session = self._nodes.session
        async with session.put(f"{self._url}/api/v1/collections/{COLLECTION}") as response:
            response.raise_for_status()
        pid = (await self._status()).pid
        self._tell("memory, empty", resident_bytes(pid) / 1e6, "MB")
        batches = transactions(self._count)
        before, began = usage(pid).cpu_s, time.perf_counter()

        async def loader() -> None:
            for body in batches:
                while True:
                    async with session.post(
                        f"{self._url}/api/v1/transactions", data=body, headers={"Content-Type": "application/json"}
                    ) as response:
                        if response.status == 200:
                            break
                        if response.status != 503:
                            raise ClusterFailed(f"loading was answered with {response.status}: {await response.text()}")
                        await asyncio.sleep(float(response.headers["Retry-After"]))

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(LOADERS):
                    group.create_task(loader())
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        took, spent = time.perf_counter() - began, usage(pid).cpu_s - before
        self._tell("loaded", self._count / took, "/s", f"{took:.1f} s, transactions of {BATCH}")
        self._tell("load, processor time", 1e6 * spent / self._count, "us", "of the member, for each document")
        status = await self._status()
        if status.pid != pid:
            raise ClusterFailed("the member restarted during the load")
        self._tell("memory after the load", resident_bytes(pid) / 1e6, "MB")
        self._tell("disk", status.data_bytes / 1e6, "MB", f"{status.data_bytes / self._count:.0f} B a document")

    async def _reads(self) -> None:
        target = Target.parse(self._url)
        chosen = random.Random(13).sample(range(self._count), min(SAMPLED, self._count))
        path = f"/api/v1/collections/{COLLECTION}/documents"
        requests = [encode_request("GET", target, f"{path}/{document_id(number)}") for number in chosen]
        pid = (await self._status()).pid
        measured = await run_round(
            [target],
            {target: requests},
            connections=self._options.connections,
            seconds=self._options.seconds,
            warm_up_s=1.0,
            probe=lambda: {"member": usage(pid).cpu_s},
        )
        if measured.errors:
            raise ClusterFailed(f"reads failed: {measured.errors}")
        distinct = min(len(measured.latencies), len(chosen))
        self._tell("point reads", measured.per_second, "/s", f"of {distinct:,} different documents")
        self._tell("point read p99", 1000 * (measured.quantile(0.99) or 0.0), "ms")
        each = 1e6 * measured.spent["member"] / max(1, len(measured.latencies))
        self._tell("point read, processor time", each, "us", "of the member, for each read")
        self._tell("memory after the reads", resident_bytes(pid) / 1e6, "MB")

    async def _listing(self) -> None:
        """List everything, page by page. Raises ClusterFailed when a document is missing or there twice."""
        session, times, items = self._nodes.session, list[float](), 0
        pid = (await self._status()).pid
        before, cursor = usage(pid).cpu_s, ""
        spent_at = [0.0]
        while True:
            query = {"limit": str(PAGE_ITEMS)} | ({"cursor": cursor} if cursor else {})
            began = time.perf_counter()
            async with session.get(f"{self._url}/api/v1/collections/{COLLECTION}/documents", params=query) as response:
                body = await response.read()
                times.append(time.perf_counter() - began)
                response.raise_for_status()
            spent_at.append(usage(pid).cpu_s - before)
            page = msgspec.json.decode(body, type=_Page)
            items += len(page.documents)
            if page.next_cursor is None:
                break
            cursor = page.next_cursor
        if items != self._count:
            raise ClusterFailed(f"the listing has {items} documents, {self._count} were loaded")
        self._tell("listing", items / sum(times), "items/s", f"all, {len(times)} pages, one after the other")
        ends = min(ENDS, len(times))
        last_items = items - (len(times) - ends) * PAGE_ITEMS
        first_s, last_s = spent_at[ends], spent_at[-1] - spent_at[-1 - ends]
        note = f"of the member, for each document of {ends} pages"
        self._tell("listing, first pages", 1e6 * first_s / min(ends * PAGE_ITEMS, items), "us", note)
        self._tell("listing, last pages", 1e6 * last_s / last_items, "us", note)
        self._tell("page, p50", 1000 * sorted(times)[len(times) // 2], "ms")
        self._tell("page, worst", 1000 * max(times), "ms")

    async def _restart(self) -> None:
        status = await self._status()
        send_signal(status.pid, signal.SIGKILL)
        pid, ready_at = await ready_again(self._nodes, self._url, status)
        started_at, processor_s = process_life(pid)
        self._tell("restart to ready", ready_at - started_at, "s", f"{processor_s:.1f} s of processor time")
        self._tell("memory after the restart", resident_bytes(pid) / 1e6, "MB")

    async def _snapshot(self) -> None:
        """Add two members, which get the state as a snapshot if the log was compacted; write meanwhile."""
        status = await self._status()
        session, address = self._nodes.session, status.metrics_address
        async with writes_beside(session, self._url) as undisturbed:
            await asyncio.sleep(UNDISTURBED_S)
        before = await lag_buckets(session, address)
        on_the_wall = time.time()
        async with writes_beside(session, self._url) as beside:
            took = await self._grow()
        lag = worst_lag_s(before, await lag_buckets(session, address))
        self._tell("1 -> 3 members", took, "s")
        exported = log_events(self._cluster, "snapshot.exported", on_the_wall)
        installed = log_events(self._cluster, "snapshot.installed", on_the_wall)
        if not exported or not installed:
            raise ClusterFailed("the members joined without a snapshot, so there is nothing to measure")
        size = f"{exported[0]['bytes'] / 1e6:.1f} MB"
        self._tell("snapshot made", max(one["seconds"] for one in exported), "s", size)
        self._tell("snapshot installed", max(one["seconds"] for one in installed), "s", size)
        self._tell_latency("write, alone", undisturbed)
        self._tell_latency("write, while members join", beside)
        self._tell("event loop late, while members join", 1000 * lag, "ms", "of the sender, at most; worst tick")
        self._tell("memory, peak", peak_resident_bytes(status.pid) / 1e6, "MB", "of the sender, since its restart")
        for joined in (await self._nodes.statuses(self._cluster.urls(3)[1:])).values():
            peak = peak_resident_bytes(joined.pid) / 1e6
            self._tell(f"memory, {joined.name}", resident_bytes(joined.pid) / 1e6, "MB", f"peak {peak:.0f} MB")

    def _tell_latency(self, what: str, probed: Probed) -> None:
        refused = f", {probed.refused} refused" if probed.refused else ""
        self._tell(f"{what}, p50", 1000 * probed.quantile(0.5), "ms", f"{len(probed.latencies)} writes{refused}")
        self._tell(f"{what}, p99", 1000 * probed.quantile(0.99), "ms")
        self._tell(f"{what}, worst", 1000 * probed.quantile(1.0), "ms")

    async def _grow(self) -> float:
        """Scale from one member to three; return the seconds until all vote. Raises ClusterFailed."""
        urls, began = self._cluster.urls(3), time.perf_counter()

        async def voting() -> bool:
            leaders = [one for one in (await self._nodes.statuses(urls)).values() if one.leads]
            return any(len(one.configuration.voters) == 3 and not one.configuration.joint for one in leaders)

        request = asyncio.create_task(self._cluster.csctl("scale", "--replicas", "3", timeout_s=JOIN_TIMEOUT_S + 30))
        try:
            await until(voting, JOIN_TIMEOUT_S, "three members vote")
            took = time.perf_counter() - began
            await request
        finally:
            request.cancel()
        return took
