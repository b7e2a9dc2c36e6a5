"""Three nodes of etcd on this machine, set up as ours: mutual TLS between them, fsync on, metrics on.

All other settings are etcd's defaults, except the quota: the default of 2 GiB would end a long run. The history is
compacted between turns, as Kubernetes does every five minutes, so that etcd is not measured with an index that grows
without bounds; the compaction itself is not measured.
"""

from __future__ import annotations

import asyncio
import base64
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

import aiohttp
import trustme

from collectionstore_bench.contest.stores import Located
from collectionstore_bench.generators import programs, running
from collectionstore_bench.generators.load import Load, Work
from collectionstore_testkit.clusters.errors import ClusterFailed
from collectionstore_testkit.clusters.local import HOST, make_folder
from collectionstore_testkit.commands import run, with_parent
from collectionstore_testkit.places import REPOSITORY
from collectionstore_testkit.progress import Progress
from collectionstore_testkit.tools.go_programs import Module, build

MODULE: Final = Module("etcd", "two minutes", renamed=(("server", "etcd"),), parent=REPOSITORY / "bench" / "go")
NAME: Final = "etcd"
REPLICAS: Final = 3
PORT_STEP: Final = 10
QUOTA_BYTES: Final = 8 << 30
FILL_CONNECTIONS: Final = 32
FILL_TIMEOUT_S: Final = 120.0
START_TIMEOUT_S: Final = 30.0
STOP_TIMEOUT_S: Final = 10.0
KEPT_REVISIONS: Final = 1_000


def programs_folder() -> Path:
    """Return the folder of `etcd` and `etcd-load`; the first call builds them. Raises ToolError."""
    return build(MODULE, Progress())


def version(folder: Path) -> str:
    """Return the version that etcd reports, such as 3.7.3."""
    return run([folder / "etcd", "--version"]).splitlines()[0].removeprefix("etcd Version: ")


@dataclass(frozen=True, slots=True)
class EtcdNode:
    """One node: its name, the URLs for clients and peers, and its process once it runs."""

    name: str
    client_url: str
    peer_url: str


def make_nodes(base_port: int, *, tls: bool) -> list[EtcdNode]:
    """Return the nodes; node i uses `base_port` + i * PORT_STEP for clients and the next port for peers."""
    scheme = "https" if tls else "http"
    ports = [base_port + number * PORT_STEP for number in range(REPLICAS)]
    return [
        EtcdNode(f"{NAME}-{number}", f"{scheme}://{HOST}:{port}", f"https://{HOST}:{port + 1}")
        for number, port in enumerate(ports)
    ]


def command(program: Path, node: EtcdNode, nodes: Sequence[EtcdNode], folder: Path) -> list[str]:
    """Return the command of one node; `folder` holds the certificates and the data."""
    certificate, key, authority = (str(folder / name) for name in ("tls.crt", "tls.key", "ca.crt"))
    options = {
        "name": node.name,
        "data-dir": str(folder / node.name),
        "listen-client-urls": node.client_url,
        "advertise-client-urls": node.client_url,
        "listen-peer-urls": node.peer_url,
        "initial-advertise-peer-urls": node.peer_url,
        "initial-cluster": ",".join(f"{one.name}={one.peer_url}" for one in nodes),
        "initial-cluster-state": "new",
        "peer-cert-file": certificate,
        "peer-key-file": key,
        "peer-trusted-ca-file": authority,
        "peer-client-cert-auth": "true",
        "quota-backend-bytes": str(QUOTA_BYTES),
        "log-level": "warn",
    }
    if node.client_url.startswith("https"):
        options |= {"cert-file": certificate, "key-file": key}
    return [str(program), *(f"--{name}={value}" for name, value in options.items())]


@dataclass(slots=True)
class EtcdCluster:
    """The running nodes."""

    programs: Path
    nodes: Sequence[EtcdNode]
    session: aiohttp.ClientSession
    filling: Path
    version: str
    processes: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)
    name: str = NAME
    compacted: int = 0
    """The last revision that the history was compacted up to."""

    async def locate(self) -> Located:
        """Return the nodes. Raises ClusterFailed when no node leads within START_TIMEOUT_S."""
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                while True:
                    for node in self.nodes:
                        if await self._leads(node):
                            return self._located(node)
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise ClusterFailed(f"no node of etcd was leader within {START_TIMEOUT_S:g} s") from None

    async def fill(self, size: int) -> None:
        """Write every document of `size` bytes once."""
        located = await self.locate()
        load = Load(Work.PUT, FILL_CONNECTIONS, size)
        words = programs.etcd_load(self.programs / "etcd-load", load, located.urls[:1], seconds=0, filling=self.filling)
        await running.run([*words, "-once"], seconds=FILL_TIMEOUT_S)

    async def tidy(self) -> None:
        """Compact the history up to the last KEPT_REVISIONS, and wait for it. Raises ClusterFailed."""
        located = await self.locate()
        key = base64.b64encode(b"none").decode()
        header = (await self._post(located.urls[0], "/v3/kv/range", {"key": key}))["header"]
        revision = int(header["revision"]) - KEPT_REVISIONS
        if revision > self.compacted:
            await self._post(located.urls[0], "/v3/kv/compaction", {"revision": str(revision), "physical": True})
            self.compacted = revision

    async def _leads(self, node: EtcdNode) -> bool:
        process = self.processes[node.name]
        if process.returncode is not None:
            raise ClusterFailed(f"{node.name} exited with code {process.returncode}")
        try:
            status = await self._post(node.client_url, "/v3/maintenance/status", {})
        except (aiohttp.ClientError, ClusterFailed):
            return False  # it has not started yet, or is in an election
        return str(status.get("leader", "0")) == str(status["header"]["member_id"])

    def _located(self, leader: EtcdNode) -> Located:
        urls = [leader.client_url, *(node.client_url for node in self.nodes if node is not leader)]
        return Located(urls, leader.name, {name: process.pid for name, process in self.processes.items()})

    async def _post(self, url: str, path: str, body: Mapping[str, object]) -> dict[str, Any]:
        timeout = aiohttp.ClientTimeout(total=60)
        async with self.session.post(f"{url}{path}", json=body, timeout=timeout) as response:
            if response.status != 200:
                raise ClusterFailed(f"{url}{path} was answered with {response.status}: {await response.text()}")
            answer: dict[str, Any] = await response.json(content_type=None)
            return answer


@asynccontextmanager
async def etcd_cluster(
    session: aiohttp.ClientSession, *, base_port: int, tls: bool = False
) -> AsyncIterator[EtcdCluster]:
    """Start three nodes and wait for a leader; stop them and delete their data at the end.

    Raises ToolError, ClusterFailed.
    """
    built = programs_folder()
    folder = make_folder(NAME)
    try:
        write_certificates(folder)
        nodes = make_nodes(base_port, tls=tls)
        cluster = EtcdCluster(built, nodes, session, running.write_filling(folder), version(built))
        with (folder / "log").open("wb") as log:
            try:
                for node in nodes:
                    cluster.processes[node.name] = await _start(command(built / "etcd", node, nodes, folder), log)
                try:
                    await cluster.locate()
                except ClusterFailed as error:
                    raise ClusterFailed(f"{error}:\n{_end_of(folder / 'log')}") from None
                yield cluster
            finally:
                await asyncio.gather(*map(_stop, cluster.processes.values()))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_certificates(folder: Path) -> None:
    """Write one certificate that all nodes use as server and as client, and its authority."""
    authority = trustme.CA()
    issued = authority.issue_cert(HOST, "localhost")
    authority.cert_pem.write_to_path(folder / "ca.crt")
    issued.private_key_pem.write_to_path(folder / "tls.key")
    for place, blob in enumerate(issued.cert_chain_pems):
        blob.write_to_path(folder / "tls.crt", append=place > 0)


async def _start(words: Sequence[str], log: IO[bytes]) -> asyncio.subprocess.Process:
    # Its own session: Ctrl-C reaches only this program, which stops its parts in the right order.
    return await asyncio.create_subprocess_exec(
        *with_parent(words), stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
    )


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def _end_of(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-10:])
