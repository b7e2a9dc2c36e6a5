"""A member whose driver dies lets go of everybody who waits for it: clients, administrators, other members (L20)."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from collectionstore_node.errors import NodeError, NotNow, OutcomeUnknown, StorageFailed
from collectionstore_node.replica.membership.changes import MemberChange, MembersRequest
from collectionstore_node.tests.replica.group import PATIENCE_S, Member, group

LONG_S = 3600.0
"""A deadline that no test lives to see: only the driver's end can be what ends the wait."""


async def outcome(work: Coroutine[Any, Any, object]) -> str:
    """Return the name of what `work` raises, or "done"."""
    try:
        await work
    except NodeError as error:
        return type(error).__name__
    return "done"


def everybody(member: Member, other: Member) -> dict[str, Coroutine[Any, Any, object]]:
    """Return everything that can be asked of a member, none of it with a deadline that matters."""
    replica = member.replica
    change = MembersRequest((MemberChange("demote", other.id),))
    return {
        "write": member.put("a", b"1", timeout_s=LONG_S),
        "read": member.get("a", timeout_s=LONG_S),
        "change of members": replica.change_members(change, timeout_s=LONG_S),
        "transfer": replica.transfer_leadership(other.id, timeout_s=LONG_S),
        "anything": member.consensus.until(lambda: False, asyncio.get_running_loop().time() + LONG_S),
    }


async def break_disk(member: Member) -> None:
    """Let the next sync fail, and return when the driver has died of it."""
    member.log.broken = True
    member.log.open.set()
    done, _ = await asyncio.wait((member.task,), timeout=PATIENCE_S)
    assert done, "the driver lives on with a broken disk"
    assert isinstance(member.task.exception(), StorageFailed)


async def ask(asked: dict[str, Coroutine[Any, Any, object]]) -> dict[str, asyncio.Task[str]]:
    """Ask one after the other, and return when all of it waits."""
    tasks = {}
    for name, work in asked.items():
        tasks[name] = asyncio.create_task(outcome(work), name=name)
        for _ in range(10):
            await asyncio.sleep(0)
    assert not [name for name, task in tasks.items() if task.done()]
    return tasks


async def answers(tasks: dict[str, asyncio.Task[str]]) -> dict[str, str]:
    """Return what everybody was told, nothing more being done about it."""
    await asyncio.wait(tasks.values(), timeout=PATIENCE_S)
    assert not [name for name, task in tasks.items() if not task.done()], "they wait for ever"
    return {name: task.result() for name, task in tasks.items()}


async def test_leader_that_dies_of_its_disk_leaves_nobody_waiting(tmp_path: Path) -> None:
    """What may be applied is unknown, what certainly was not is not: nobody is told more than is known."""
    async with group(tmp_path, 3) as (wires, (first, second, third)):
        wires.hold(first, second, third)
        first.log.open.clear()
        tasks = await ask(everybody(first, second))
        await break_disk(first)
        assert await answers(tasks) == {
            "write": "OutcomeUnknown",
            "read": "NotNow",
            "change of members": "OutcomeUnknown",
            "transfer": "OutcomeUnknown",
            "anything": "OutcomeUnknown",
        }


async def test_dead_leader_is_replaced_and_serves_nobody(tmp_path: Path) -> None:
    """Until its process has ended, whoever still reaches it is refused at once."""
    async with group(tmp_path, 3) as (wires, (first, second, third)):
        # The others could commit it without its disk.
        wires.hold(first, second, third)
        first.log.open.clear()
        tasks = await ask({"write": first.put("a", b"1", timeout_s=LONG_S)})
        await break_disk(first)
        assert await answers(tasks) == {"write": "OutcomeUnknown"}
        await second.until(lambda: second.replica.is_leader or third.replica.is_leader)
        with pytest.raises(NotNow, match="stopping"):
            first.consensus.submit(b"", LONG_S)
        with pytest.raises(NotNow, match="stopping"):
            first.consensus.join_read(LONG_S)
        with pytest.raises(OutcomeUnknown, match="stopping"):
            await first.consensus.until(lambda: False, LONG_S)
        await second.put("b", b"2")


async def test_follower_that_dies_leaves_nobody_waiting_for_its_leader(tmp_path: Path) -> None:
    """What it had handed on is unknown, once it stops listening for the answer."""
    async with group(tmp_path, 3) as (_, (first, second, third)):
        # Of one disk that hangs nothing waits: the other two are a majority.
        first.log.open.clear()
        third.log.open.clear()
        tasks = await ask({"write": second.put("a", b"1", timeout_s=LONG_S)})
        second.task.cancel()
        await asyncio.wait((second.task,), timeout=PATIENCE_S)
        await second.replica.close()
        assert await answers(tasks) == {"write": "OutcomeUnknown"}
