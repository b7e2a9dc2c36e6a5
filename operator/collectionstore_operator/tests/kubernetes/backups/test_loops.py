"""Loops of backups and schedules: at most one for a resource, woken, ended, and never by an error."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from collectionstore_operator.kubernetes import handlers
from collectionstore_operator.kubernetes.api import Kind, Unavailable
from collectionstore_operator.kubernetes.api.permissions import PERMISSIONS
from collectionstore_operator.kubernetes.backups import loops as module
from collectionstore_operator.kubernetes.backups.loops import BackupLoops, Key
from collectionstore_operator.kubernetes.backups.rounds import Outcome
from collectionstore_operator.resource.backups.names import SCHEDULE

KEY: Key = (Kind.BACKUP, "shop", "one")


class Script:
    """Rounds whose outcomes are given."""

    def __init__(self, *outcomes: Outcome | Exception) -> None:
        self.outcomes = list(outcomes)
        self.rounds = 0
        self.began = asyncio.Event()
        self.hold: asyncio.Event | None = None

    async def once(self) -> Outcome:
        self.rounds += 1
        self.began.set()
        if self.hold is not None:
            await self.hold.wait()
        found = self.outcomes.pop(0)
        if isinstance(found, Exception):
            raise found
        return found


def body(name: str = "one", **labels: str) -> dict[str, Any]:
    return {"metadata": {"namespace": "shop", "name": name, "labels": labels}}


async def ended(loops: BackupLoops) -> None:
    async with asyncio.timeout(5):
        while loops.running:
            await asyncio.gather(*loops._tasks.values())


async def test_loop_ends_when_nothing_is_left_to_do() -> None:
    script = Script(Outcome(done=True))
    loops = BackupLoops(lambda *_: script)
    loops.changed(Kind.BACKUP, body())
    await ended(loops)
    assert script.rounds == 1


async def test_what_changes_during_a_round_has_another_one() -> None:
    script = Script(Outcome(done=True), Outcome(done=True))
    script.hold = asyncio.Event()
    loops = BackupLoops(lambda *_: script)
    loops.changed(Kind.BACKUP, body())
    await script.began.wait()
    loops.changed(Kind.BACKUP, body())
    script.hold.set()
    await ended(loops)
    assert script.rounds == 2


async def test_resource_has_one_loop() -> None:
    script = Script(Outcome(done=True))
    script.hold = asyncio.Event()
    made: list[str] = []

    def make(*_: Any) -> Any:
        made.append("loop")
        return script

    loops = BackupLoops(make)
    for _ in range(3):
        loops.changed(Kind.BACKUP, body())
    await script.began.wait()
    assert made == ["loop"]
    await loops.close()
    assert not loops.running


@pytest.mark.parametrize("error", [Unavailable("down"), RuntimeError("a bug")])
async def test_error_ends_no_loop(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BACKOFF_S", 0.0)
    script = Script(error, error, Outcome(done=True))
    loops = BackupLoops(lambda *_: script)
    loops.changed(Kind.BACKUP, body())
    await ended(loops)
    assert script.rounds == 3


async def test_resource_that_is_gone_is_forgotten() -> None:
    forgotten: list[Key] = []
    loops = BackupLoops(lambda *_: Script(Outcome(gone=True)), forgotten=forgotten.append)
    loops.wake(KEY)
    await ended(loops)
    assert forgotten == [KEY]


async def test_backup_that_changes_wakes_its_schedule() -> None:
    schedule, backup = Script(Outcome(wait_s=1_000), Outcome(done=True)), Script(Outcome(done=True))
    scripts = {Kind.BACKUP_SCHEDULE: schedule, Kind.BACKUP: backup}
    loops = BackupLoops(lambda kind, *_: scripts[kind])
    loops.changed(Kind.BACKUP_SCHEDULE, body("daily"))
    await schedule.began.wait()
    loops.changed(Kind.BACKUP, body("daily-1", **{SCHEDULE: "daily"}))
    await ended(loops)
    assert (schedule.rounds, backup.rounds) == (2, 1)


async def test_backup_starts_no_loop_of_a_schedule_that_is_gone() -> None:
    loops = BackupLoops(lambda *_: Script(Outcome(done=True)))
    loops.changed(Kind.BACKUP, body("daily-1", **{SCHEDULE: "daily"}))
    assert loops.running == {(Kind.BACKUP, "shop", "daily-1")}
    await ended(loops)


async def test_handlers_start_loops_and_no_daemons() -> None:
    """A daemon of kopf puts a finalizer on the resource."""
    loops = BackupLoops(lambda *_: Script(Outcome(done=True)))
    made = handlers.registry(object(), in_cluster=False, backups=loops)  # type: ignore[arg-type]
    assert len(made._spawning.get_all_handlers()) == 1, "that of clusters"
    watching = [one for one in made._watching.get_all_handlers() if str(one.id).endswith("_changed")]
    selected = {one.selector.any_name for one in watching if one.selector is not None}
    assert {Kind.BACKUP.plural, Kind.BACKUP_SCHEDULE.plural} <= selected


def test_everything_that_is_done_is_permitted() -> None:
    allowed = {(one.group, one.resource): set(one.verbs) for one in PERMISSIONS}
    assert {"get", "create", "delete"} <= allowed["batch", "jobs"]
    assert {"get", "create", "patch", "delete"} <= allowed["apps", "deployments"]
    for kind in (Kind.BACKUP, Kind.BACKUP_SCHEDULE):
        assert {"get", "list", "watch"} <= allowed[kind.group, kind.plural]
        assert {"patch"} <= allowed[kind.group, f"{kind.plural}/status"]
