"""The conditions of a schedule: is there a fresh backup, can it be restored, does the archive follow. Pure."""

from __future__ import annotations

from collectionstore_operator.model.backups.assessment import STALE_INTERVALS, ScheduleView
from collectionstore_operator.model.backups.observed import ScheduleObserved
from collectionstore_operator.model.observed import Absent, Unknown
from collectionstore_operator.model.timestamps import seconds
from collectionstore_operator.resource.backups.desired import Schedule
from collectionstore_operator.status.backups.schedule_fields import HIBERNATED, ScheduleStatus
from collectionstore_operator.status.condition_state import ConditionState

AWAKE = "ClusterAwake"
LAG_AGE_MAX_S = 60.0
"""An archive that has not confirmed for so long how far the cluster is does not follow it."""


def conditions(
    schedule: Schedule, observed: ScheduleObserved, view: ScheduleView, achieved: ScheduleStatus
) -> dict[str, ConditionState]:
    """Return the state of every condition that the schedule has, the summary first; `achieved` is the status so far."""
    states = {"Accepted": accepted(observed), "BackupFresh": fresh(schedule, observed, view, achieved)}
    if schedule.spec.archive:
        states["Archiving"] = archiving(observed, asleep=view.memory.asleep)
    if schedule.spec.drill is not None:
        states["Verified"] = verified(achieved)
    if schedule.spec.retention is not None:
        states["Pruned"] = pruned(achieved)
    return {"Ready": ready(schedule, view, states), **states}


def accepted(observed: ScheduleObserved) -> ConditionState:
    """Return whether the expressions can be read."""
    if observed.invalid:
        return ConditionState("False", "InvalidTimetable", observed.invalid)
    return ConditionState("True", "Valid", "the resource is valid")


def fresh(
    schedule: Schedule, observed: ScheduleObserved, view: ScheduleView, achieved: ScheduleStatus
) -> ConditionState:
    """Return whether the newest complete backup of the cluster is younger than two intervals of the schedule."""
    if view.memory.asleep:
        kept = f"; the newest one was completed at {achieved.last_success_time}" if achieved.last_success_time else ""
        message = f"no backup is made while spec.hibernate of the cluster is true{kept}"
        return ConditionState("Unknown", HIBERNATED, message)
    interval_s = observed.times.interval_s
    if interval_s is None:
        return ConditionState("Unknown", "NoInterval", "the schedule has no next time")
    bound_s = STALE_INTERVALS * interval_s
    if not achieved.last_success_time:
        since = view.memory.cluster_since
        if observed.now - max(since, seconds(schedule.created)) > bound_s:
            begun = f"the cluster has the ID {view.memory.cluster_id}" if since else "the schedule was created"
            message = f"no backup has been completed since {begun}{_because(observed, achieved)}"
            return ConditionState("False", "NoBackup", message)
        return ConditionState("Unknown", "NoBackupYet", "the first backup has not been completed yet")
    text = f"the newest backup was completed at {achieved.last_success_time}"
    if observed.now - seconds(achieved.last_success_time) > bound_s:
        if _made_up_for(schedule, observed, view, achieved):
            message = f"the cluster runs again since {achieved.awake_since}, and a backup is made up for; {text}"
            return ConditionState("Unknown", AWAKE, message)
        return ConditionState("False", "BackupTooOld", f"{text}{_because(observed, achieved)}")
    return ConditionState("True", "BackupFresh", text)


def _made_up_for(schedule: Schedule, observed: ScheduleObserved, view: ScheduleView, achieved: ScheduleStatus) -> bool:
    """Return whether the backup after a hibernation is still to be expected: within its deadline, until it fails."""
    awake = view.memory.awake_since
    failed = achieved.last_failure_time and seconds(achieved.last_failure_time) >= awake
    within = awake > 0 and observed.now - awake <= schedule.spec.deadline_seconds
    return within and not failed and not schedule.spec.suspend


def _because(observed: ScheduleObserved, achieved: ScheduleStatus) -> str:
    cluster = observed.cluster
    if isinstance(cluster, Absent):
        return "; there is no cluster of this name"
    if isinstance(cluster, Unknown):
        return f"; the cluster cannot be read: {cluster.reason}"
    if achieved.last_failure_time > achieved.last_success_time:
        return f"; the last attempt: {achieved.last_failure_reason}: {achieved.last_failure_message}"
    return ""


def archiving(observed: ScheduleObserved, *, asleep: bool) -> ConditionState:
    """Return whether the archive follows the log."""
    found = observed.archive
    if isinstance(found, Unknown):
        return ConditionState("Unknown", "ArchiveUnknown", f"the Deployment cannot be read: {found.reason}")
    if asleep:
        message = "the archive ends when the members have stopped, and goes on when the cluster runs again"
        return ConditionState("Unknown", HIBERNATED, message)
    if isinstance(found, Absent):
        return ConditionState("False", "NotStarted", "the archive begins behind the first backup")
    if found.trouble:
        return ConditionState("False", "ArchiveFailing", found.trouble)
    if not found.available or found.lag is None:
        return ConditionState("False", "ArchiveStarting", "the pod of the archive does not tell how far it is")
    if found.lag.age_s > LAG_AGE_MAX_S:
        message = f"the archive has heard nothing of the cluster, or stored nothing, for more than {LAG_AGE_MAX_S:g} s"
        return ConditionState("False", "ArchiveStalled", message)
    return ConditionState("True", "ArchiveFollows", "the archive follows the log of the cluster")


def verified(achieved: ScheduleStatus) -> ConditionState:
    """Return whether the last restore drill succeeded."""
    if achieved.drill_message:
        return ConditionState("False", "DrillFailed", achieved.drill_message)
    if not achieved.last_verified:
        return ConditionState("Unknown", "NoDrillYet", "no restore drill has ended yet")
    message = f"{achieved.last_verified_backup} was restored and compared at {achieved.last_verified}"
    return ConditionState("True", "DrillSucceeded", message)


def pruned(achieved: ScheduleStatus) -> ConditionState:
    """Return whether the last prune of the repository succeeded."""
    if achieved.prune_message:
        return ConditionState("False", "PruneFailed", achieved.prune_message)
    if not achieved.pruned_behind:
        return ConditionState("Unknown", "NotPrunedYet", "no backup has been completed yet")
    kept = f"; the archived log is kept: {achieved.prune_note}" if achieved.prune_note else ""
    return ConditionState("True", "PruneSucceeded", f"the repository was pruned behind {achieved.pruned_behind}{kept}")


def ready(schedule: Schedule, view: ScheduleView, states: dict[str, ConditionState]) -> ConditionState:
    """Return the summary: the first condition that is False, or the last backup that failed."""
    for state in states.values():
        if state.status == "False":
            return ConditionState("False", state.reason, state.message)
    if view.failure is not None:
        message = f"{view.failure.backup.name}: {view.failure.reason}: {view.failure.message}"
        return ConditionState("False", "LastBackupFailed", message)
    if states["BackupFresh"].reason == HIBERNATED:
        return ConditionState("True", HIBERNATED, states["BackupFresh"].message)
    if schedule.spec.suspend:
        return ConditionState("True", "Suspended", "spec.suspend is true: no further backups are made")
    return ConditionState("True", "Scheduled", "backups are made as scheduled")
