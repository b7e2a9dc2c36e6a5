"""The thread of queries: rotation, places, time, cancellation."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator
from functools import partial

import pytest

from collectionstore_node.errors import Overloaded
from collectionstore_node.service import query_thread
from collectionstore_node.service.query_thread import PLACES, QueryThread


def counting(name: str, steps: int, seen: list[str]) -> Generator[None, None, str]:
    for _ in range(steps):
        seen.append(name)
        yield
    return name


def held(gate: threading.Event) -> Generator[None, None, str]:
    yield
    gate.wait()
    return "held"


async def test_queries_take_steps_in_rotation() -> None:
    thread, seen = QueryThread(), list[str]()

    found = await asyncio.gather(*(thread.run(partial(counting, n, 3, seen), timeout_s=5) for n in "ab"))

    assert found == ["a", "b"]
    assert seen == list("ababab")
    thread.close()


async def test_the_event_loop_goes_on_while_a_step_takes_long() -> None:
    thread, gate = QueryThread(), threading.Event()
    query = asyncio.ensure_future(thread.run(lambda: held(gate), timeout_s=5))
    await asyncio.sleep(0)
    gate.set()

    assert await query == "held"
    thread.close()


async def test_errors_of_a_query_are_its_own() -> None:
    def failing() -> Generator[None, None, None]:
        yield
        raise ValueError("this one")

    thread = QueryThread()
    with pytest.raises(ValueError, match="this one"):
        await thread.run(failing, timeout_s=5)
    assert await thread.run(lambda: counting("a", 1, []), timeout_s=5) == "a"
    thread.close()


async def test_too_many_that_wait_are_refused_and_those_whose_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query_thread, "WAITING_MAX", 1)
    thread, gate = QueryThread(), threading.Event()
    running = [asyncio.ensure_future(thread.run(lambda: held(gate), timeout_s=5)) for _ in range(PLACES)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded, match="the time that this one had"):
        await thread.run(lambda: counting("a", 1, []), timeout_s=0)
    waiting = asyncio.ensure_future(thread.run(lambda: counting("b", 1, []), timeout_s=5))
    await asyncio.sleep(0)
    with pytest.raises(Overloaded, match="waiting already"):
        await thread.run(lambda: counting("c", 1, []), timeout_s=5)
    gate.set()

    assert await asyncio.gather(*running, waiting) == ["held"] * PLACES + ["b"]
    thread.close()


async def test_a_query_that_is_cancelled_gives_its_place_back() -> None:
    """One that runs, behind its step; one that waits, at once."""
    thread, gate = QueryThread(), threading.Event()
    running = [asyncio.ensure_future(thread.run(lambda: held(gate), timeout_s=5)) for _ in range(PLACES)]
    waiting = asyncio.ensure_future(thread.run(lambda: counting("a", 1, []), timeout_s=5))
    await asyncio.sleep(0)
    for one in (*running, waiting):
        one.cancel()
    gate.set()

    ended = await asyncio.gather(*running, waiting, return_exceptions=True)

    assert [type(one) for one in ended] == [asyncio.CancelledError] * (PLACES + 1)
    seen: list[str] = []
    assert await asyncio.gather(*(thread.run(partial(counting, n, 2, seen), timeout_s=5) for n in "ab")) == [
        "a",
        "b",
    ]
    thread.close()
