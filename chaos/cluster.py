"""The cluster under test: made and looked after by csctl's own local runtime, in a folder and on ports of its own."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec

from collectionstore_local.commands import lifecycle
from collectionstore_local.commands.follow import read_status
from collectionstore_local.processes import records
from collectionstore_local.processes.records import NodeExit
from collectionstore_local.state.directory import ClusterDirectory, StateDirectory

NAME: Final = "chaos"
HOST: Final = "127.0.0.1"
PORT_STEP: Final = 10
CSCTL: Final = Path(sys.executable).with_name("csctl")
UP_TIMEOUT_S: Final = 120.0
STOP_TIMEOUT_S: Final = 90.0
STATUS_TIMEOUT_S: Final = 1.0
SNAPSHOT_COMMANDS: Final = 1_000
"""The least that is allowed, so that members that were away for a while need snapshots."""


class ClusterFailed(Exception):
    """The cluster could not be brought where it was wanted; the text holds what csctl said."""


class Member(msgspec.Struct, frozen=True):
    """A member as the leader sees it."""

    node_id: str
    name: str
    role: str
    lag: int | None = None
    active: bool | None = None
    snapshot: bool = False


class Configuration(msgspec.Struct, frozen=True):
    """Who votes, by node id."""

    voters: list[str]
    learners: list[str]
    joint: bool


class Status(msgspec.Struct, frozen=True):
    """The part of a node's /status that is read here."""

    node_id: str
    name: str
    role: str
    term: int
    commit_index: int
    applied_index: int
    first_index: int
    revision: int
    configuration: Configuration
    members: list[Member]
    pid: int
    state_digest: str = ""

    @property
    def leads(self) -> bool:
        return self.role == "Leader"


@dataclass(slots=True)
class Cluster:
    """A cluster of `nodes` members; `session` is for questions about it, not for the workload."""

    folder: Path
    nodes: int
    base_port: int
    session: aiohttp.ClientSession
    environment: Mapping[str, str]
    _held: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def state(self) -> StateDirectory:
        return StateDirectory(self.folder / "state")

    @property
    def directory(self) -> ClusterDirectory:
        return ClusterDirectory(self.state.path / NAME)

    @property
    def manifest(self) -> Path:
        return self.folder / "cluster.json"

    def name(self, ordinal: int) -> str:
        return f"{NAME}-{ordinal}"

    def data(self, name: str) -> Path:
        """Return the data directory of a member."""
        return self.directory.node(name).data

    def url(self, name: str) -> str:
        """Return where clients reach a member."""
        return f"http://{HOST}:{self.base_port + PORT_STEP * int(name.rpartition('-')[2])}"

    def running(self) -> list[str]:
        """Return the members whose process runs, paused or not."""
        return list(lifecycle.living_nodes(self.directory))

    def last_exit(self, name: str) -> NodeExit | None:
        """Return how a member's process ended last; None when it runs, or never ended."""
        record = records.load(self.directory.node(name))
        return None if records.living_process(self.directory.node(name)) else record.last_exit

    async def status(self, name: str) -> Status | None:
        """Return what a member says of itself, None when it does not answer in time."""
        try:
            async with asyncio.timeout(STATUS_TIMEOUT_S), self.session.get(f"{self.url(name)}/status") as response:
                content = await response.read()
        except (aiohttp.ClientError, OSError):
            return None
        return msgspec.json.decode(content, type=Status) if response.status == 200 else None

    async def statuses(self) -> dict[str, Status]:
        """Return the status of every member that answers, by name."""
        names = self.running()
        answers = await asyncio.gather(*(self.status(name) for name in names))
        return {name: answer for name, answer in zip(names, answers, strict=True) if answer is not None}

    async def leader(self) -> Status | None:
        """Return the status of the leader of the highest term, None when nobody leads."""
        leaders = [one for one in (await self.statuses()).values() if one.leads]
        return max(leaders, key=lambda one: one.term, default=None)

    async def is_whole(self, name: str, *, not_as: str = "") -> bool:
        """Return whether a member votes, is heard and is up to date; as another incarnation than `not_as`."""
        leader, own = await self.leader(), await self.status(name)
        if leader is None or own is None or own.node_id == not_as:
            return False
        mine = [member for member in leader.members if member.name == name]
        return (
            len(mine) == 1
            and mine[0].node_id == own.node_id
            and own.node_id in leader.configuration.voters
            and not leader.configuration.joint
            and (own.leads or (bool(mine[0].active) and mine[0].lag is not None and mine[0].lag < 100))
        )

    def is_ready(self) -> bool:
        """Return whether the reconcile loop calls the cluster Ready, with nothing left to do."""
        status = read_status(self.directory)
        condition = status.condition("Ready") if status is not None else None
        return condition is not None and condition.status == "True" and not (status and status.plan)

    @asynccontextmanager
    async def unattended(self) -> AsyncIterator[None]:
        """Keep the supervisor from starting members that end, by SIGSTOP, for the time of the block."""
        async with self._held:
            self._signal_supervisor(signal.SIGSTOP)
            try:
                yield
            finally:
                self._signal_supervisor(signal.SIGCONT)

    def _signal_supervisor(self, number: signal.Signals) -> None:
        pid = lifecycle.supervisor_pid(self.directory)
        if not pid:
            raise ClusterFailed(f"the supervisor has ended: see {self.directory.log}")
        os.kill(pid, number)

    async def csctl(self, command: str, *arguments: str, timeout_s: float, allowed: tuple[int, ...] = (0,)) -> str:
        """Run `csctl local COMMAND` and return what it printed. Raises ClusterFailed for an exit code not allowed."""
        words = [str(CSCTL), "local", command, "--state-dir", str(self.state.path), *arguments]
        # Files, not pipes: what csctl leaves in the background may hold its output open for longer than it runs.
        with tempfile.TemporaryFile() as output:
            process = await asyncio.create_subprocess_exec(
                *words,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                env={**os.environ, **self.environment},
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
            output.seek(0)
            said = output.read().decode(errors="replace")
        if process.returncode not in allowed:
            raise ClusterFailed(f"{' '.join(words)} {end}\n{said}".rstrip())
        return said

    def prepare(self) -> None:
        """Make the folders of the cluster, in which nothing runs yet."""
        self.state.create_cluster(NAME)

    async def start(self) -> None:
        """Start the cluster and return when it is Ready. Raises ClusterFailed."""
        resource: dict[str, Any] = {
            "apiVersion": "collectionstore.io/v1alpha1",
            "kind": "CollectionStoreCluster",
            "metadata": {"name": NAME},
            "spec": {
                "replicas": self.nodes,
                "tls": {"client": "Disabled"},
                "local": {"basePort": self.base_port, "portStep": PORT_STEP},
                "snapshot": {"commands": SNAPSHOT_COMMANDS},
            },
        }
        self.manifest.write_text(json.dumps(resource, indent=2))
        deadline = ("--timeout", f"{UP_TIMEOUT_S:g}")
        await self.csctl("up", "-f", str(self.manifest), *deadline, timeout_s=UP_TIMEOUT_S + 15)

    async def stop(self) -> None:
        """Stop every process, whatever state it is in; data stays."""
        if not self.directory.resource.exists():
            return
        try:
            self._signal_supervisor(signal.SIGCONT)
        except (ClusterFailed, ProcessLookupError):
            pass  # it has ended, and `down` starts another one to stop the members
        try:
            await self.csctl("down", timeout_s=STOP_TIMEOUT_S)
        finally:
            for pid in self._left():
                os.kill(pid, signal.SIGKILL)

    def _left(self) -> list[int]:
        """Return every live process of this cluster, found by its data directory or its command."""
        return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and self._owns(entry)]

    def _owns(self, process: Path) -> bool:
        try:
            environment = (process / "environ").read_bytes().split(b"\0")
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
        state = os.fsencode(self.state.path) + b"/"
        data = b"COLLECTIONSTORE_DATA_DIR=" + state
        return any(one.startswith(data) for one in environment) or any(one.startswith(state) for one in words)

    def keep_logs(self) -> list[str]:
        """Return where the logs are that explain a failure."""
        return [str(self.directory.log), *(str(self.directory.node(name).log) for name in self.directory.node_names())]


def make_folder(parent: Path) -> Path:
    """Make a folder for one run."""
    return Path(tempfile.mkdtemp(prefix="collectionstore-chaos-", dir=parent))


def delete_folder(folder: Path) -> None:
    """Delete everything of a run."""
    shutil.rmtree(folder, ignore_errors=True)
