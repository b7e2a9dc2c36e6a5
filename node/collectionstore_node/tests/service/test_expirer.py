"""The expirer: an entry as soon as something is due, in steps, on the leader alone, and none without need."""

from __future__ import annotations

import asyncio
from itertools import count

import pytest
import structlog.testing

from collectionstore_node.errors import ManyDeleted, NotLeader, OutcomeUnknown
from collectionstore_node.service import Expirer
from collectionstore_node.service.expirer import LOOK_S, RETRY_S, TICK_S, TOLD
from collectionstore_node.statemachine.commands import Expire, Expiring, GrantLease
from collectionstore_node.statemachine.costs import EXPIRE_ITEMS
from collectionstore_node.statemachine.expiry_queue import is_there, next_deadline_ms, read_summary
from collectionstore_node.statemachine.header import read_header
from collectionstore_node.statemachine.keys import DUE_RECORDS, EXPIRY
from collectionstore_node.statemachine.view import View
from collectionstore_node.tests.api.memory_replica import ME, MemoryReplica
from collectionstore_node.tests.statemachine.expiring import at, check, value

TTL = 5_000


class Series:
    """Implements `ExpirySeries`."""

    def __init__(self) -> None:
        self.shown: tuple[int, int] = (-1, -1)
        self.late: list[float] = []
        self.total = 0

    def queued(self, records: int, leases: int) -> None:
        self.shown = records, leases

    def overdue(self, seconds: float) -> None:
        self.late.append(seconds)

    def expired(self, records: int) -> None:
        self.total += records


class Bench:
    """An expirer over a replica in memory; every look at the clock is a quarter of a second later."""

    def __init__(self) -> None:
        self.replica = MemoryReplica()
        self.series = Series()
        self.slept: list[float] = []
        self.naps = 1_000
        ticks = count()
        self.expirer = Expirer(self.replica, self.series, lambda: next(ticks) / 4, self._sleep)

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.naps -= 1
        if self.naps < 0:
            raise asyncio.CancelledError

    def put(self, number: int, ttl_ms: int = TTL, prefix: str = "k") -> None:
        for first in range(0, number, 1_000):
            names = range(first, min(number, first + 1_000))
            at(self.replica.view, self.replica.now_ms, *(Expiring(value(f"{prefix}{one}"), ttl_ms) for one in names))

    @property
    def steps(self) -> int:
        assert all(isinstance(one.action, Expire) for one in self.replica.proposed)
        return len(self.replica.proposed)


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_a_store_in_which_nothing_expires_costs_nothing(bench: Bench) -> None:
    at(bench.replica.view, 0, value("k"))
    bench.replica.now_ms = 1_000_000_000
    for _ in range(10):
        assert await bench.expirer.look() == LOOK_S
    assert bench.steps == 0
    assert bench.series.shown == (0, 0)


async def test_it_wakes_when_the_first_deadline_has_passed(bench: Bench) -> None:
    bench.put(1)
    bench.put(1, 60_000, "later")
    bench.replica.now_ms = TTL - 299
    assert await bench.expirer.look() == pytest.approx(0.3)
    assert bench.steps == 0
    bench.replica.now_ms = TTL + 1
    assert await bench.expirer.look() == LOOK_S
    assert bench.steps == 1
    assert is_there(bench.replica.view) is None
    assert (bench.series.shown, bench.series.total) == ((1, 0), 1)
    check(bench.replica.view)


async def test_many_that_expire_together_go_in_steps_with_pauses(bench: Bench) -> None:
    bench.put(TOLD + EXPIRE_ITEMS)
    bench.replica.now_ms = TTL + 1
    with structlog.testing.capture_logs() as logs:
        await bench.expirer.look()
    assert bench.steps == -(-(TOLD + EXPIRE_ITEMS) // EXPIRE_ITEMS)
    assert bench.slept == [0.25] * bench.steps
    assert bench.series.total == TOLD + EXPIRE_ITEMS
    assert [one["event"] for one in logs] == ["expiry.many"]
    check(bench.replica.view)


async def test_a_lease_that_ends_is_removed(bench: Bench) -> None:
    at(bench.replica.view, 0, GrantLease(TTL))
    at(bench.replica.view, 0, Expiring(value("k"), lease=1))
    await bench.expirer.look()
    assert bench.series.shown == (0, 1)
    bench.replica.now_ms = TTL + 1
    await bench.expirer.look()
    assert bench.series.shown == (0, 0)
    assert bench.steps == 1


async def test_time_goes_on_while_something_will_expire(bench: Bench) -> None:
    """An entry every ten seconds: what passes behind the last one is lost when another member takes over."""
    bench.put(1, 3_600_000)
    bench.replica.now_ms = int(TICK_S * 1000) - 1
    assert await bench.expirer.look() == LOOK_S
    assert bench.steps == 0
    bench.replica.now_ms += 1
    await bench.expirer.look()
    assert bench.steps == 1
    assert read_header(bench.replica.view).time_ms == bench.replica.now_ms
    assert read_summary(bench.replica.view).queued == 1


async def test_a_follower_proposes_nothing_and_the_next_leader_goes_on(bench: Bench) -> None:
    bench.put(2 * EXPIRE_ITEMS)
    bench.replica.now_ms = TTL + 1
    bench.replica.known_leader = None
    assert await bench.expirer.look() == LOOK_S
    assert bench.steps == 0
    assert bench.series.total == 0
    bench.replica.known_leader = ME
    await bench.expirer.look()
    assert bench.steps == 2
    assert bench.series.total == 2 * EXPIRE_ITEMS


@pytest.mark.parametrize("error", [NotLeader(), OutcomeUnknown("late")])
async def test_it_goes_on_after_a_failed_step(bench: Bench, error: Exception) -> None:
    bench.put(1)
    bench.replica.now_ms = TTL + 1
    bench.replica.write_error = error
    bench.naps = 1
    with pytest.raises(asyncio.CancelledError):
        await bench.expirer.run()
    assert bench.slept[0] == RETRY_S
    bench.replica.write_error, bench.naps = None, 9
    await bench.expirer.look()
    assert bench.steps == 1


async def test_the_queue_begins_behind_what_was_renewed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step moves its beginning at a fraction of what reclaiming takes; that is for what a step does not help."""
    refusals = [True, False]

    def refuse(view: View) -> int | None:
        if refusals.pop(0):
            raise ManyDeleted(lo=EXPIRY, hi=EXPIRY + b"\xff")
        return next_deadline_ms(view)

    monkeypatch.setattr("collectionstore_node.service.expirer.next_deadline_ms", refuse)
    bench.put(1, 60_000)
    await bench.expirer.look()
    assert bench.steps == 1
    assert bench.replica.reclaimed == []
    assert read_summary(bench.replica.view).records_from > DUE_RECORDS

    refusals[:] = [True, True]
    bench.naps = 1
    with pytest.raises(asyncio.CancelledError):
        await bench.expirer.run()
    assert bench.steps == 2
    assert bench.replica.reclaimed == [(EXPIRY, EXPIRY + b"\xff")]


async def test_a_step_comes_however_busy_the_store_is(bench: Bench) -> None:
    """Other entries advance the time as well; but what they renew is passed by a step only."""
    bench.put(1, 3_600_000)
    for second in range(1, 4 * int(TICK_S) + 4):
        bench.replica.now_ms = second * 1_000
        bench.put(1, 3_600_000)
        await bench.expirer.look()
    # The clock of the bench moves a quarter of a second by each look.
    assert bench.steps == 1
    assert read_summary(bench.replica.view).records_from > DUE_RECORDS
