"""What counts as stuck, since when, and that one trouble is not told as two. A limit of 0.3 s, a tick every 0.03 s."""

from __future__ import annotations

import pytest

from collectionstore_node.replica.health.watchdog import Finding, Stall, Verdict, Watchdog


def watchdog(*, ticked: float | None = 100.0) -> Watchdog:
    """Return one that has seen its first tick."""
    made = Watchdog(limit_s=0.3, tick_s=0.03)
    if ticked is not None:
        made.tick(ticked)
    return made


def kinds(verdict: Verdict) -> tuple[list[Stall], list[Stall]]:
    """Return what began and what ended."""
    return [one.stall for one in verdict.began], [one.stall for one in verdict.ended]


# Pauses


@pytest.mark.parametrize("now", [100.0, 100.03, 100.32])
def test_tick_that_is_late_by_less_than_the_limit_is_no_pause(now: float) -> None:
    assert watchdog().pause(now) is None


def test_pause_is_told_once_and_as_long_as_the_tick_was_late() -> None:
    dog = watchdog()
    paused = dog.pause(110.0)
    assert paused is not None
    assert paused.stall is Stall.EVENT_LOOP
    assert paused.seconds == pytest.approx(9.97)
    assert dog.pause(110.0) is None
    assert dog.tick(110.0) == pytest.approx(9.97), "the tick itself is as late as it is"
    assert dog.pause(110.03) is None


def test_no_pause_before_the_first_tick() -> None:
    """Opening a large data directory takes time, and nobody counts on this member yet."""
    dog = watchdog(ticked=None)
    assert dog.pause(1e9) is None
    assert dog.tick(1e9) == 0.0


def test_early_tick_is_not_late() -> None:
    assert watchdog().tick(100.01) == 0.0


# Syncs


def test_hanging_sync_is_told_when_it_begins_and_when_it_ends() -> None:
    dog = watchdog()
    assert dog.judge(100.3, sync_age_s=0.3, committed=0, applied=0) == Verdict()
    assert dog.judge(100.4, sync_age_s=0.4, committed=0, applied=0).began == (Finding(Stall.FSYNC, 0.4),)
    assert dog.disk_hangs
    assert dog.judge(105.0, sync_age_s=5.0, committed=0, applied=0) == Verdict()
    (ended,) = dog.judge(106.0, sync_age_s=None, committed=0, applied=0).ended
    assert ended.stall is Stall.FSYNC
    assert ended.seconds == pytest.approx(6.0)
    assert not dog.disk_hangs


def test_next_sync_ends_the_hanging_one() -> None:
    """Syncs follow each other without a pause under load: a tick may never see a moment without one."""
    dog = watchdog()
    dog.judge(101.0, sync_age_s=1.0, committed=0, applied=0)
    assert kinds(dog.judge(101.03, sync_age_s=0.001, committed=0, applied=0)) == ([], [Stall.FSYNC])


def test_pause_is_not_blamed_on_the_disk() -> None:
    """A process stopped for ten seconds within a sync of a millisecond."""
    dog = watchdog()
    assert dog.pause(110.0) is not None
    dog.tick(110.0)
    assert dog.judge(110.0, sync_age_s=10.0, committed=0, applied=0) == Verdict()
    assert kinds(dog.judge(110.31, sync_age_s=10.31, committed=0, applied=0)) == ([Stall.FSYNC], [])


# Applying


def test_committed_entries_that_are_not_applied_are_a_stall() -> None:
    dog = watchdog()
    assert dog.judge(100.0, sync_age_s=None, committed=8, applied=7) == Verdict()
    assert dog.judge(100.3, sync_age_s=None, committed=9, applied=7) == Verdict()
    assert kinds(dog.judge(100.4, sync_age_s=None, committed=9, applied=7)) == ([Stall.APPLY], [])
    assert kinds(dog.judge(100.5, sync_age_s=None, committed=9, applied=9)) == ([], [Stall.APPLY])


def test_long_replay_that_goes_on_is_no_stall() -> None:
    """However much there is to apply: what counts is that some of it was."""
    dog = watchdog()
    for step in range(100):
        now = 100.0 + 0.2 * step
        assert dog.judge(now, sync_age_s=None, committed=10_000, applied=10 * step) == Verdict()


def test_what_waits_for_a_hanging_sync_is_not_told_twice() -> None:
    """Nothing is applied while the driver waits for the disk."""
    dog = watchdog()
    for step in range(20):
        verdict = dog.judge(100.0 + step, sync_age_s=0.1 + step, committed=8, applied=7)
        assert kinds(verdict)[0] in ([], [Stall.FSYNC])
    assert kinds(dog.judge(120.0, sync_age_s=None, committed=8, applied=7)) == ([], [Stall.FSYNC])
    assert kinds(dog.judge(120.4, sync_age_s=None, committed=8, applied=7)) == ([Stall.APPLY], [])


def test_pause_is_not_blamed_on_the_state_machine() -> None:
    dog = watchdog()
    dog.judge(100.0, sync_age_s=None, committed=8, applied=7)
    assert dog.pause(110.0) is not None
    dog.tick(110.0)
    assert dog.judge(110.0, sync_age_s=None, committed=8, applied=7) == Verdict()


def test_slow_application_is_told_and_is_no_pause_as_well() -> None:
    """It ran on the event loop, so the tick behind it is late too."""
    dog = watchdog()
    assert dog.applied_in(100.2, 0.2) is None
    assert dog.applied_in(101.0, 0.8) == Finding(Stall.APPLY, 0.8)
    assert dog.pause(101.0) is None
    assert dog.tick(101.0) == pytest.approx(0.97)
