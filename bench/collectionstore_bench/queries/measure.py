"""What is measured of a member: its queries both ways, its scan, and its writes."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import aiohttp

from collectionstore_bench.figures import Figure, Report
from collectionstore_bench.queries.corpus import (
    COLLECTION,
    INDEXES,
    SCANNED,
    Case,
    cases,
    document_id,
    documents,
    transactions,
)
from collectionstore_bench.queries.options import Options
from collectionstore_bench.queries.sqlite import SqliteStore, version
from collectionstore_testkit.clusters.errors import ClusterFailed

LOADERS: Final = 8
INDEXED_QUERIES: Final = 10
"""By an index, for each by a scan."""
BUILD_TIMEOUT_S: Final = 1_800.0
POLL_S: Final = 0.2
WRITTEN_INDEXES: Final = ((), ("by-email",), ("by-email", "by-born", "by-tags"))
WRITE_ROUNDS: Final = 3
TIMES_MIN: Final = 50
"""How many times faster a query by an index is to be than by a scan."""


class Subject:
    """A member of a cluster, as clients see it."""

    def __init__(self, session: aiohttp.ClientSession, url: str, options: Options, report: Report) -> None:
        self._session = session
        self._url = url
        self._options = options
        self._report = report

    async def load(self) -> None:
        """Store the documents. Raises ClusterFailed."""
        await self._request("PUT", f"collections/{COLLECTION}")
        bodies, began = transactions(self._options.documents), time.perf_counter()

        async def loader() -> None:
            for body in bodies:
                await self._request("POST", "transactions", body)

        await asyncio.gather(*(loader() for _ in range(LOADERS)))
        took = time.perf_counter() - began
        self._report(Figure("load", "", "documents", self._options.documents / took, "/s"))

    async def build(self) -> None:
        """Create the indexes and wait until they are ready. Raises ClusterFailed."""
        began = time.perf_counter()
        for one in INDEXES:
            await self._create(COLLECTION, one)
        await self._ready(COLLECTION)
        took = time.perf_counter() - began
        note = f"{len(INDEXES)} indexes at once, half of the time left to clients"
        self._report(Figure("build", "", "documents", len(INDEXES) * self._options.documents / took, "/s", note))

    async def indexes(self) -> None:
        """Ask each case by its index and by a scan; the answers must be equal. Raises ClusterFailed."""
        for case in cases(self._options.documents):
            await self._case(case)

    async def scan(self) -> None:
        """Count what no index has, here and in SQLite. Raises ClusterFailed if the counts differ."""
        count, ours, theirs = self._options.documents, list[float](), list[float]()
        with tempfile.TemporaryDirectory() as folder:
            beside = SqliteStore(Path(folder), count)
            try:
                # In turns. SQLite holds this thread, which has nothing else to do.
                for _ in range(self._options.rounds):
                    answer, took = await self._ask("count", {"filter": SCANNED, "hint": "scan"})
                    found, beside_took = beside.scan()
                    if answer["count"] != found:
                        raise ClusterFailed(f"a scan finds {answer['count']}, SQLite {found}")
                    ours.append(took)
                    theirs.append(beside_took)
            finally:
                beside.close()
        self._report(Figure("scan", "ours", "documents", count / statistics.median(ours), "/s", "over HTTP"))
        note = f"SQLite {version()}, JSON1, in process"
        self._report(Figure("scan", "SQLite", "documents", count / statistics.median(theirs), "/s", note))

    async def writes(self) -> None:
        """Write to collections with 0, 1 and 3 indexes, in turns."""
        rates: dict[int, list[float]] = {len(names): [] for names in WRITTEN_INDEXES}
        by_name = {one["name"]: one for one in INDEXES}
        for names in WRITTEN_INDEXES:
            collection = f"written-{len(names)}"
            await self._request("PUT", f"collections/{collection}")
            for name in names:
                await self._create(collection, by_name[name])
            await self._ready(collection)
        for at in range(WRITE_ROUNDS):
            for names in WRITTEN_INDEXES:
                rates[len(names)].append(await self._write(f"written-{len(names)}", at))
        for count, found in rates.items():
            case = f"{count} index{'' if count == 1 else 'es'}"
            note = f"{self._options.connections} connections; {min(found):,.0f} to {max(found):,.0f}"
            self._report(Figure("writes", case, "new documents", statistics.median(found), "/s", note))

    async def _case(self, case: Case) -> None:
        by_index, by_scan = list[float](), list[float]()
        wanted: Any = None
        for _ in range(self._options.rounds):
            answer, took = await self._ask(case.verb, case.body | {"hint": "scan"})
            by_scan.append(took)
            wanted = _comparable(answer)
            for _ in range(INDEXED_QUERIES):
                answer, took = await self._ask(case.verb, case.body)
                by_index.append(took)
                if _comparable(answer) != wanted:
                    raise ClusterFailed(f"{case.name}: the answer by an index is not that by a scan")
        explained, _ = await self._ask(case.verb, case.body | {"explain": True})
        plan = explained["explain"]["plan"]
        if plan.get("index") != case.index:
            raise ClusterFailed(f"{case.name}: answered by {plan}, not by {case.index}")
        fast, slow = statistics.median(by_index), statistics.median(by_scan)
        times = slow / fast
        note = f"{explained['explain']['returned']} found" + (", covered" if plan["covered"] else "")
        self._report(Figure("indexes", case.name, "by index", 1_000 * fast, "ms", note))
        self._report(Figure("indexes", case.name, "by scan", 1_000 * slow, "ms"))
        missed = "" if times >= TIMES_MIN else f"below {TIMES_MIN}"
        self._report(Figure("indexes", case.name, "faster", times, "times", missed))

    async def _write(self, collection: str, at: int) -> float:
        """Write new documents for a while; return how many per second."""
        made = documents(self._options.documents)
        first = at * 10_000_000
        numbers = iter(range(first, first + 10_000_000))
        written = 0
        began = time.perf_counter()
        until = began + self._options.seconds

        async def writer() -> None:
            nonlocal written, made
            while time.perf_counter() < until:
                number = next(numbers)
                document = next(made, None)
                if document is None:
                    made = documents(self._options.documents)
                    document = next(made)
                document["email"] = f"{number}@example.org"
                await self._send("PUT", f"collections/{collection}/documents/{document_id(number)}", document)
                written += 1

        await asyncio.gather(*(writer() for _ in range(self._options.connections)))
        return written / (time.perf_counter() - began)

    async def _create(self, collection: str, index: dict[str, Any]) -> None:
        await self._send("POST", f"collections/{collection}/indexes", index)

    async def _ready(self, collection: str) -> None:
        until = time.perf_counter() + BUILD_TIMEOUT_S
        while True:
            found = (await self._request("GET", f"collections/{collection}/indexes"))["indexes"]
            states = {one["name"]: one["state"] for one in found}
            if set(states.values()) <= {"ready"}:
                return
            if "failed" in states.values() or time.perf_counter() > until:
                raise ClusterFailed(f"the indexes are not ready: {states}")
            await asyncio.sleep(POLL_S)

    async def _ask(self, verb: str, body: dict[str, Any]) -> tuple[Any, float]:
        began = time.perf_counter()
        answer = await self._send("POST", f"collections/{COLLECTION}:{verb}?timeout=60s", body)
        return answer, time.perf_counter() - began

    async def _send(self, method: str, path: str, body: dict[str, Any]) -> Any:
        async with self._session.request(method, f"{self._url}/api/v1/{path}", json=body) as response:
            return await _read(response)

    async def _request(self, method: str, path: str, body: bytes | None = None) -> Any:
        headers = {"Content-Type": "application/json"}
        async with self._session.request(method, f"{self._url}/api/v1/{path}", data=body, headers=headers) as response:
            return await _read(response)


async def _read(response: aiohttp.ClientResponse) -> Any:
    if response.status >= 300:
        raise ClusterFailed(f"{response.method} was answered with {response.status}: {await response.text()}")
    return await response.json()


def _comparable(answer: Any) -> Any:
    """Return what must be equal in two answers."""
    return answer.get("documents", answer.get("count"))
