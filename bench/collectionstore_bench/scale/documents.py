"""10,000 documents to 10 million on one member: load, point read, listing, restart, memory; then a snapshot.

The snapshot is for two members that are added at the end.

Documents are loaded by transactions of `BATCH`, which is how a client would load them. The rest is measured by requests
like those of any client.
"""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import Iterator

import aiohttp

from collectionstore_bench.lifecycle.data_trials import process_life, ready_again
from collectionstore_bench.lifecycle.node_logs import log_events
from collectionstore_bench.lifecycle.trials import until
from collectionstore_bench.load.http_load import Target, encode_request, run_round
from collectionstore_bench.processes import resident_bytes
from collectionstore_bench.scale.options import Options
from collectionstore_bench.scale.parts import SINGLE, Figure, Report
from collectionstore_testkit.clusters.errors import ClusterFailed
from collectionstore_testkit.clusters.local import LocalCluster, local_cluster, send_signal
from collectionstore_testkit.clusters.node_status import Nodes

COLLECTION = "many"
SIZE_BYTES = 255
BATCH = 100
LOADERS = 8
SAMPLED = 10_000
"""Documents that the point reads ask for, spread over all."""
PAGES = 50
PAGE_ITEMS = 1_000
JOIN_TIMEOUT_S = 600.0
PART = "documents"
SPEC = SINGLE | {"snapshot": {"logBytes": 1 << 20}}
"""The least size of the log, so that it does not hold the documents when members join."""


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
        await self._load()
        await self._reads()
        await self._listing()
        await self._restart()
        if self._options.snapshots:
            await self._snapshot()

    def _tell(self, what: str, value: float, unit: str, note: str = "") -> None:
        self._report(Figure(PART, f"{self._count:,}", what, value, unit, note))

    async def _load(self) -> None:
        session = self._nodes.session
        async with session.put(f"{self._url}/api/v1/collections/{COLLECTION}") as response:
            response.raise_for_status()
        batches = _batches(self._count)
        began = time.perf_counter()

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

        async with asyncio.TaskGroup() as group:
            for _ in range(LOADERS):
                group.create_task(loader())
        took = time.perf_counter() - began
        self._tell("loaded", self._count / took, "/s", f"{took:.1f} s, transactions of {BATCH}")
        status = await self._nodes.status(self._url)
        if status is None:
            raise ClusterFailed("the member does not answer")
        self._tell("memory after the load", resident_bytes(status.pid) / 1e6, "MB")
        self._tell("disk", status.data_bytes / 1e6, "MB", f"{status.data_bytes / self._count:.0f} B a document")

    async def _reads(self) -> None:
        target = Target.parse(self._url)
        chosen = random.Random(13).sample(range(self._count), min(SAMPLED, self._count))
        path = f"/api/v1/collections/{COLLECTION}/documents"
        requests = [encode_request("GET", target, f"{path}/{_name(number)}") for number in chosen]
        measured = await run_round(
            [target],
            {target: requests},
            connections=self._options.connections,
            seconds=self._options.seconds,
            warm_up_s=1.0,
        )
        if measured.errors:
            raise ClusterFailed(f"reads failed: {measured.errors}")
        self._tell("point reads", measured.per_second, "/s")
        self._tell("point read p99", 1000 * (measured.quantile(0.99) or 0.0), "ms")

    async def _listing(self) -> None:
        session, times, items = self._nodes.session, list[float](), 0
        cursor: str | None = None
        for _ in range(PAGES):
            query = {"limit": str(PAGE_ITEMS)} | ({} if cursor is None else {"cursor": cursor})
            began = time.perf_counter()
            async with session.get(f"{self._url}/api/v1/collections/{COLLECTION}/documents", params=query) as response:
                response.raise_for_status()
                await response.read()
                times.append(time.perf_counter() - began)
                page = await response.json()
            items += len(page["documents"])
            cursor = page["next_cursor"]
            if cursor is None:
                break
        times.sort()
        self._tell("listing", items / sum(times), "items/s", f"{len(times)} pages of {PAGE_ITEMS}, one after the other")
        self._tell("page, worst", 1000 * times[-1], "ms")

    async def _restart(self) -> None:
        status = await self._nodes.status(self._url)
        if status is None:
            raise ClusterFailed("the member does not answer")
        send_signal(status.pid, signal.SIGKILL)
        pid, ready_at = await ready_again(self._nodes, self._url, status)
        started_at, processor_s = process_life(pid)
        self._tell("restart to ready", ready_at - started_at, "s", f"{processor_s:.1f} s of processor time")
        self._tell("memory after the restart", resident_bytes(pid) / 1e6, "MB")

    async def _snapshot(self) -> None:
        """Add two members, which get the state as a snapshot if the log was compacted."""
        urls, began, on_the_wall = self._cluster.urls(3), time.perf_counter(), time.time()

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
        self._tell("1 -> 3 members", took, "s")
        exported = log_events(self._cluster, "snapshot.exported", on_the_wall)
        installed = log_events(self._cluster, "snapshot.installed", on_the_wall)
        if exported:
            self._tell(
                "snapshot made", max(one["seconds"] for one in exported), "s", f"{exported[0]['bytes'] / 1e6:.1f} MB"
            )
        if installed:
            self._tell("snapshot installed", max(one["seconds"] for one in installed), "s")
        if not exported and not installed:
            self._tell("snapshots", 0, "", "the log still held everything")


def _name(number: int) -> str:
    return f"document-{number:010d}"


def _batches(count: int) -> Iterator[bytes]:
    """Yield the bodies of the transactions; the text of the documents does not compress much."""
    chance = random.Random(13)
    for at in range(0, count, BATCH):
        operations = []
        for number in range(at, min(at + BATCH, count)):
            head = f'{{"number":{number},"text":"'
            text = chance.randbytes((SIZE_BYTES - len(head)) // 2).hex()
            document = f'{head}{text}"}}'
            operations.append(
                f'{{"op":"put","collection":"{COLLECTION}","id":"{_name(number)}","document":{document}}}'
            )
        yield f'{{"then":[{",".join(operations)}]}}'.encode()
