"""Profiles of all threads and the tasks of the event loop: names of code and never values."""

from __future__ import annotations

import asyncio
import threading

import pytest

from collectionstore_telemetry.profiling import Profiler, ProfileRunning, tasks
from collectionstore_telemetry.profiling.profiler import sample


def waits_for(event: threading.Event) -> None:
    event.wait()


async def test_profile_shows_the_functions_of_other_threads() -> None:
    ending = threading.Event()
    thread = threading.Thread(target=waits_for, args=(ending,), name="waiting thread")
    thread.start()
    try:
        stacks = (await Profiler().collapsed(0.05)).decode().splitlines()
    finally:
        ending.set()
        thread.join()
    (found,) = (stack for stack in stacks if stack.startswith("waiting thread;"))
    assert "test_profiling.waits_for;" in found
    assert int(found.rpartition(" ")[2]) >= 1
    assert not any(stack.startswith("profiler;") for stack in stacks)


async def test_profiles_are_taken_one_at_a_time() -> None:
    profiler = Profiler()
    first = asyncio.create_task(profiler.collapsed(0.05))
    await asyncio.sleep(0)
    with pytest.raises(ProfileRunning):
        await profiler.collapsed(0.05)
    assert await first
    assert await profiler.collapsed(0.01)


async def test_cancelled_profile_allows_the_next_one() -> None:
    profiler = Profiler()
    first = asyncio.create_task(profiler.collapsed(60))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert await profiler.collapsed(0.01)


def test_sampler_ends_when_it_is_stopped() -> None:
    stop = threading.Event()
    stop.set()
    assert not sample(60, stop)


async def test_tasks_that_wait_at_the_same_place_are_one_group() -> None:
    released = asyncio.Event()

    async def inner() -> None:
        await released.wait()

    async def outer() -> None:
        await inner()

    waiting = [asyncio.create_task(outer(), name=f"reader-{number}") for number in range(7)]
    await asyncio.sleep(0)
    report = tasks()
    released.set()
    await asyncio.gather(*waiting)
    (group,) = (one for one in report.groups if one.count == 7)
    assert group.names == [f"reader-{number}" for number in range(5)]
    assert [place.rpartition(".")[2].partition(":")[0] for place in group.stack[:3]] == ["outer", "inner", "wait"]
    assert report.total >= 8
    assert report.omitted == 0
