"""What is decided about a backup or a schedule, from what was observed and what was published last. No I/O.

On Kubernetes and on one machine the same: read, assess, publish the status, act.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Generic, Protocol, TypeVar

import msgspec

from collectionstore_operator.errors import InvalidResource
from collectionstore_operator.manifests.backups.work import Work, work_of_backup, work_of_schedule
from collectionstore_operator.model.backups.actions import BackupPlan
from collectionstore_operator.model.backups.assessment import assess_backup, assess_schedule
from collectionstore_operator.model.backups.observed import (
    BackupObserved,
    BackupSummary,
    ClusterSeen,
    ScheduleObserved,
    Times,
)
from collectionstore_operator.model.observed import Absent, ScheduleFreshness, Unknown
from collectionstore_operator.model.recovery import RecoveryPhase
from collectionstore_operator.model.timestamps import seconds
from collectionstore_operator.planning.backups.backup import plan_backup
from collectionstore_operator.planning.backups.schedule import plan_schedule
from collectionstore_operator.reconcile import timetable
from collectionstore_operator.resource.backups import names
from collectionstore_operator.resource.backups.desired import Backup, Schedule, parse_backup
from collectionstore_operator.resource.desired import Desired, Runtime
from collectionstore_operator.status.backups.backup_status import COMPLETE, BackupStatus, backup_status, summary_of
from collectionstore_operator.status.backups.fields import read_status
from collectionstore_operator.status.backups.schedule_fields import ScheduleStatus
from collectionstore_operator.status.backups.schedule_status import schedule_status
from collectionstore_operator.status.hibernated import HIBERNATED
from collectionstore_operator.status.published import Condition

_EXPLAINED: Final = ("Retrying", "PodWaiting")
"""Reasons whose message says what keeps a run from ending, and is gone with its pods."""


_RESTORING: Final = tuple(one.value for one in (RecoveryPhase.HALTING, RecoveryPhase.EMPTYING, RecoveryPhase.RESTORING))


class HasConditions(Protocol):
    """A status of either kind."""

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """Its conditions."""


S = TypeVar("S", bound=HasConditions)


class Decision(msgspec.Struct, Generic[S], kw_only=True):
    """What a round has decided; without a plan there is nothing to do."""

    status: S | None
    plan: BackupPlan | None = None
    plan_done: bool = False
    work: Work | None = None
    subject: str = ""
    cluster: Desired | None = None
    schedule: Schedule | None = None
    observed: ScheduleObserved | None = None


def needs_nothing(backup: Backup, previous: BackupStatus | None) -> bool:
    """Return whether a backup has ended and nothing is to be done for it: it need not be observed."""
    ended = previous is not None and previous.settled() is not None
    return ended and not backup.deleting and backup.held == (backup.spec.deletion_policy == "Delete")


def decide_backup(backup: Backup, observed: BackupObserved, previous: BackupStatus | None) -> Decision[BackupStatus]:
    """Return what the status of a backup is to be and what is to be done."""
    settled = previous.settled() if previous is not None else None
    progress = assess_backup(backup, observed, settled, _attempt(previous))
    status = backup_status(backup, observed, progress, previous)
    plan = plan_backup(backup, observed, progress, status.backup_id)
    work = backup_work(backup, observed.cluster, status)
    return Decision(status=status, plan=plan, work=work, subject=backup.name, cluster=work.cluster)


def decide_schedule(
    schedule: Schedule,
    observed: ScheduleObserved,
    previous: ScheduleStatus | None,
    archive_digest: Callable[[Work], str],
) -> Decision[ScheduleStatus]:
    """Return what the status of a schedule is to be and what is to be done.

    `archive_digest` returns the digest of what archives the log, as it should be.
    """
    view = assess_schedule(schedule, observed, (previous or ScheduleStatus()).memory())
    seen = observed.cluster if isinstance(observed.cluster, ClusterSeen) else None
    work = schedule_work(schedule, observed.cluster)
    # Behind a backup of the cluster: without one there is nothing that the log could continue.
    before = previous is not None and bool(previous.last_success_time) and not view.renewed
    begun = view.success is not None or before
    archives = schedule.spec.archive and begun and seen is not None and seen.readable
    digest = archive_digest(work) if archives else ""
    # A cluster that cannot be read says nothing about its archive: what there is stays. One that is to be
    # hibernated is archived until its members are stopped: what they have committed until then as well.
    keeps = schedule.spec.archive and (seen is None or (seen.desired.spec.asleep and not seen.hibernated))
    present = getattr(observed.archive, "digest", "")
    return Decision(
        status=schedule_status(schedule, observed, view, previous),
        plan=plan_schedule(schedule, observed, view, present if keeps else digest),
        work=work,
        subject=schedule.name,
        cluster=work.cluster,
        schedule=schedule,
        observed=observed,
    )


def backup_work(backup: Backup, cluster: ClusterSeen | Absent | Unknown, status: BackupStatus) -> Work:
    """Return what the runs of a backup need to know, also when its cluster is gone."""
    if isinstance(cluster, ClusterSeen):
        return work_of_backup(backup, cluster.desired, cluster.cluster_id, status.image)
    return work_of_backup(backup, None, status.cluster_id, status.image)


def schedule_work(schedule: Schedule, cluster: ClusterSeen | Absent | Unknown) -> Work:
    """Return what the runs and the archive of a schedule need to know."""
    seen = cluster if isinstance(cluster, ClusterSeen) else None
    return work_of_schedule(schedule, seen.desired if seen else None, seen.cluster_id if seen else "")


def cluster_seen(desired: Desired, status: Mapping[str, Any]) -> ClusterSeen:
    """Return a cluster as its published status tells of it."""
    return ClusterSeen(
        desired=desired,
        cluster_id=str(status.get("clusterID") or ""),
        initialized=bool(status.get("initialized")),
        hibernated=desired.spec.asleep and _condition(status, HIBERNATED).get("status") == "True",
        restoring=_restoring(desired, status),
        unavailable=_unavailable(_condition(status, "Available")),
    )


def _restoring(desired: Desired, status: Mapping[str, Any]) -> bool:
    """Return whether a backup of the cluster is needed, or soon may be, to restore it in place.

    What a status says of an earlier spec does not count: another backup may be named by now.
    """
    phase = (status.get("restore") or {}).get("phase") or ""
    if phase in _RESTORING:
        return True
    published = int(status.get("observedGeneration") or 0) >= desired.generation
    return desired.spec.restore is not None and not (phase == RecoveryPhase.FINISHED.value and published)


def _condition(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = next((one for one in status.get("conditions") or () if one.get("type") == kind), {})
    return found


def _unavailable(available: Mapping[str, Any]) -> str:
    if available.get("status") != "False":
        return ""
    return f"{available.get('reason', 'Unknown')}: {available.get('message', '')}".rstrip(": ")


def summaries(
    schedule: Schedule, bodies: list[dict[str, Any]], runtime: Runtime = Runtime.KUBERNETES
) -> tuple[BackupSummary, ...]:
    """Return the backups of a schedule, of those that carry its label, in the order of their times."""
    found = []
    for body in bodies:
        try:
            backup = parse_backup(body, runtime)
        except InvalidResource:
            continue  # not one of ours: what a schedule creates is valid
        if backup.spec.cluster_name == schedule.spec.cluster_name:
            found.append(summary_of(backup, _due(body), read_status(body, BackupStatus)))
    return tuple(sorted(found, key=lambda one: (one.due, one.backup.name)))


def times_of(schedule: Schedule, now: float) -> tuple[Times, Times, str]:
    """Return when backups and drills are due, and why the expressions cannot be read."""
    spec = schedule.spec
    try:
        main = timetable.due(spec.schedule, spec.time_zone, now)
        drill = timetable.due(spec.drill, spec.time_zone, now) if spec.drill is not None else timetable.Due(None, None)
    except timetable.InvalidTimetable as error:
        return Times(), Times(), str(error)
    return Times(last=main.last, next=main.next), Times(last=drill.last, next=drill.next), ""


def _due(body: Mapping[str, Any]) -> float:
    """Return the time that a backup was made for; of another one that carries the label, its creation."""
    told = (body["metadata"].get("annotations") or {}).get(names.DUE, "")
    return float(told) if told.isdigit() else seconds(body["metadata"]["creationTimestamp"])


def _attempt(previous: BackupStatus | None) -> str:
    """Return what was published of the attempt before."""
    found = previous.condition(COMPLETE) if previous is not None else None
    return found.message if found is not None and found.reason in _EXPLAINED else ""


def freshness(schedules: Iterable[Mapping[str, Any]]) -> tuple[ScheduleFreshness, ...]:
    """Return the schedules of a cluster, by name, as its condition BackupReady sees them."""
    return tuple(sorted(map(_freshness, schedules), key=lambda one: one.name))


def _freshness(body: Mapping[str, Any]) -> ScheduleFreshness:
    told = _condition(body.get("status") or {}, "BackupFresh")
    return ScheduleFreshness(
        name=body["metadata"]["name"],
        fresh=told.get("status", "Unknown"),
        reason=told.get("reason", "NotObserved"),
        message=told.get("message", "the schedule has no status yet"),
    )
