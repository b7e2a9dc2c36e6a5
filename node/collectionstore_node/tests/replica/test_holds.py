"""What of a tick's delay is the loop's own. A tick every 0.05 s; times in seconds."""

from __future__ import annotations

import sys
import time

import pytest

from collectionstore_node.replica.health import run_queue
from collectionstore_node.replica.health.run_queue import Holds, RunQueue

TICK_S = 0.05


def holds() -> Holds:
    """Return one whose last tick was at 100, when 7 s were waited."""
    made = Holds(TICK_S)
    made.tick(100.0, 0.0, 7.0)
    return made


@pytest.mark.parametrize(
    ("lag", "waited", "held"),
    [
        (0.0, 0.0, 0.0),
        (0.08, 0.0, 0.08),
        (0.08, 0.03, 0.05),
        (0.08, 0.08, 0.0),
        (0.08, 0.2, 0.0),
    ],
)
def test_the_time_that_the_thread_waited_is_not_held(lag: float, waited: float, held: float) -> None:
    assert holds().tick(100.0 + TICK_S + lag, lag, 7.0 + waited) == pytest.approx(held)


def test_what_was_waited_before_the_tick_was_due_is_not_taken_off() -> None:
    """It waited 40 ms while it was not late, then computed for 60 ms."""
    one = holds()
    assert one.due(100.048)
    one.sample(100.048, 7.04)

    assert one.tick(100.11, 0.06, 7.041) == pytest.approx(0.059)


def test_no_sample_is_taken_behind_the_time_of_the_tick_nor_too_often() -> None:
    one = holds()
    assert not one.due(100.004)
    assert one.due(100.005)
    one.sample(100.005, 7.0)
    assert not one.due(100.009)
    assert one.due(100.05)
    assert not one.due(100.051)


def test_each_tick_begins_anew() -> None:
    one = holds()
    one.tick(100.2, 0.15, 7.1)

    assert one.tick(100.3, 0.05, 7.1) == pytest.approx(0.05)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell")
def test_a_thread_that_computes_does_not_wait_for_itself() -> None:
    """Nor does one that sleeps; the waiting time never falls, and is less than what has passed."""
    queue = RunQueue()
    began, before = time.monotonic(), queue.waited_s()
    ended = time.process_time() + 0.02
    while time.process_time() < ended:
        pass
    after, passed = queue.waited_s(), time.monotonic() - began

    assert 0.0 <= after - before <= passed - 0.019


def test_where_the_kernel_does_not_tell_every_delay_is_the_loops_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_queue, "SCHEDSTAT", "/nonexistent")

    assert RunQueue().waited_s() == 0.0
