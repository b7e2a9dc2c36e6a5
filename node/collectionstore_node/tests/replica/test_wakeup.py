"""How changes and failures reach the driver."""

from __future__ import annotations

import asyncio

from collectionstore_node.replica.consensus.wakeup import Wakeup


async def test_wake_before_the_wait_is_not_lost() -> None:
    wakeup = Wakeup()
    wakeup.wake()
    await asyncio.wait_for(wakeup.wait(), 1)


async def test_several_wakes_are_one() -> None:
    """The driver looks at everything each time."""
    wakeup = Wakeup()
    wakeup.wake()
    wakeup.wake()
    await wakeup.wait()
    waiting = asyncio.ensure_future(wakeup.wait())
    await asyncio.sleep(0)
    assert not waiting.done()
    wakeup.wake()
    await asyncio.wait_for(waiting, 1)


async def test_first_failure_counts_and_wakes() -> None:
    """Later ones are its consequences."""
    wakeup, first = Wakeup(), OSError("disk")
    assert wakeup.failure is None
    wakeup.fail(first)
    wakeup.fail(ValueError("consequence"))
    await asyncio.wait_for(wakeup.wait(), 1)
    assert wakeup.failure is first
