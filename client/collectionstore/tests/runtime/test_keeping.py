"""What is kept alive: by a clock and a sleep of the test."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from collectionstore.errors import CollectionStoreError, ConnectionFailure, problem_error
from collectionstore.runtime.keeping import Keeper
from collectionstore.wire.answers import Answer

TTL_S = 30.0


class Time:
    """Moves when something sleeps, or when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0
        self.sleeps: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    made = Time()
    monkeypatch.setattr("collectionstore.runtime.keeping.asyncio.get_running_loop", lambda: _Loop(made))
    return made


class _Loop:
    def __init__(self, time: Time) -> None:
        self.time: Callable[[], float] = lambda: time.now


def lost(code: str, status: int) -> CollectionStoreError:
    return problem_error({"code": code, "status": status, "retryable": status == 503, "outcome": "not_applied"})


async def keep(time: Time, *answers: CollectionStoreError | None) -> tuple[Keeper, list[float]]:
    """Return a keeper that was answered so, and how much time each renewal had; the last answer repeats."""
    timeouts: list[float] = []
    done = asyncio.Event()

    async def renew(timeout_s: float) -> Answer:
        timeouts.append(timeout_s)
        answer = answers[min(len(timeouts), len(answers)) - 1]
        if len(timeouts) >= len(answers):
            done.set()
        if answer is not None:
            raise answer
        return Answer(status=200)

    keeper = Keeper(renew, TTL_S, time.sleep)
    await done.wait()
    return keeper, timeouts


async def test_it_renews_at_a_third(time: Time) -> None:
    keeper, timeouts = await keep(time, None, None, None)
    assert not keeper.lost
    assert set(time.sleeps) == {TTL_S / 3}
    assert set(timeouts) == {TTL_S / 3}
    await keeper.stop()


async def test_a_refusal_that_is_final_is_told_at_once(time: Time) -> None:
    keeper, timeouts = await keep(time, None, lost("lock_not_held", 409))
    await keeper.wait_lost()
    assert (keeper.lost, keeper.reason, len(timeouts)) == (True, "lock_not_held", 2)
    await keeper.stop()


async def test_failures_are_borne_until_its_time_is_over(time: Time) -> None:
    keeper, timeouts = await keep(time, ConnectionFailure("lost"), lost("no_leader", 503), None, None)
    assert not keeper.lost
    assert timeouts[1] <= TTL_S / 3
    await keeper.stop()


async def test_without_a_renewal_in_time_it_may_be_over(time: Time) -> None:
    keeper, _ = await keep(time, ConnectionFailure("lost"))
    await keeper.wait_lost()
    # From when the last one was SENT that succeeded: here, from the grant.
    assert time.now - 100.0 == TTL_S
    assert keeper.reason == "ConnectionFailure"
    await keeper.stop()
