"""Idle connections: what each costs the node, and what they cost those that work.

Each has sent a request and got its answer, as those of a pool have. The node closes a connection that has been idle for
75 s; what is measured must end before.

The node runs with a higher bound than its default of 4,096, which the resource has no field for: the process is started
again with `COLLECTIONSTORE_CONNECTIONS_MAX` in its environment while its supervisor is held.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import aiohttp

from collectionstore_bench.figures import Figure, Report
from collectionstore_bench.lifecycle.trials import stopped, until
from collectionstore_bench.load.documents import make_documents, make_requests
from collectionstore_bench.load.http_load import Target, content_length
from collectionstore_bench.processes import resident_bytes, usage
from collectionstore_bench.scale.options import Options
from collectionstore_bench.scale.parts import SINGLE, figures, rounds
from collectionstore_testkit.clusters.errors import ClusterFailed
from collectionstore_testkit.clusters.local import LocalCluster, local_cluster, send_signal
from collectionstore_testkit.clusters.node_status import Nodes, Status

SPARE = 500
"""Places beyond those of the idle connections."""
AT_ONCE = 200
START_TIMEOUT_S = 30.0
SIZE_BYTES = 255
KEYS = 1_000
PART = "connections"


WATCHED_S = 5.0
"""How long the processor time of the node is watched while no connection works."""
ANSWER_TIMEOUT_S = 30.0


class _Idle(asyncio.Protocol):
    """A connection that sends one request, and nothing after its answer."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._received = b""
        self.answered: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        """The status of the answer."""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's transports are none by inheritance
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head_end = self._received.find(b"\r\n\r\n")
        if head_end < 0 or self.answered.done():
            return
        length = content_length(self._received, head_end) or 0
        if len(self._received) >= head_end + 4 + length:
            self.answered.set_result(self._received[9:12])

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        if not self.answered.done():
            self.answered.set_exception(ClusterFailed(f"an idle connection was closed before its answer: {exc}"))


async def measure(options: Options, report: Report) -> None:
    """Measure one member without and with idle connections. Raises ClusterFailed."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    count, url = options.idle_connections, f"http://127.0.0.1:{options.base_port}"
    if most != resource.RLIM_INFINITY and most < count + SPARE:
        raise ClusterFailed(f"{count} connections need more open files than the {most} that are allowed (ulimit -Hn)")
    async with (
        local_cluster(replicas=1, base_port=options.base_port, spec=SINGLE) as cluster,
        aiohttp.ClientSession() as session,
    ):
        nodes = Nodes(session)
        async with _raised(cluster, nodes, url, count + SPARE) as status:
            before = await rounds(options, [url], nodes, size_bytes=SIZE_BYTES, keys=KEYS, workloads=("write", "read"))
            for one in figures(PART, "no idle ones", before):
                report(one)
            resident, alone_s = resident_bytes(status.pid), await _watched(status.pid)
            began = time.perf_counter()
            idle = await connect(url, count)
            case, opened_s = f"{count:,} idle", time.perf_counter() - began
            report(Figure(PART, case, "opened", count / opened_s, "/s", "with a read on each"))
            spent_s = await _watched(status.pid)
            grown = resident_bytes(status.pid) - resident
            report(Figure(PART, case, "memory of each", grown / count / 1e3, "kB", f"{grown / 1e6:.0f} MB in all"))
            note = f"of the member, nothing else to do; {1e3 * alone_s:.1f} ms without them"
            report(Figure(PART, case, "processor time a second", 1e3 * spent_s, "ms", note))
            beside = await rounds(options, [url], nodes, size_bytes=SIZE_BYTES, keys=KEYS, workloads=("write", "read"))
            for one in figures(PART, case, beside):
                report(one)
            still, age = sum(one.transport is not None for one in idle), time.perf_counter() - began
            report(Figure(PART, case, "still open", still, "", f"{age:.0f} s after the first was opened"))
            for connection in idle:
                if connection.transport is not None:
                    connection.transport.abort()


async def _watched(pid: int) -> float:
    """Return the processor seconds that a process uses in a second, while nothing is asked of it."""
    before, began = usage(pid).cpu_s, time.perf_counter()
    await asyncio.sleep(WATCHED_S)
    return (usage(pid).cpu_s - before) / (time.perf_counter() - began)


async def connect(url: str, count: int) -> list[_Idle]:
    """Open connections, each with one answered read. Raises ClusterFailed."""
    target, loop = Target.parse(url), asyncio.get_running_loop()
    request = make_requests([target], make_documents(1, SIZE_BYTES))["read"][target][0]
    made: list[_Idle] = []
    for at in range(0, count, AT_ONCE):
        pairs = await asyncio.gather(
            *(
                loop.create_connection(lambda: _Idle(request), target.host, target.port)
                for _ in range(min(AT_ONCE, count - at))
            )
        )
        some = [protocol for _, protocol in pairs]
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            answers = await asyncio.gather(*(one.answered for one in some))
        if wrong := {status for status in answers if status != b"200"}:
            raise ClusterFailed(f"the first request of a connection was answered with {sorted(wrong)}")
        made += some
    return made


@asynccontextmanager
async def _raised(cluster: LocalCluster, nodes: Nodes, url: str, connections: int) -> AsyncIterator[Status]:
    """Run the only member with another bound of connections, its supervisor held."""
    _, before = await nodes.leader([url])
    place = Path(f"/proc/{before.pid}")
    words = [os.fsdecode(word) for word in (place / "cmdline").read_bytes().split(b"\0")[:-1]]
    pairs = (os.fsdecode(pair).partition("=") for pair in (place / "environ").read_bytes().split(b"\0")[:-1])
    environment = {name: value for name, _, value in pairs}
    environment["COLLECTIONSTORE_CONNECTIONS_MAX"] = str(connections)
    async with stopped(cluster.supervisor_pid()):
        send_signal(before.pid, signal.SIGTERM)

        async def ended() -> bool:
            return await nodes.status(url) is None

        await until(ended, START_TIMEOUT_S, "the member has stopped")
        with (cluster.folder / "raised.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(*words, env=environment, stdout=log, stderr=log)
        try:
            _, status = await nodes.leader([url], timeout_s=START_TIMEOUT_S)
            yield status
        finally:
            process.kill()
            await process.wait()
