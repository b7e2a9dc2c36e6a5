"""What is concluded from what was observed: how far a backup is, and what a schedule has achieved. Pure.

The planner and the status start from the same conclusion. What has ended is remembered in the status of the resource
and handed in again: a backup that was complete stays complete when its Job is gone.
"""

from __future__ import annotations

import math
from typing import Final, Literal, TypeAlias

import msgspec

from collectionstore_operator.model.backups.observed import (
    BackupObserved,
    BackupSummary,
    ClusterSeen,
    Run,
    ScheduleObserved,
)
from collectionstore_operator.model.backups.outcomes import (
    Drilled,
    Made,
    Trouble,
    read_drilled,
    read_log_kept,
    read_made,
    read_trouble,
)
from collectionstore_operator.model.observed import Absent, Unknown
from collectionstore_operator.model.timestamps import seconds
from collectionstore_operator.resource.backups.desired import Backup, Schedule

BackupState: TypeAlias = Literal["Waiting", "Active", "Complete", "Failed"]
DEADLINE: Final = "DeadlineExceeded"
STALE_INTERVALS: Final = 2
"""A schedule whose newest backup is older than so many of its intervals has no fresh one."""


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a backup is; `made` once it is complete and its Job can still be read."""

    state: BackupState
    reason: str
    message: str
    made: Made | None = None
    started: float | None = None
    """When its Job started, in Unix seconds."""
    image: str = ""

    @property
    def ended(self) -> bool:
        """Return whether nothing can change it any more."""
        return self.state in ("Complete", "Failed")


def assess_backup(backup: Backup, observed: BackupObserved, settled: Progress | None, attempt: str = "") -> Progress:
    """Return how far a backup is; `settled` is what its status says of an end, `attempt` of the attempt before."""
    if settled is not None:
        return settled
    run = observed.create
    match run:
        case Unknown():
            return Progress(state="Waiting", reason="JobUnknown", message=f"the Job cannot be read: {run.reason}")
        case Absent():
            return _not_started(backup, observed)
        case Run(state="Active"):
            return _active(run)
        case Run(state="Succeeded"):
            made = read_made(run.message)
            if isinstance(made, Trouble):
                return Progress(state="Waiting", reason=made.reason, message=made.message, started=run.started)
            message = f"revision {made.revision} of {made.member}, read back and verified"
            return Progress(
                state="Complete", reason="Verified", message=message, made=made, started=run.started, image=run.image
            )
    trouble = run_trouble(run, attempt)
    return Progress(
        state="Failed", reason=trouble.reason, message=trouble.message, started=run.started, image=run.image
    )


def run_trouble(run: Run, attempt: str = "") -> Trouble:
    """Return why a Job failed; `attempt` is what was seen of an attempt before its pods were deleted."""
    told = read_trouble(run.message, run.exit_code) if run.exit_code is not None or run.message else None
    if run.reason == DEADLINE:
        # Its pods are deleted then: what one of them said before may be gone.
        before = (
            f"; the last attempt: {told.reason}: {told.message}" if told is not None else f"; {attempt}".rstrip("; ")
        )
        return Trouble(reason=DEADLINE, message=f"it did not end within its deadline{before}{_why(run)}")
    if told is not None:
        return told
    return Trouble(reason="Failed", message=f"its pods failed without a reason ({run.reason or 'unknown'}){_why(run)}")


def _why(run: Run) -> str:
    return f"; its pod did not start: {run.waiting}" if run.waiting else ""


def _not_started(backup: Backup, observed: BackupObserved) -> Progress:
    reason, message = _obstacle(observed)
    if not reason:
        return Progress(state="Waiting", reason="Pending", message="its Job is created next")
    waited_s = observed.now - seconds(backup.created)
    if waited_s > backup.spec.deadline_seconds and not isinstance(observed.cluster, Unknown):
        return Progress(state="Failed", reason=reason, message=f"{message}, until the deadline passed")
    return Progress(state="Waiting", reason=reason, message=message)


def _obstacle(observed: BackupObserved) -> tuple[str, str]:
    """Return why no Job may start; empty if one may."""
    cluster = observed.cluster
    if isinstance(cluster, Unknown):
        return "ClusterUnknown", f"the cluster cannot be read: {cluster.reason}"
    if isinstance(cluster, Absent):
        return "ClusterNotFound", "there is no cluster of this name"
    if not cluster.initialized or not cluster.cluster_id:
        return "ClusterNotReady", "the cluster has not been bootstrapped yet"
    if cluster.desired.spec.asleep:
        return "ClusterNotReady", "the cluster is hibernated: spec.hibernate is true"
    if cluster.unavailable:
        # A Job would use up its attempts before the members have started.
        return "ClusterNotReady", f"the cluster is not available: {cluster.unavailable}"
    if observed.namespace_terminating:
        return "NamespaceTerminating", "the namespace is being deleted"
    return "", ""


def _active(run: Run) -> Progress:
    if run.waiting:
        return Progress(state="Active", reason="PodWaiting", message=run.waiting, started=run.started, image=run.image)
    if run.failures:
        trouble = read_trouble(run.message, run.exit_code)
        message = f"attempt {run.failures + 1}; the one before: {trouble.reason}: {trouble.message}"
        return Progress(state="Active", reason="Retrying", message=message, started=run.started, image=run.image)
    return Progress(state="Active", reason="Running", message="it runs", started=run.started, image=run.image)


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """What a schedule has achieved before, as its status keeps it. Times are Unix seconds; 0 for never."""

    due: float = 0.0
    """The last time of the schedule for which a backup was created."""
    pruned: str = ""
    """The backup behind which the repository was pruned last."""
    drilled: float = 0.0
    """The last time for which a drill has ended."""
    success: str = ""
    """The newest complete backup."""
    cluster_id: str = ""
    """The cluster that the achievements are of; empty before one was seen."""
    cluster_since: float = 0.0
    """When the cluster was first seen to have this ID in place of another one."""
    asleep: bool = False
    """The cluster was to be hibernated when it was last seen."""
    awake_since: float = 0.0
    """When it was first seen not to be any more."""


class ScheduleView(msgspec.Struct, frozen=True, kw_only=True):
    """What is concluded of a schedule."""

    memory: Memory
    """With what was observed now."""
    renewed: bool = False
    """What the status says was achieved for a cluster of another ID: after a recovery, or a restore in place."""
    active: BackupSummary | None
    success: BackupSummary | None
    """The newest complete one of the cluster that there is a resource of."""
    failure: BackupSummary | None
    """The newest failed one, if no later one is complete."""
    pruned: Trouble | None = None
    """Why the prune that has ended failed."""
    prune_ended: bool = False
    log_kept: str = ""
    """Why that prune judged no segment of the archived log; empty if it did."""
    drilled: Drilled | Trouble | None = None
    """What the drill that has ended said."""


def assess_schedule(schedule: Schedule, observed: ScheduleObserved, memory: Memory) -> ScheduleView:
    """Return what a schedule has achieved."""
    backups, known = observed.backups, _cluster_memory(observed, memory)
    complete = [one for one in backups if one.state == "Complete"]
    # A backup of a former cluster does not hold what the present one has acknowledged.
    own = [one for one in complete if one.cluster_id in ("", known.cluster_id)]
    success = own[-1] if own else None
    failed = [one for one in backups if one.state == "Failed" and (not complete or one.due > complete[-1].due)]
    prune, drill = observed.prune, observed.drill
    pruned_for, trouble, prune_ended, log_kept = memory.pruned, None, False, ""
    if isinstance(prune, Run) and prune.state != "Active":
        prune_ended, pruned_for = True, prune.subject or memory.pruned
        trouble = run_trouble(prune) if prune.state == "Failed" else None
        log_kept = "" if prune.state == "Failed" else read_log_kept(prune.message)
    drilled_at, drilled = memory.drilled, None
    if isinstance(drill, Run) and drill.state != "Active":
        drilled_at = max(memory.drilled, float(drill.subject or 0))
        drilled = read_drilled(drill.message) if drill.state == "Succeeded" else run_trouble(drill)
    if isinstance(drilled, Drilled) and drilled.cluster_id != (known.cluster_id or drilled.cluster_id):
        drilled = None  # of a former cluster: it is drilled again
    return ScheduleView(
        memory=msgspec.structs.replace(
            known,
            due=max([memory.due, *(one.due for one in backups)]),
            pruned=pruned_for,
            drilled=drilled_at,
        ),
        renewed=_renewed(observed, memory),
        active=next((one for one in backups if one.state == "Active"), None),
        success=success,
        failure=failed[-1] if failed else None,
        pruned=trouble,
        prune_ended=prune_ended,
        log_kept=log_kept,
        drilled=drilled,
    )


def _cluster_memory(observed: ScheduleObserved, memory: Memory) -> Memory:
    """Return what is remembered of the cluster, with what is seen of it now; without a look it stays."""
    cluster = observed.cluster
    if isinstance(cluster, Absent):
        return msgspec.structs.replace(memory, asleep=False)
    if not isinstance(cluster, ClusterSeen):
        return memory
    found = msgspec.structs.replace(memory, asleep=observed.asleep)
    if memory.asleep and not observed.asleep:
        found = msgspec.structs.replace(found, awake_since=observed.now)
    if not cluster.cluster_id:
        return found
    # By the minute, as the names of backups have it: that of the former cluster for the same minute has its name.
    since = math.ceil(observed.now / 60) * 60.0 if _renewed(observed, memory) else memory.cluster_since
    return msgspec.structs.replace(found, cluster_id=cluster.cluster_id, cluster_since=since)


def _renewed(observed: ScheduleObserved, memory: Memory) -> bool:
    cluster = observed.cluster
    if not isinstance(cluster, ClusterSeen) or not cluster.cluster_id:
        return False
    if memory.cluster_id:
        return cluster.cluster_id != memory.cluster_id
    # The status is of a version that did not say: the backup does.
    last = next((one.cluster_id for one in observed.backups if memory.success == one.backup.name), "")
    return last not in ("", cluster.cluster_id)
