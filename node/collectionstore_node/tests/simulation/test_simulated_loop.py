"""The loop itself: time, order, processes and threads, all of them made up."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from random import Random

import pytest

from collectionstore_node.tests.simulation.events import Trace
from collectionstore_node.tests.simulation.loop import Deadlock, SimulatedLoop
from collectionstore_node.tests.simulation.process import Clock, Process


def run(main: Callable[[SimulatedLoop], Coroutine[None, None, None]], seed: int = 1) -> SimulatedLoop:
    """Run `main` on a loop of its own and return the loop, closed."""
    loop = SimulatedLoop(Random(seed), Trace(), callbacks_max=100_000)
    try:
        loop.run_until_complete(main(loop))
    finally:
        loop.close()
    return loop


def test_time_jumps_to_the_next_event() -> None:
    """A day passes in no time, and the loop's clock shows it."""

    async def main(loop: SimulatedLoop) -> None:
        await asyncio.sleep(86_400)
        assert loop.time() == pytest.approx(86_400, abs=1e-3)

    before = time.monotonic()
    run(main)
    assert time.monotonic() - before < 3600


def test_callbacks_of_one_process_run_in_order() -> None:
    """What asyncio promises holds for each process."""
    seen: list[int] = []

    async def main(loop: SimulatedLoop) -> None:
        process = Process("a", "a")
        for number in range(50):
            loop.call_soon(seen.append, number, context=process.context)
        await asyncio.sleep(1)

    run(main)
    assert seen == list(range(50))


def order_of_two(seed: int) -> list[str]:
    """Return the order in which callbacks of two processes run that are ready together."""
    seen: list[str] = []

    async def main(loop: SimulatedLoop) -> None:
        one, other = Process("a", "a"), Process("b", "b")
        for _ in range(5):
            loop.call_soon(seen.append, "a", context=one.context)
            loop.call_soon(seen.append, "b", context=other.context)
            await asyncio.sleep(1)

    run(main, seed)
    return seen


def test_processes_that_are_ready_together_run_in_any_order() -> None:
    """The seed decides, and nothing else does."""
    orders = {tuple(order_of_two(seed)) for seed in range(10)}
    assert len(orders) > 3
    assert order_of_two(4) == order_of_two(4)


def test_paused_process_handles_nothing_and_then_everything() -> None:
    """Others go on; what came due meanwhile runs at the resumption, in its order."""
    seen: list[tuple[str, int]] = []

    async def main(loop: SimulatedLoop) -> None:
        one, other = Process("a", "a"), Process("b", "b")

        async def count(name: str) -> None:
            for _ in range(4):
                await asyncio.sleep(1)
                seen.append((name, round(loop.now)))

        tasks = [
            loop.create_task(count("a"), context=one.context),
            loop.create_task(count("b"), context=other.context),
        ]
        await asyncio.sleep(1.5)
        loop.pause(one)
        await asyncio.sleep(8.5)
        loop.resume(one)
        await asyncio.gather(*tasks)

    run(main)
    assert [moment for name, moment in seen if name == "b"] == [1, 2, 3, 4]
    assert [moment for name, moment in seen if name == "a"] == [1, 10, 11, 12]


def test_each_process_has_its_own_clock() -> None:
    """A fast clock shows two seconds when one has passed, and timers follow it."""

    async def main(loop: SimulatedLoop) -> None:
        fast = Process("a", "a", Clock(rate=2.0, offset_s=100.0))

        async def wait() -> None:
            began = loop.time()
            assert began == pytest.approx(100, abs=1e-3)
            await asyncio.sleep(4)
            assert loop.time() - began == pytest.approx(4, abs=1e-3)

        await loop.create_task(wait(), context=fast.context)
        assert loop.now == pytest.approx(2, abs=1e-3)

    run(main)


def test_executor_is_one_thread_in_name_only() -> None:
    """Jobs of one executor run one after the other, each takes its time, and no thread is started."""
    seen: list[tuple[int, float]] = []
    threads = threading.active_count()

    async def main(loop: SimulatedLoop) -> None:
        process = Process("a", "a")
        process.job_delays = lambda: (1.0, 2.0)
        executor = ThreadPoolExecutor(1)

        async def work() -> None:
            jobs = [
                loop.run_in_executor(executor, lambda number=number: seen.append((number, loop.now)))
                for number in range(3)
            ]
            await asyncio.gather(*jobs)
            assert threading.active_count() == threads

        await loop.create_task(work(), context=process.context)

    loop = run(main)
    assert [(number, round(moment)) for number, moment in seen] == [(0, 1), (1, 4), (2, 7)]
    assert round(loop.now) == 9


def test_job_raises_to_its_caller() -> None:
    """An error in a thread is the future's."""

    async def main(loop: SimulatedLoop) -> None:
        with pytest.raises(ZeroDivisionError):
            await loop.run_in_executor(None, lambda: 1 // 0)

    run(main)


def test_waiting_for_nothing_is_a_deadlock() -> None:
    """Nothing is scheduled and a task waits: that is an error, not an endless wait."""

    async def main(loop: SimulatedLoop) -> None:
        await loop.create_future()

    with pytest.raises(Deadlock):
        run(main)


def test_a_loop_without_end_is_noticed() -> None:
    """A task is always ready, and never ends."""

    async def main(loop: SimulatedLoop) -> None:
        while loop.now < 1000:  # noqa: ASYNC110 - this is what is tested
            await asyncio.sleep(0)

    with pytest.raises(AssertionError, match="does not come to rest"):
        run(main)
