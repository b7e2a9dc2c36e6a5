"""A cluster of its own on this machine, run by `csctl local`, and what its nodes say of themselves.

Nothing of a user's clusters is touched: state directory, ports and cluster name are its own. Whatever happens, the
cluster is stopped at the end, and its state deleted unless it is to be kept.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import aiohttp
import msgspec

CSCTL = Path(sys.executable).with_name("csctl")
HOST = "127.0.0.1"
PORT_STEP = 10
NAME = "bench"
STATE_PARENT = Path("/var/tmp")
"""Not /tmp, which is memory on many machines: fsync costs nothing there."""
UP_TIMEOUT_S = 60.0
CSCTL_SPARE_S = 15.0
"""csctl gets this much longer than the deadline it was given, so that it can say itself what it waits for."""
CLEAN_TIMEOUT_S = 90.0
STATUS_TIMEOUT_S = 1.0


class ClusterFailed(Exception):
    """The cluster could not be brought where it was wanted; the text holds what csctl said."""


class Leader(msgspec.Struct, frozen=True):
    """Whom a node believes to lead."""

    node_id: str
    name: str


class Configuration(msgspec.Struct, frozen=True):
    """Who votes, by node id."""

    voters: list[str]
    learners: list[str]
    joint: bool


class Member(msgspec.Struct, frozen=True):
    """A member as the leader sees it; other nodes know only the first three."""

    node_id: str
    name: str
    role: str
    match_index: int | None = None
    lag: int | None = None
    active: bool | None = None
    silent_ms: int | None = None
    snapshot: bool = False


class Peer(msgspec.Struct, frozen=True):
    """A node's connection to another one."""

    name: str
    connected: bool
    round_trip_ms: float | None
    round_trip_p50_ms: float | None
    handshake_ms: float | None


class Status(msgspec.Struct, frozen=True):
    """The part of a node's /status that is read here."""

    node_id: str
    name: str
    version: str
    role: str
    term: int
    leader: Leader | None
    commit_index: int
    applied_index: int
    first_index: int
    last_index: int
    revision: int
    data_bytes: int
    metrics_address: str
    configuration: Configuration
    members: list[Member]
    peers: list[Peer]
    pid: int

    @property
    def leads(self) -> bool:
        return self.role == "Leader"

    def member(self, name: str) -> Member | None:
        """Return the member called `name`."""
        return next((member for member in self.members if member.name == name), None)


class Nodes:
    """Asks nodes, by base URL, what they say of themselves."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session

    async def status(self, url: str) -> Status | None:
        """Return a node's status, or None when it does not answer within STATUS_TIMEOUT_S."""
        try:
            async with asyncio.timeout(STATUS_TIMEOUT_S), self.session.get(f"{url}/status") as response:
                content = await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError):
            return None
        return msgspec.json.decode(content, type=Status) if response.status == 200 else None

    async def statuses(self, urls: Sequence[str]) -> dict[str, Status]:
        """Return the status of every node that answers, by URL."""
        answers = await asyncio.gather(*(self.status(url) for url in urls))
        return {url: status for url, status in zip(urls, answers, strict=True) if status is not None}

    async def leader(self, urls: Sequence[str], *, timeout_s: float = 10.0) -> tuple[str, Status]:
        """Return URL and status of the leader of the highest term. Raises ClusterFailed when there is none in time."""
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    leaders = [item for item in (await self.statuses(urls)).items() if item[1].leads]
                    if leaders:
                        return max(leaders, key=lambda item: item[1].term)
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise ClusterFailed(f"none of {', '.join(urls)} has led for {timeout_s:g} s") from None


@dataclass(frozen=True, slots=True)
class LocalCluster:
    """A running cluster; node i listens for clients on `base_port` + i * PORT_STEP."""

    folder: Path
    base_port: int
    environment: Mapping[str, str]
    """Further variables of all its processes."""
    name: str = NAME

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def manifest(self) -> Path:
        return self.folder / "cluster.yaml"

    def url(self, ordinal: int) -> str:
        return f"http://{HOST}:{self.base_port + ordinal * PORT_STEP}"

    def urls(self, count: int) -> list[str]:
        return [self.url(ordinal) for ordinal in range(count)]

    async def csctl(self, command: str, *arguments: str, timeout_s: float) -> str:
        """Run `csctl local COMMAND` on this cluster and return what it printed. Raises ClusterFailed."""
        words = [str(CSCTL), "local", command, "--state-dir", str(self.state), *arguments]
        # Files, not pipes: what csctl leaves in the background may hold its output open for longer than it runs.
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            # A session of its own: Ctrl-C reaches this program, which decides what to stop and in which order.
            process = await asyncio.create_subprocess_exec(
                *words,
                env={**os.environ, **self.environment},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                start_new_session=True,
            )
            try:
                async with asyncio.timeout(timeout_s):
                    await process.wait()
                end = f"ended with exit code {process.returncode}"
            except TimeoutError:
                end = f"took longer than {timeout_s:g} s"
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
            said = [_content(file) for file in (output, errors)]
        if process.returncode != 0:
            raise ClusterFailed("\n".join([f"{' '.join(words)} {end}", *said]).rstrip())
        return said[0]

    async def described(self) -> dict[str, Any]:
        """Return what `csctl local status -o json` prints."""
        value: dict[str, Any] = json.loads(await self.csctl("status", "-o", "json", timeout_s=30))
        return value

    async def apply(self, spec: Mapping[str, object]) -> None:
        """Change these fields of the manifest's spec and wait until the cluster is as it says. Raises ClusterFailed."""
        manifest = json.loads(self.manifest.read_text())
        manifest["spec"] |= spec
        self.manifest.write_text(json.dumps(manifest, indent=2))
        deadline = ("--timeout", f"{UP_TIMEOUT_S:g}")
        await self.csctl("apply", "-f", str(self.manifest), *deadline, timeout_s=UP_TIMEOUT_S + CSCTL_SPARE_S)

    def supervisor_pid(self) -> int:
        """Return the process that keeps the nodes running."""
        return int((self.state / self.name / "supervisor.pid").read_text())

    def node_logs(self) -> list[Path]:
        """Return the log file of every member there ever was; one JSON object a line."""
        return sorted((self.state / self.name / "nodes").glob("*/node.log"))

    def processes(self) -> list[int]:
        """Return every live process of this cluster, found by its data directory or its state directory."""
        return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and self._owns(entry)]

    def _owns(self, process: Path) -> bool:
        try:
            environment = (process / "environ").read_bytes().split(b"\0")
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
        state = os.fsencode(self.state)
        data = b"COLLECTIONSTORE_DATA_DIR=" + state + b"/"
        return any(one.startswith(data) for one in environment) or any(one.startswith(state + b"/") for one in words)


@asynccontextmanager
async def local_cluster(
    *,
    replicas: int,
    base_port: int,
    spec: Mapping[str, object] | None = None,
    keep: bool = False,
    environment: Mapping[str, str] | None = None,
    name: str = NAME,
) -> AsyncIterator[LocalCluster]:
    """Start a cluster, wait until it is Ready, and stop it at the end; with `keep` its files stay.

    `spec` is added to the manifest's, `environment` to this process's. Raises ClusterFailed.
    """
    if not CSCTL.exists():
        raise ClusterFailed(f"{CSCTL} is missing: run `make install`, then this program with .venv/bin/python")
    folder = Path(tempfile.mkdtemp(prefix=f"collectionstore-{name}-", dir=STATE_PARENT))
    cluster = LocalCluster(folder, base_port, environment or {}, name)
    manifest = {
        "apiVersion": "collectionstore.io/v1alpha1",
        "kind": "CollectionStoreCluster",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "tls": {"client": "Disabled"},
            "local": {"basePort": base_port, "portStep": PORT_STEP},
            **(spec or {}),
        },
    }
    cluster.manifest.write_text(json.dumps(manifest, indent=2))  # JSON is YAML
    try:
        deadline = ("--timeout", f"{UP_TIMEOUT_S:g}")
        await cluster.csctl("up", "-f", str(cluster.manifest), *deadline, timeout_s=UP_TIMEOUT_S + CSCTL_SPARE_S)
        yield cluster
    finally:
        await _stop(cluster, keep=keep)


async def _stop(cluster: LocalCluster, *, keep: bool) -> None:
    # A second Ctrl-C would leave processes behind; stopping is bounded in time.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        _signal_all(cluster, signal.SIGCONT)
        if cluster.state.exists():
            command = ("down",) if keep else ("clean", "--yes")
            await cluster.csctl(*command, timeout_s=CLEAN_TIMEOUT_S)
    except ClusterFailed as error:
        print(f"{error}\nkilling what is left of the cluster", file=sys.stderr)
    finally:
        _signal_all(cluster, signal.SIGKILL)
        signal.signal(signal.SIGINT, before)
        if keep:
            print(f"kept: {cluster.folder}", file=sys.stderr)
        else:
            shutil.rmtree(cluster.folder, ignore_errors=True)


def _content(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace").rstrip()


def _signal_all(cluster: LocalCluster, number: signal.Signals) -> None:
    for pid in cluster.processes():
        send_signal(pid, number)


def send_signal(pid: int, number: signal.Signals) -> None:
    """Send a signal; nothing happens when the process has ended."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass  # it ended on its own
