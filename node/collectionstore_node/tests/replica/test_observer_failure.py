"""An observer that raises, which is a bug: the member ends or goes on, but no request waits for ever."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import NoReturn

import pytest

from collectionstore_node.errors import NotNow, OutcomeUnknown
from collectionstore_node.replica.observation.observer import DriverObserver
from collectionstore_node.tests.replica.group import PATIENCE_S, Member, Wires, group

IN_DRIVER = (
    "entry_contexts",
    "entry_proposed",
    "entries_appended",
    "entries_synced",
    "entries_committed",
    "state_stored",
    "entry_applied",
    "entries_applied",
)
MARKER_SYNCS = "collectionstore_storage_witness_sync_duration_seconds_count"
LONG_S = 3600.0
"""A deadline that no test lives to see."""


class Broken(Exception):
    """Raised by the observer."""


def fail(*_arguments: object, **_named: object) -> NoReturn:
    raise Broken


def marker_synced(member: Member, before: float) -> bool:
    """Whether the tail marker was synced since there were `before` syncs of it."""
    return member.series(MARKER_SYNCS) > before


def break_observer(monkeypatch: pytest.MonkeyPatch, member: Member, event: str) -> None:
    """Make one event of the member's observer raise."""
    assert event in vars(DriverObserver)
    monkeypatch.setattr(member.local.observer, event, fail)


async def settled(*tasks: asyncio.Task[int]) -> list[str]:
    """Return how each request ended, by the name of its error or "done"."""
    _, pending = await asyncio.wait(tasks, timeout=PATIENCE_S)
    assert not pending, "they wait for ever"
    return [type(task.exception()).__name__ if task.exception() else "done" for task in tasks]


@pytest.mark.parametrize("event", IN_DRIVER)
async def test_driver_ends_and_nobody_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, event: str) -> None:
    """The outcome is unknown unless it was acknowledged; the data directory is not damaged."""
    async with group(tmp_path, 1, raised=True) as (_, (member,)):
        await member.put("a", b"1")
        break_observer(monkeypatch, member, event)
        writes = [asyncio.create_task(member.put(key, b"2", timeout_s=LONG_S)) for key in ("b", "c")]

        ended = await settled(*writes)

        assert {*ended} <= {"done", OutcomeUnknown.__name__}
        await asyncio.wait((member.task,), timeout=PATIENCE_S)
        assert isinstance(member.task.exception(), Broken)
        with pytest.raises(NotNow, match="stopping"):
            await member.put("d", b"3")
    restarted = Member("n0", tmp_path / "n0", Wires(), seed=1)
    try:
        await restarted.until(lambda: restarted.replica.is_leader)
        assert await restarted.get("a") == b"1"
        assert [await restarted.get(key) for key, how in zip("bc", ended, strict=True) if how == "done"] == [
            b"2" for how in ended if how == "done"
        ]
    finally:
        await restarted.stop()


async def test_sync_that_cannot_be_reported_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the watchdog would take it for a disk that hangs, and the tail marker would fall behind."""
    raised: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: raised.append(context.get("exception")))
    async with group(tmp_path, 1, raised=True) as (_, (member,)):
        break_observer(monkeypatch, member, "sync_ended")
        # Twice: a sync of the marker may be due from before the observer broke.
        for key in ("a", "b"):
            before = member.series(MARKER_SYNCS)
            await member.put(key, b"1")
            assert member.local.log_writer.syncing_since is None
            await member.until(partial(marker_synced, member, before))

        assert {type(one) for one in raised} == {Broken}
