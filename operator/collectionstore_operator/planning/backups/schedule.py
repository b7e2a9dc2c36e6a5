"""What is to be done for a schedule: the backup that is due, retention, the archive, and the drill. Pure.

Invariants:
- a time of the schedule has one backup: its name is derived from that time, and a time is never gone back to;
- no backup is created while another one of the schedule is active; of several times that were missed the last counts;
- the repository is pruned only behind a backup that is complete, once for each;
- no backup is deleted while one is restored in place, or spec.restore names one: it may be all that there is;
- nothing is created while the cluster or a Job cannot be read, or the schedule's expressions are invalid;
- nothing is created while the cluster is to be hibernated; when it runs again, the last time that was missed counts;
- backups of a cluster of another ID, such as before a recovery, count for nothing, and are never deleted: a backup of
  the present one is made at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from collectionstore_operator.model.backups.actions import (
    AdmitBackups,
    ApplyArchive,
    BackupAction,
    BackupPlan,
    CreateBackup,
    ForgetBackup,
    RemoveArchive,
    RemoveRun,
    StartRun,
)
from collectionstore_operator.model.backups.assessment import ScheduleView
from collectionstore_operator.model.backups.observed import Archive, ClusterSeen, Run, ScheduleObserved
from collectionstore_operator.model.observed import Absent
from collectionstore_operator.model.timestamps import seconds
from collectionstore_operator.planning.backups.pace import BUSY_S, until
from collectionstore_operator.planning.backups.retention import forgotten
from collectionstore_operator.resource.backups import names
from collectionstore_operator.resource.backups.desired import Schedule

FORGET_MAX: Final = 10
"""Resources that go in one round."""


def plan_schedule(
    schedule: Schedule, observed: ScheduleObserved, view: ScheduleView, archive_digest: str
) -> BackupPlan:
    """Return what is to be done; `archive_digest` is that of the Deployment as it should be, empty for none."""
    if schedule.deleting or observed.namespace_terminating:
        # What belongs to it is collected by its owner references; its backups are resources of their own, and stay.
        return BackupPlan(wait_s=BUSY_S, done=schedule.deleting)
    actions = (
        *_archive(observed, archive_digest),
        *_ended(observed),
        *(() if schedule.spec.suspend else _runs(schedule, observed, view)),
    )
    runs = any(isinstance(one, Run) for one in (observed.prune, observed.drill))
    since = view.memory.cluster_since
    times = (observed.times.next, observed.drill_times.next, since if since > observed.now else None)
    upcoming = [one for one in times if one is not None]
    wait_s = BUSY_S if runs or actions else until(min(upcoming, default=None), observed.now)
    return BackupPlan(actions=actions, wait_s=wait_s)


def due_now(schedule: Schedule, observed: ScheduleObserved, view: ScheduleView) -> float | None:
    """Return the time of the schedule for which a backup is to be created; None if there is none."""
    created, before = seconds(schedule.created), view.memory.due
    if schedule.spec.immediate and before == 0.0:
        return created
    # A cluster of another ID has nothing to be restored from, and no archive, before its first backup.
    since = view.memory.cluster_since
    times = (observed.times.last, since if since <= observed.now else None)
    return max((one for one in times if one is not None and one > max(created, before)), default=None)


def _runs(schedule: Schedule, observed: ScheduleObserved, view: ScheduleView) -> Iterator[BackupAction]:
    if not _reachable(observed) or observed.invalid:
        return
    due = due_now(schedule, observed, view)
    if due is not None and view.active is None:
        yield CreateBackup(name=names.scheduled_backup(schedule.name, due), due=due, reason="it is due")
    kept = _restoring(observed)
    if not kept:
        yield from _prune(schedule, observed, view)
    yield from _drill(schedule, observed, view)
    own = [] if kept else [one for one in observed.backups if one.cluster_id in ("", view.memory.cluster_id)]
    for one in forgotten(own, schedule.spec.retention, observed.now)[:FORGET_MAX]:
        yield ForgetBackup(name=one.backup.name, uid=one.backup.uid, reason="retention keeps newer ones in place of it")


def _reachable(observed: ScheduleObserved) -> bool:
    return isinstance(observed.cluster, ClusterSeen) and observed.cluster.readable


def _restoring(observed: ScheduleObserved) -> bool:
    return isinstance(observed.cluster, ClusterSeen) and observed.cluster.restoring


def _prune(schedule: Schedule, observed: ScheduleObserved, view: ScheduleView) -> Iterator[BackupAction]:
    newest = view.success
    if schedule.spec.retention is None or newest is None or view.memory.pruned == newest.backup.name:
        return
    if isinstance(observed.prune, Absent):
        yield AdmitBackups(reason="the pod of the retention must reach the repository")
        yield StartRun(
            task="prune",
            name=names.job(schedule.name, schedule.uid, "prune"),
            subject=newest.backup.name,
            reason=f"{newest.backup.name} is complete: retention decides which older ones stay",
        )


def _drill(schedule: Schedule, observed: ScheduleObserved, view: ScheduleView) -> Iterator[BackupAction]:
    last = observed.drill_times.last
    if schedule.spec.drill is None or view.success is None or last is None:
        return
    if last > max(view.memory.drilled, seconds(schedule.created)) and isinstance(observed.drill, Absent):
        yield AdmitBackups(reason="the pod of the drill must reach the repository")
        yield StartRun(
            task="drill",
            name=names.job(schedule.name, schedule.uid, "drill"),
            subject=str(int(last)),
            reason="a restore drill is due",
        )


def _ended(observed: ScheduleObserved) -> Iterator[BackupAction]:
    """Remove Jobs whose end is in the status by now, which is published before any action."""
    for run in (observed.prune, observed.drill):
        if isinstance(run, Run) and run.state != "Active":
            yield RemoveRun(name=run.name, uid=run.uid, reason="it has ended, and its result is in the status")


def _archive(observed: ScheduleObserved, digest: str) -> Iterator[BackupAction]:
    found = observed.archive
    if not digest:
        if isinstance(found, Archive):
            asleep = isinstance(observed.cluster, ClusterSeen) and observed.cluster.hibernated
            reason = "the cluster is hibernated" if asleep else "spec.archive is false"
            yield RemoveArchive(uid=found.uid, reason=reason)
        return
    if isinstance(found, Absent) or (isinstance(found, Archive) and found.digest != digest):
        yield AdmitBackups(reason="the pod of the archive must reach the cluster and the repository")
        yield ApplyArchive(digest=digest, reason="the log is archived")
    elif observed.admitted is False:
        yield AdmitBackups(reason="the NetworkPolicy of the archive is not as it should be")
