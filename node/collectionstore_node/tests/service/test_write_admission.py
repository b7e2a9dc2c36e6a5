"""The bound of writes in flight, against a simulated leader: batches, a disk, a clock that only the test moves."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import pytest

from collectionstore_node.errors import Overloaded
from collectionstore_node.service.admission import (
    LIGHT_WRITES,
    RETRY_S_MAX,
    TARGET_S,
    WRITES_MIN,
    WriteAdmission,
)

PATIENT_S = 5.0
"""The timeout of a request that names none."""


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Leader:
    """A leader that takes all waiting writes as one batch: a sync, then processor time for each."""

    each_s: float
    sync_s: float = 0.001
    batch_max: int = 1024
    writes_max: int = 1024
    refusal_s: float = 0.0
    stalled: tuple[float, float] = (math.inf, math.inf)
    """From when to when nothing is done."""
    clock: Clock = field(default_factory=Clock)
    latencies: list[tuple[float, float]] = field(default_factory=list)
    """When each write was answered, in seconds from the beginning, and how long it took."""
    refusals: list[tuple[float, float]] = field(default_factory=list)
    """When each write was refused, and after which time it may be repeated."""
    inflight_most: int = 0

    def __post_init__(self) -> None:
        self.began = self.clock.now
        self.admission = WriteAdmission(self.clock, writes_max=self.writes_max)

    def serve(self, arrivals: Iterable[tuple[float, float]]) -> None:
        """Serve writes that arrive at given seconds from the beginning, with their timeouts, until all are answered."""
        coming: Iterator[tuple[float, float]] = iter(arrivals)
        arrival = next(coming, None)
        waiting: list[float] = []
        batch: list[float] = []
        done_at = math.inf
        refusing_s = 0.0
        while arrival is not None or waiting or batch:
            at = math.inf if arrival is None else arrival[0]
            if done_at <= at:
                self.clock.now = self.began + done_at
                for entered in batch:
                    self.admission.leave(entered)
                    self.latencies.append((done_at, self.clock.now - entered))
                batch = []
            else:
                assert arrival is not None
                self.clock.now = self.began + at
                try:
                    waiting.append(self.admission.enter(arrival[1]))
                except Overloaded as error:
                    self.refusals.append((at, error.retry_after_s))
                    refusing_s += self.refusal_s
                arrival = next(coming, None)
                self.inflight_most = max(self.inflight_most, self.admission.inflight)
            if batch:
                continue
            done_at = math.inf
            if waiting:
                batch, waiting = waiting[: self.batch_max], waiting[self.batch_max :]
                now = self.clock.now - self.began
                if self.stalled[0] <= now < self.stalled[1]:
                    now = self.stalled[1]
                done_at = now + self.sync_s + refusing_s + len(batch) * self.each_s
                refusing_s = 0.0

    def goodput(self, lo: float, hi: float) -> float:
        return sum(lo <= at < hi for at, _ in self.latencies) / (hi - lo)

    def quantile(self, fraction: float, lo: float = 0.0) -> float:
        taken = sorted(seconds for at, seconds in self.latencies if at >= lo)
        return taken[min(len(taken) - 1, int(fraction * len(taken)))]

    def refused(self, lo: float, hi: float) -> int:
        return sum(lo <= at < hi for at, _ in self.refusals)


def steady(
    rate: float, seconds: float, *, begin: float = 0.0, timeout_s: float = PATIENT_S
) -> list[tuple[float, float]]:
    """Return arrivals at equal distances."""
    return [(begin + number / rate, timeout_s) for number in range(int(rate * seconds))]


@pytest.mark.parametrize("each_s", [0.0001, 0.0005, 0.003], ids=["10,000/s", "2,000/s", "333/s"])
@pytest.mark.parametrize("factor", [2.0, 5.0])
def test_at_a_multiple_of_the_peak_the_goodput_stays_and_the_time_is_bounded(each_s: float, factor: float) -> None:
    leader, peak = Leader(each_s), 1 / each_s

    leader.serve(steady(factor * peak, 12.0))

    assert leader.goodput(8.0, 12.0) > 0.9 * peak
    assert leader.quantile(0.99, lo=8.0) < 0.5
    assert leader.inflight_most <= 1024


def test_without_another_bound_it_settles_at_the_time_that_is_allowed() -> None:
    leader = Leader(0.0001, writes_max=100_000)

    leader.serve(steady(30_000, 6.0))

    assert 0.8 * TARGET_S * 10_000 < leader.admission.limit < 1.1 * TARGET_S * 10_000
    assert leader.quantile(0.5, lo=4.0) < 1.1 * TARGET_S
    assert leader.inflight_most > WRITES_MIN


def test_refusals_that_cost_a_tenth_of_a_write_leave_most_of_the_goodput() -> None:
    leader = Leader(0.0001, refusal_s=0.00001)

    leader.serve(steady(20_000, 10.0))

    assert leader.goodput(2.0, 10.0) > 0.8 * 10_000
    assert leader.quantile(0.99, lo=2.0) < 0.5


@pytest.mark.parametrize("sync_s", [0.001, 0.02, 0.12, 0.24, 0.45])
def test_a_small_cluster_is_never_refused_however_slow_its_disk_is(sync_s: float) -> None:
    leader = Leader(0.001, sync_s)

    leader.serve(steady(50, 60.0))

    assert leader.refusals == []


@pytest.mark.parametrize("sync_s", [0.1, 0.2, 0.3, 0.45])
def test_a_slow_disk_is_not_taken_for_a_queue(sync_s: float) -> None:
    """A batch of 600 costs the disk no more than one of 60: refusing would only lose throughput."""
    leader = Leader(0.00001, sync_s)

    leader.serve([*steady(20, 10.0), *steady(600, 20.0, begin=10.0)])

    assert leader.refusals == []


def test_a_burst_after_idle_time_is_let_in() -> None:
    leader = Leader(0.0002)

    leader.serve([*steady(10, 5.0), *((600.0 + burst, PATIENT_S) for burst in range(20) for _ in range(1000))])

    assert leader.refusals == []
    assert leader.admission.limit == 1024


def test_a_burst_after_an_overload_and_idle_time_is_let_in() -> None:
    leader = Leader(0.005)
    leader.serve(steady(1_000, 10.0))
    assert leader.admission.limit < 1024
    before = len(leader.refusals)

    leader.serve([(700.0, PATIENT_S)] * 500)

    assert len(leader.refusals) == before


def test_after_a_stall_of_two_seconds_nothing_is_refused_for_long() -> None:
    leader = Leader(0.0001, stalled=(5.0, 7.0))

    leader.serve(steady(4_000, 12.0))

    assert leader.inflight_most <= 1024
    assert leader.refused(0.0, 5.0) == 0
    assert leader.refused(5.0, 7.0) > 0
    assert leader.refused(7.2, 12.0) == 0
    assert leader.quantile(0.99, lo=7.5) < 0.1


def test_a_stall_on_an_idle_cluster_changes_nothing() -> None:
    leader = Leader(0.0001, stalled=(5.0, 7.0))

    leader.serve(steady(50, 30.0))

    assert leader.refusals == []
    assert leader.admission.limit == 1024
    assert leader.admission.allowed_s < TARGET_S + 0.05


def test_after_an_overload_the_bound_rises_again() -> None:
    leader = Leader(0.003, batch_max=8)

    leader.serve(steady(1_000, 5.0))
    assert leader.admission.limit < 200
    leader.each_s = 0.0001
    leader.began = leader.clock.now
    leader.refusals.clear()
    leader.serve(steady(500, 10.0))

    assert leader.admission.limit == 1024
    assert leader.refused(2.0, 10.0) == 0


def test_one_huge_batch_among_small_ones_refuses_nothing() -> None:
    """A transaction that takes half a second is no stall and no overload."""
    leader = Leader(0.0001, stalled=(5.0, 5.5))

    leader.serve(steady(1_500, 10.0))

    assert leader.refusals == []


def test_a_write_that_would_wait_past_its_deadline_is_refused_at_once() -> None:
    leader = Leader(0.002, batch_max=8)
    overload = steady(1_000, 6.0)

    leader.serve(sorted([*overload, *steady(50, 2.0, begin=4.0, timeout_s=0.05)]))

    assert leader.admission.refused["deadline"] > 20
    assert leader.admission.refused["queue"] > 0


def test_where_a_batch_takes_as_long_for_many_as_for_few_the_bound_does_not_spiral_down() -> None:
    """A busy machine: 0.3 s a batch, whatever is in it. 128 in flight would be 427 writes per second."""
    leader = Leader(0.00001, sync_s=0.3)

    leader.serve(steady(5_000, 20.0))

    assert leader.goodput(10.0, 20.0) > 1_400
    assert leader.quantile(0.99, lo=10.0) < 1.0


def test_a_leader_that_became_slower_has_a_queue_and_the_bound_is_that_of_its_rate_in_the_end() -> None:
    """A lower rate at the least bound is taken for a lost one at first; more in flight then get no more done."""
    leader = Leader(0.0002, batch_max=64)
    leader.serve(steady(8_000, 5.0))
    leader.each_s = 0.003
    leader.serve(steady(1_000, 60.0, begin=leader.clock.now - leader.began))

    assert leader.quantile(0.99, lo=leader.latencies[-1][0] - 15.0) < 0.6
    assert leader.admission.allowed_s < 0.3


def test_clients_without_deadlines_are_refused_by_the_queue_alone() -> None:
    leader = Leader(0.002, batch_max=8)

    leader.serve(steady(1_000, 6.0, timeout_s=math.inf))

    assert leader.admission.refused["deadline"] == 0
    assert leader.admission.refused["queue"] > 0
    assert leader.quantile(0.99, lo=3.0) < 0.5


def test_retry_after_follows_the_overload_and_is_spread() -> None:
    twice, tenfold = Leader(0.001), Leader(0.001)

    twice.serve(steady(2_000, 8.0))
    tenfold.serve(steady(10_000, 8.0))

    some = [after for at, after in twice.refusals if at > 4.0]
    many = [after for at, after in tenfold.refusals if at > 4.0]
    assert 1.5 < sum(some) / len(some) < 3.0
    assert 7.0 < sum(many) / len(many) < 15.0
    assert max(many) <= 1.5 * RETRY_S_MAX
    # Each tenth of the range gets about a tenth of them.
    low, high = min(some), max(some)
    tenths = [0] * 10
    for after in some:
        tenths[min(9, int((after - low) / (high - low) * 10))] += 1
    assert min(tenths) > len(some) / 40


def test_the_same_arrivals_are_answered_in_the_same_way() -> None:
    def run() -> Leader:
        leader = Leader(0.0007)
        leader.serve(steady(3_000, 5.0))
        return leader

    first, second = run(), run()

    assert first.latencies == second.latencies
    assert first.refusals == second.refusals


def test_what_leaves_without_an_outcome_makes_room_and_is_not_counted() -> None:
    clock = Clock()
    admission = WriteAdmission(clock, writes_max=2)
    admission.enter(PATIENT_S)
    admission.enter(PATIENT_S)
    for refusing in (admission.check, lambda: admission.enter(PATIENT_S)):
        with pytest.raises(Overloaded, match="2 writes are in flight"):
            refusing()

    clock.now += 60.0
    admission.abandon()

    admission.check()
    entered = admission.enter(PATIENT_S)
    admission.leave(entered)
    assert admission.inflight == 1
    assert admission.limit == 2
    assert admission.refused == {"queue": 2, "deadline": 0, "overdue": 0}


def test_a_cluster_that_loses_its_leader_for_a_second_keeps_its_bound() -> None:
    """Writes wait for the next leader; their time says nothing about it."""
    leader = Leader(0.0002, stalled=(3.0, 4.0))

    leader.serve(steady(LIGHT_WRITES * 20, 8.0))

    assert leader.refusals == []
    assert leader.admission.limit == 1024
