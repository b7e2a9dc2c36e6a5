"""A waiter for a condition is woken by its changes, fails at its deadline, and is never lost."""

from __future__ import annotations

import asyncio

import pytest

from collectionstore_node.errors import OutcomeUnknown
from collectionstore_node.replica.consensus.conditions import Conditions


async def test_condition_that_holds_already_does_not_wait() -> None:
    await Conditions(asyncio.get_running_loop()).until(lambda: True, deadline=0)


async def test_waiter_is_woken_by_the_check_after_the_change() -> None:
    loop = asyncio.get_running_loop()
    conditions, facts = Conditions(loop), set[str]()
    waiter = asyncio.create_task(conditions.until(lambda: "done" in facts, loop.time() + 3600))
    await asyncio.sleep(0)
    conditions.check()
    assert not waiter.done()
    facts.add("done")
    conditions.check()
    await waiter


async def test_a_condition_that_has_held_need_not_hold_when_its_waiter_goes_on() -> None:
    loop = asyncio.get_running_loop()
    conditions, facts = Conditions(loop), {"done"}
    waiter = asyncio.create_task(conditions.until(lambda: facts == {"done"}, loop.time() + 3600))
    facts.add("another")
    await asyncio.sleep(0)
    facts.discard("another")
    conditions.check()
    facts.add("another")
    await waiter


async def test_deadline_leaves_the_outcome_unknown() -> None:
    loop = asyncio.get_running_loop()
    conditions = Conditions(loop)
    waiter = asyncio.create_task(conditions.until(lambda: False, loop.time()))
    await asyncio.sleep(0)
    conditions.check()
    with pytest.raises(OutcomeUnknown):
        await waiter


async def test_close_leaves_nobody_waiting() -> None:
    loop = asyncio.get_running_loop()
    conditions = Conditions(loop)
    waiter = asyncio.create_task(conditions.until(lambda: False, loop.time() + 3600))
    await asyncio.sleep(0)
    conditions.close()
    with pytest.raises(OutcomeUnknown, match="stopping"):
        await waiter
