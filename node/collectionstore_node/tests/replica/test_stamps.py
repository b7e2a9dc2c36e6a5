"""The time that leaders stamp: measured since they lead, whatever any clock of the day says."""

from __future__ import annotations

from collectionstore_node.raft.messages import Term
from collectionstore_node.replica.consensus.stamps import Stamps
from collectionstore_node.statemachine.header import TIME_STEP_MAX_MS
from collectionstore_node.statemachine.levels import BOUNDED, FIRST

HOUR_MS = 3_600_000


class Applied:
    """What a member has applied."""

    def __init__(self) -> None:
        self.level = BOUNDED
        self.time_ms = 0


class Clocks:
    """Clocks that a test sets."""

    def __init__(self) -> None:
        self.wall_ms = 1_700_000_000_000
        self.now = 500.0


def stamps(applied: Applied, clocks: Clocks) -> Stamps:
    return Stamps(applied, wall_ms=lambda: clocks.wall_ms, clock=lambda: clocks.now)


def test_time_of_day_has_no_effect() -> None:
    """25 hours ahead, 25 hours behind: the stamps go on from the applied time by what has passed."""
    applied, clocks = Applied(), Clocks()
    applied.time_ms = 7_000
    made, found = stamps(applied, clocks), []
    for jump_ms in (0, 25 * HOUR_MS, -50 * HOUR_MS):
        clocks.wall_ms += jump_ms
        clocks.now += 1.5
        found.append(made.time_ms(Term(3), BOUNDED))
    assert found == [7_000, 8_500, 10_000]


def test_each_leader_begins_where_the_state_is() -> None:
    """Also one that has led before: what its clock measured while others led is not added to what they measured."""
    applied, clocks = Applied(), Clocks()
    made = stamps(applied, clocks)
    assert made.time_ms(Term(1), BOUNDED) == 0
    applied.time_ms, clocks.now = 2_000, clocks.now + 3_600
    assert made.time_ms(Term(5), BOUNDED) == 2_000
    clocks.now += 1
    assert made.time_ms(Term(5), BOUNDED) == 3_000


def test_a_leader_that_was_idle_makes_up_for_one_step() -> None:
    """More would be made up by its next entries, and what is written in between would expire early."""
    applied, clocks = Applied(), Clocks()
    made = stamps(applied, clocks)
    assert made.time_ms(Term(1), BOUNDED) == 0
    clocks.now += 3_600
    assert [made.time_ms(Term(1), BOUNDED) for _ in range(3)] == [TIME_STEP_MAX_MS] * 3
    applied.time_ms, clocks.now = TIME_STEP_MAX_MS, clocks.now + 1
    assert made.time_ms(Term(1), BOUNDED) == TIME_STEP_MAX_MS + 1_000


def test_level_1_has_the_time_of_day() -> None:
    clocks = Clocks()
    assert stamps(Applied(), clocks).time_ms(Term(1), FIRST) == clocks.wall_ms
