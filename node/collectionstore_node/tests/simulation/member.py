"""A member as a simulated process: the wiring of `app`, on a disk and a network in memory."""

from __future__ import annotations

import asyncio
import dataclasses
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from random import Random
from typing import Final

from collectionstore_node import app
from collectionstore_node.lifecycle import SHUTDOWN_S, Bounds, HttpServer
from collectionstore_node.ports import PortLimits, PortMetrics, PortProtocol
from collectionstore_node.raft.messages import NodeId
from collectionstore_node.settings import PREFIX, Address, Settings
from collectionstore_node.tests.simulation.connector import MemoryConnector
from collectionstore_node.tests.simulation.loop import SimulatedLoop
from collectionstore_node.tests.simulation.memory_storage import MemoryDatabase, MemoryDisk
from collectionstore_node.transport import CertificateFacts

CLUSTER: Final = "demo"
CLIENT_PORT: Final = 7400
PEER_PORT: Final = 7401
METRICS_PORT: Final = 7402
_BEGIN: Final = datetime(2000, 1, 1, tzinfo=UTC)
_END: Final = datetime(2100, 1, 1, tzinfo=UTC)


class LinkSecurity:
    """The contexts are handed on and never used: the simulated network leaves TLS out, and says itself who is who."""

    def __init__(self) -> None:
        self.listening = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.certificate = self.authority = CertificateFacts(_BEGIN, _END, serial="1", authority="")
        self.trusted: tuple[str, ...] = ()

    def reload(self) -> bool:
        """Return False: nothing changes."""
        return False


_SECURITY: Final = LinkSecurity()


def identity_of(name: str) -> str:
    """Return the URI that a member's certificate would hold."""
    return f"collectionstore://{CLUSTER}/{name}"


def make_settings(name: str, host: str, *, heartbeat_ms: int, snapshot_commands: int) -> Settings:
    """Return the settings of a member; `snapshot_commands` may be smaller than an installation may ask for."""
    values = {
        "NAME": name,
        "CLUSTER_ID": CLUSTER,
        "DATA_DIR": "/nowhere",
        "TLS_DIR": "/nowhere",
        "CLIENT_TLS": "Disabled",
        "CLIENT_ADDRESS": f"{host}:{CLIENT_PORT}",
        "PEER_ADDRESS": f"{host}:{PEER_PORT}",
        "METRICS_ADDRESS": f"{host}:{METRICS_PORT}",
        "MEMORY_BYTES": str(1 << 30),
        "HEARTBEAT_MS": str(heartbeat_ms),
    }
    settings = Settings.from_environment({PREFIX + key: value for key, value in values.items()})
    return dataclasses.replace(settings, snapshot_commands=snapshot_commands)


@dataclasses.dataclass(slots=True)
class Run:
    """What one process of a member is made of; `member` is there once it has started."""

    settings: Settings
    disk: MemoryDisk
    node_id: NodeId
    """The incarnation that an empty disk becomes."""
    random: Random
    wall_ms: Callable[[], int]
    stop: asyncio.Event
    database: MemoryDatabase | None = None
    member: app.RunningMember | None = None
    ending: bool = False
    """Whether it has begun to close what it opened."""


async def run_member(run: Run, loop: SimulatedLoop) -> None:
    """Do what `app.run` does, until `run.stop` is set. Raises what makes a node exit."""
    async with AsyncExitStack() as stack:
        try:
            await _work(stack, run, loop)
        finally:
            run.ending = True


async def _serve(
    stack: AsyncExitStack, server: HttpServer, address: Address, bounds: Bounds, tls: ssl.SSLContext | None
) -> None:
    """Do what `lifecycle.serve_http` does, in the simulated network."""
    listening = await asyncio.get_running_loop().create_server(server, address.host, address.port)

    async def stop() -> None:
        listening.close()
        server.pre_shutdown()
        await server.shutdown(SHUTDOWN_S)

    stack.push_async_callback(stop)


class _Worker:
    """A worker of the simulated loop, where an executor has no thread."""

    def __init__(self, name: str) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=name)

    def start(self, work: Callable[[], None], done: Callable[[BaseException | None], None]) -> None:
        ended = asyncio.get_running_loop().run_in_executor(self._executor, work)
        ended.add_done_callback(lambda _: done(ended.exception()))

    def close(self) -> None:
        self._executor.shutdown()


class _PeerPort:
    """Implements `ports.Listening` in the simulated network, without bounds."""

    def __init__(
        self,
        purpose: str,
        make: Callable[[], PortProtocol],
        limits: PortLimits,
        metrics: PortMetrics,
        *,
        tls: object,
        handshake_s: float = 0.0,
    ) -> None:
        self._make = make
        self._server: asyncio.AbstractServer | None = None

    @property
    def serving(self) -> bool:
        return self._server is not None

    async def open(self, host: str, port: int) -> int:
        self._server = await asyncio.get_running_loop().create_server(self._make, host, port)
        return port

    async def close(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()


async def _work(stack: AsyncExitStack, run: Run, loop: SimulatedLoop) -> None:
    run.database = run.disk.open(CLUSTER, run.settings.name, run.node_id)
    stack.callback(run.database.close)
    environment = app.HostEnvironment(
        random=run.random.random,
        wall_ms=run.wall_ms,
        clock=loop.time,
        connector=MemoryConnector,
        pid=1,
        serve=_serve,
        peer_port=_PeerPort,
        worker=_Worker,
    )
    run.member = await app.start(stack, run.settings, run.database, _SECURITY, environment)
    stopping = asyncio.create_task(run.stop.wait(), name="signal")
    await asyncio.wait((run.member.driving, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if run.member.driving.done():
        run.member.driving.result()
    await app.transfer_on_shutdown(run.member.replica)
