"""Idle connections: what each costs the node, and what they cost those that work.

The node runs with a higher bound than its default of 4,096, which the resource has no field for: the process is started
again with `COLLECTIONSTORE_CONNECTIONS_MAX` in its environment while its supervisor is held.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from collectionstore_bench.lifecycle.trials import stopped, until
from collectionstore_bench.load.http_load import Target
from collectionstore_bench.processes import resident_bytes
from collectionstore_bench.scale.options import Options
from collectionstore_bench.scale.parts import SINGLE, Figure, Report, figures, rounds
from collectionstore_testkit.clusters.errors import ClusterFailed
from collectionstore_testkit.clusters.local import LocalCluster, local_cluster, send_signal
from collectionstore_testkit.clusters.node_status import Nodes, Status

SPARE = 500
"""Places beyond those of the idle connections."""
AT_ONCE = 200
START_TIMEOUT_S = 30.0
SIZE_BYTES = 255


class _Idle(asyncio.Protocol):
    """A connection that sends nothing; counts those that are open."""

    open = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        _Idle.open += 1
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        _Idle.open -= 1


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
            before = await rounds(options, [url], nodes, size_bytes=SIZE_BYTES, keys=1_000, workloads=("write", "read"))
            resident = resident_bytes(status.pid) / 1e6
            idle = await _connect(url, count)
            await asyncio.sleep(1.0)
            grown = resident_bytes(status.pid) / 1e6 - resident
            for one in figures("connections", "no idle ones", before):
                report(one)
            case = f"{count:,} idle"
            report(Figure("connections", case, "memory of each", 1000 * grown / count, "kB", f"{grown:.0f} MB in all"))
            beside = await rounds(options, [url], nodes, size_bytes=SIZE_BYTES, keys=1_000, workloads=("write", "read"))
            for one in figures("connections", case, beside):
                report(one)
            report(Figure("connections", case, "still open", _Idle.open, "", "at the end"))
            for connection in idle:
                connection.transport.abort()  # type: ignore[attr-defined]  # not on BaseTransport


async def _connect(url: str, count: int) -> list[_Idle]:
    target, loop = Target.parse(url), asyncio.get_running_loop()
    made: list[_Idle] = []
    for at in range(0, count, AT_ONCE):
        some = await asyncio.gather(
            *(loop.create_connection(_Idle, target.host, target.port) for _ in range(min(AT_ONCE, count - at)))
        )
        made += [protocol for _, protocol in some]
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
