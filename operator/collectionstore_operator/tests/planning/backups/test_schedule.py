"""Plans for a schedule: what is due, missed, forbidden, kept, drilled, and archived."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectionstore_operator.model.backups.actions import (
    ApplyArchive,
    BackupPlan,
    CreateBackup,
    ForgetBackup,
    RemoveArchive,
    StartRun,
)
from collectionstore_operator.model.backups.assessment import Memory, assess_schedule
from collectionstore_operator.model.backups.observed import Archive, ScheduleObserved, Times
from collectionstore_operator.model.observed import ABSENT, Unknown
from collectionstore_operator.model.timestamps import rfc3339
from collectionstore_operator.planning.backups.retention import FAILED_KEPT, KEPT_MAX, forgotten
from collectionstore_operator.planning.backups.schedule import plan_schedule
from collectionstore_operator.reconcile import timetable
from collectionstore_operator.resource.backups.desired import Schedule
from collectionstore_operator.resource.backups.specs import Retention
from collectionstore_operator.tests.planning.backups.scenes import (
    ASLEEP,
    CLUSTER,
    START,
    a_run,
    a_schedule,
    a_summary,
    drilled,
    failed,
    of_schedule,
    succeeded,
)


def plan(schedule: Schedule, observed: ScheduleObserved, memory: Memory | None = None, digest: str = "") -> BackupPlan:
    view = assess_schedule(schedule, observed, memory or Memory())
    return plan_schedule(schedule, observed, view, digest)


def names(planned: BackupPlan) -> list[str]:
    return [type(one).__name__ for one in planned.actions]


def created(planned: BackupPlan) -> list[CreateBackup]:
    return [one for one in planned.actions if isinstance(one, CreateBackup)]


DUE = Times(last=START + 7_200, next=START + 10_800)


def test_nothing_is_made_before_the_first_time() -> None:
    assert created(plan(a_schedule(), of_schedule())) == []


def test_a_time_that_was_reached_has_one_backup() -> None:
    observed = of_schedule(times=DUE, now=START + 7_205)
    (one,) = created(plan(a_schedule(), observed))
    assert one.due == START + 7_200
    assert one.name == f"daily-{int(START + 7_200) // 60}"
    again = of_schedule(times=DUE, now=START + 7_206, backups=(a_summary(2),))
    assert created(plan(a_schedule(), again)) == []


def test_a_time_is_not_gone_back_to_when_its_backup_was_deleted() -> None:
    observed = of_schedule(times=DUE, now=START + 7_300)
    assert created(plan(a_schedule(), observed, Memory(due=START + 7_200))) == []


def test_of_several_missed_times_the_last_is_made_up_for() -> None:
    """The operator was down for a day, and runs are hourly."""
    late = Times(last=START + 86_400, next=START + 90_000)
    observed = of_schedule(times=late, now=START + 86_500, backups=(a_summary(1),))
    (one,) = created(plan(a_schedule(), observed))
    assert one.due == START + 86_400


def test_no_backup_begins_while_another_one_of_the_schedule_runs() -> None:
    observed = of_schedule(times=DUE, backups=(a_summary(1, state="Active"),))
    assert created(plan(a_schedule(), observed)) == []
    ended = of_schedule(times=DUE, backups=(a_summary(1),))
    assert [one.due for one in created(plan(a_schedule(), ended))] == [START + 7_200]


def test_immediate_makes_the_first_backup_at_once_and_only_the_first() -> None:
    (one,) = created(plan(a_schedule(immediate=True), of_schedule()))
    assert one.due == START
    made = of_schedule(backups=(a_summary(0),))
    assert created(plan(a_schedule(immediate=True), made)) == []
    assert created(plan(a_schedule(immediate=True), of_schedule(), Memory(due=START))) == []


@pytest.mark.parametrize(
    ("schedule", "observed"),
    [
        (a_schedule(suspend=True), of_schedule(times=DUE)),
        (a_schedule(deleting=True), of_schedule(times=DUE)),
        (a_schedule(), of_schedule(times=DUE, cluster=ABSENT)),
        (a_schedule(), of_schedule(times=DUE, cluster=Unknown("x"))),
        (a_schedule(), of_schedule(times=DUE, cluster=ASLEEP)),
        (a_schedule(), of_schedule(times=DUE, namespace_terminating=True)),
        (a_schedule(), of_schedule(times=Times(), invalid="'x' has not 5 fields")),
    ],
    ids=["suspended", "deleting", "no cluster", "unknown", "hibernated", "terminating", "invalid"],
)
def test_nothing_is_made_when(schedule: Schedule, observed: ScheduleObserved) -> None:
    assert created(plan(schedule, observed)) == []


def test_repository_is_pruned_once_behind_each_complete_backup() -> None:
    schedule = a_schedule(retention=Retention())
    observed = of_schedule(backups=(a_summary(1),))
    start = plan(schedule, observed).actions[-1]
    assert isinstance(start, StartRun)
    assert (start.task, start.subject) == ("prune", "daily-1")
    assert names(plan(schedule, of_schedule(backups=(a_summary(1),), prune=a_run()))) == []
    ended = of_schedule(backups=(a_summary(1),), prune=succeeded("{}", subject="daily-1"))
    assert names(plan(schedule, ended)) == ["RemoveRun"]
    assert names(plan(schedule, observed, Memory(pruned="daily-1"))) == []


def test_prune_that_failed_is_not_repeated_before_the_next_backup() -> None:
    schedule = a_schedule(retention=Retention())
    ended = of_schedule(backups=(a_summary(1),), prune=failed("StoreUnreachable", subject="daily-1"))
    assert names(plan(schedule, ended)) == ["RemoveRun"]
    view = assess_schedule(schedule, ended, Memory())
    assert (view.memory.pruned, view.pruned is not None and view.pruned.reason) == ("daily-1", "StoreUnreachable")


def test_nothing_is_pruned_without_a_retention_or_behind_a_failed_backup() -> None:
    assert names(plan(a_schedule(), of_schedule(backups=(a_summary(1),)))) == []
    failed_one = of_schedule(backups=(a_summary(1, state="Failed"),))
    assert names(plan(a_schedule(retention=Retention()), failed_one)) == []


DRILL = Times(last=START + 7_000, next=START + 90_000)


def test_drill_that_is_due_runs_once() -> None:
    schedule = a_schedule(drill="0 4 * * 0")
    observed = of_schedule(backups=(a_summary(1),), drill_times=DRILL)
    start = plan(schedule, observed).actions[-1]
    assert isinstance(start, StartRun)
    assert (start.task, start.subject) == ("drill", str(int(START + 7_000)))
    running = of_schedule(backups=(a_summary(1),), drill_times=DRILL, drill=a_run())
    assert names(plan(schedule, running)) == []
    assert names(plan(schedule, observed, Memory(drilled=START + 7_000))) == []


def test_drill_waits_for_a_backup() -> None:
    assert names(plan(a_schedule(drill="0 4 * * 0"), of_schedule(drill_times=DRILL))) == []


def test_drill_that_ended_is_remembered_and_removed() -> None:
    schedule = a_schedule(drill="0 4 * * 0")
    run = succeeded(drilled(), subject=str(int(START + 7_000)))
    observed = of_schedule(backups=(a_summary(1),), drill_times=DRILL, drill=run)
    assert names(plan(schedule, observed)) == ["RemoveRun"]
    assert assess_schedule(schedule, observed, Memory()).memory.drilled == START + 7_000


def test_archive_is_applied_changed_and_removed() -> None:
    schedule = a_schedule(archive=True)
    present = Archive(uid="a-1", digest="d1", available=True)
    assert isinstance(plan(schedule, of_schedule(), digest="d1").actions[-1], ApplyArchive)
    assert names(plan(schedule, of_schedule(archive=present), digest="d1")) == []
    assert isinstance(plan(schedule, of_schedule(archive=present), digest="d2").actions[-1], ApplyArchive)
    assert isinstance(plan(a_schedule(), of_schedule(archive=present)).actions[0], RemoveArchive)
    assert names(plan(schedule, of_schedule(archive=Unknown("x")), digest="d1")) == []


def test_no_prune_and_no_drill_begin_while_the_cluster_is_hibernated() -> None:
    schedule = a_schedule(retention=Retention(), drill="0 4 * * 0")
    observed = of_schedule(backups=(a_summary(1),), drill_times=DRILL)
    assert names(plan(schedule, observed)).count("StartRun") == 2
    assert names(plan(schedule, msgspec.structs.replace(observed, cluster=ASLEEP))) == []


def test_no_backup_is_deleted_while_one_is_to_be_restored() -> None:
    """The cluster may be stopped for it already, and that backup be all that there is."""
    schedule = a_schedule(retention=Retention(keep_last=1, keep_within="1h"))
    observed = of_schedule(backups=(a_summary(1), a_summary(2)), now=START + 1e6)
    assert {"StartRun", "ForgetBackup"} <= set(names(plan(schedule, observed)))
    restoring = msgspec.structs.replace(observed, cluster=msgspec.structs.replace(CLUSTER, restoring=True))
    assert not {"StartRun", "ForgetBackup"} & set(names(plan(schedule, restoring)))


def test_archive_goes_on_while_suspended() -> None:
    schedule = a_schedule(archive=True, suspend=True)
    assert "ApplyArchive" in names(plan(schedule, of_schedule(), digest="d1"))


def test_loop_looks_again_when_the_next_time_is_reached() -> None:
    soon = of_schedule(times=Times(last=START - 60, next=START + 30), now=START + 10)
    assert plan(a_schedule(), soon).wait_s == 20
    later = of_schedule(now=START + 10)
    assert plan(a_schedule(), later).wait_s == 60


def test_kept_are_the_newest_and_the_young() -> None:
    backups = [a_summary(number) for number in range(10)]
    now = START + 10 * 3_600
    assert [one.due for one in forgotten(backups, Retention(keep_last=3), now)] == [one.due for one in backups[:7]]
    young = forgotten(backups, Retention(keep_last=1, keep_within="5h"), now)
    assert [one.due for one in young] == [one.due for one in backups[:5]]


@given(
    states=st.lists(st.sampled_from(["Complete", "Failed", "Active"]), max_size=130),
    last=st.integers(1, 1_000),
    within=st.sampled_from(["0s", "3h", "900d"]),
)
def test_newest_complete_and_running_backups_are_never_forgotten(states: list[Any], last: int, within: str) -> None:
    backups = [a_summary(number, state=state) for number, state in enumerate(states)]
    gone = {one.due for one in forgotten(backups, Retention(keep_last=last, keep_within=within), START + 1e6)}
    complete = [one.due for one in backups if one.state == "Complete"]
    kept = [due for due in complete if due not in gone]
    assert complete[-1:] == kept[-1:]
    assert kept[-min(last, KEPT_MAX) :] == complete[-min(last, KEPT_MAX) :]
    assert len(kept) <= max(KEPT_MAX, 0)
    assert not gone & {one.due for one in backups if one.state == "Active"}
    assert sum(one.state == "Failed" and one.due not in gone for one in backups) <= FAILED_KEPT


def test_forgotten_backups_go_a_few_at_a_time() -> None:
    backups = tuple(a_summary(number) for number in range(40))
    planned = plan(a_schedule(retention=Retention(keep_last=1)), of_schedule(backups=backups, now=START + 1e6))
    assert sum(isinstance(one, ForgetBackup) for one in planned.actions) == 10


@given(
    expression=st.sampled_from(["*/5 * * * *", "0 3 * * *", "30 2 * * *", "15 4 * * 1-5", "0 0 29 2 *"]),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]),
    created_s=st.integers(0, 400 * 86_400),
    looks=st.lists(st.integers(0, 3 * 86_400), min_size=1, max_size=30),
    down=st.booleans(),
)
def test_whenever_the_operator_looks(
    expression: str, zone: str, created_s: int, looks: list[int], *, down: bool
) -> None:
    """No time has two backups, none is for a time before the schedule or the last one, and the last is never missed.

    The status may be lost between two looks: the resources of the backups are enough then.
    """
    begin = START + created_s
    schedule = a_schedule(schedule=expression, time_zone=zone, created=rfc3339(begin))
    now, memory = begin, Memory()
    made: list[float] = []
    for pause in looks:
        now += pause
        due = timetable.due(expression, zone, now)
        assert due.last is None or due.last <= now
        assert due.next is None or due.next > now
        backups = tuple(a_summary(0, due=one) for one in made)
        observed = of_schedule(now=now, times=Times(last=due.last, next=due.next), backups=backups)
        view = assess_schedule(schedule, observed, memory)
        planned = plan_schedule(schedule, observed, view, "")
        made += [one.due for one in created(planned)]
        memory = Memory() if down else view.memory
        if due.last is not None and due.last > begin:
            assert made[-1] == due.last
    assert made == sorted(set(made))
    assert all(one > begin for one in made)
