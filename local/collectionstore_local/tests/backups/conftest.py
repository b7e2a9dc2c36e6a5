"""A cluster directory with a status, and rounds of its backups over a stub of the program."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from collectionstore_local.backups import runs as runs_module
from collectionstore_local.backups.rounds import BackupRounds
from collectionstore_local.backups.runs import Runs
from collectionstore_local.processes import process
from collectionstore_local.processes.process import ProcessIdentity
from collectionstore_local.state.backup_objects import BackupObjects
from collectionstore_local.state.directory import ClusterDirectory, StateDirectory
from collectionstore_operator.observability.metrics import process_metrics
from collectionstore_operator.resource.backups.names import BACKUP_KIND, SCHEDULE_KIND
from collectionstore_operator.resource.desired import Desired
from collectionstore_operator.status.events import Event
from collectionstore_operator.status.published import Condition, Status

STUB = Path(__file__).with_name("stub_program.py")
VERSION = "collectionstore.io/v1alpha1"
CLUSTER_ID = "0123456789abcdef"
PATIENCE_S = 20.0


class World:
    """One cluster `demo`; `supervisor` begins a new one, and the one before has been killed."""

    def __init__(self, directory: ClusterDirectory, path: Path) -> None:
        self.directory = directory
        self.objects = BackupObjects(directory)
        self.starts_file = path / "starts"
        self.hold = path / "hold"
        self.events: list[Event] = []
        self.desired = Desired(name="demo")
        self.registry = CollectorRegistry()
        self._metrics = process_metrics(self.registry)
        self.now = 1_800_000_000.0
        self.supervisor()

    def supervisor(self) -> None:
        """Begin as a supervisor does; the processes of the one before go on."""
        self._woken = asyncio.Event()
        self.runs = Runs(self.directory, self._woken.set)
        self.rounds = BackupRounds(self.directory, self.runs, self._metrics, self.events.append)

    def tell(self, *, cluster_id: str = CLUSTER_ID, unavailable: str = "") -> None:
        """Publish a status of the cluster; one that is not available has this reason."""
        available = Condition(
            type="Available",
            status="False" if unavailable else "True",
            reason=unavailable or "AsExpected",
            message="told by a test",
            observed_generation=1,
            last_transition_time="2026-01-02T03:04:05Z",
        )
        status = Status(cluster_id=cluster_id, initialized=True, conditions=(available,))
        self.directory.status.write_bytes(msgspec.json.encode(status))

    async def round(self) -> float:
        return await self.rounds.once(self.desired, self.now)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Run a round whenever a process has ended, until something holds."""
        async with asyncio.timeout(PATIENCE_S):
            while not holds():
                await self._woken.wait()
                self._woken.clear()
                await self.round()

    async def until_end(self) -> None:
        """Run a round when a process has ended, once."""
        async with asyncio.timeout(PATIENCE_S):
            await self._woken.wait()
        self._woken.clear()
        await self.round()

    def starts(self) -> list[list[str]]:
        try:
            return [json.loads(line) for line in self.starts_file.read_text().splitlines()]
        except FileNotFoundError:
            return []

    async def started(self, count: int) -> None:
        """Wait until so many processes have begun."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self.starts()) < count:  # noqa: ASYNC110  # another process writes the file
                await asyncio.sleep(0.01)

    def backup(self, name: str = "one", **spec: Any) -> None:
        body = {"apiVersion": VERSION, "kind": BACKUP_KIND, "metadata": {"name": name}}
        assert self.objects.create({**body, "spec": _spec(spec)})

    def schedule(self, name: str = "nightly", **spec: Any) -> None:
        body = {"apiVersion": VERSION, "kind": SCHEDULE_KIND, "metadata": {"name": name}}
        assert self.objects.create({**body, "spec": _spec({"schedule": "0 3 * * *", **spec})})

    def condition(self, kind: str, name: str, wanted: str) -> dict[str, Any]:
        body = self.objects.find(kind, name)
        assert body is not None
        found: dict[str, Any] = next(one for one in body["status"]["conditions"] if one["type"] == wanted)
        return found


def _spec(given: dict[str, Any]) -> dict[str, Any]:
    return {"clusterName": "demo", "repository": {"url": "file:///srv/backups"}, **given}


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    directory = StateDirectory.at(tmp_path / "state").create_cluster("demo")
    monkeypatch.setattr(runs_module, "PROGRAM", (sys.executable, str(STUB)))
    monkeypatch.setenv("STUB_STARTS", str(tmp_path / "starts"))
    monkeypatch.setenv("STUB_HOLD", str(tmp_path / "hold"))
    world = World(directory, tmp_path)
    world.tell()
    yield world
    world.hold.unlink(missing_ok=True)
    world.runs.release()
    for path in (directory.backups / "runs").glob("*.json"):
        _end(path)


def _end(path: Path) -> None:
    recorded = json.loads(path.read_bytes())["process"]
    if recorded is None:
        return
    found = process.adopt(ProcessIdentity(**recorded))
    if found is not None:
        os.kill(recorded["pid"], 9)
        found.close()
