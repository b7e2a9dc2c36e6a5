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


async def test_wake_is_not_lost_when_the_wait_is_cancelled() -> None:
    """Whether it comes before or after: a driver that waits again must look at what has changed."""
    for wakes_first in (True, False):
        wakeup = Wakeup()
        waiting = asyncio.ensure_future(wakeup.wait())
        await asyncio.sleep(0)
        if wakes_first:
            wakeup.wake()
        waiting.cancel()
        assert isinstance((await asyncio.gather(waiting, return_exceptions=True))[0], asyncio.CancelledError)
        if not wakes_first:
            wakeup.wake()
        await asyncio.wait_for(wakeup.wait(), 1)
