"""What is to be done for one backup: one Job of a derived name, and on deletion one that deletes the data. Pure.

Invariants:
- a Job is created only while none of its name exists, and never after the backup has ended;
- our finalizer is on a backup with the policy Delete BEFORE its Job can store anything;
- our finalizer is removed only when nothing is stored, when what is stored was deleted, when the policy is Retain, or
  when the namespace is being deleted, in which no Job could be created any more.
"""

from __future__ import annotations

from collections.abc import Iterator

from collectionstore_operator.model.backups.actions import (
    AdmitBackups,
    BackupAction,
    BackupPlan,
    HoldBackup,
    ReleaseBackup,
    RemoveRun,
    StartRun,
)
from collectionstore_operator.model.backups.assessment import Progress, run_trouble
from collectionstore_operator.model.backups.observed import BackupObserved, Run
from collectionstore_operator.model.backups.outcomes import LOST
from collectionstore_operator.model.observed import Absent, Unknown
from collectionstore_operator.planning.backups.pace import BUSY_S, IDLE_S, RETRY_S
from collectionstore_operator.resource.backups import names
from collectionstore_operator.resource.backups.desired import Backup


def plan_backup(backup: Backup, observed: BackupObserved, progress: Progress, backup_id: str) -> BackupPlan:
    """Return what is to be done; `backup_id` is that of the stored backup as the status knows it, empty without one."""
    if backup.deleting:
        actions = tuple(_deletion(backup, observed, progress, backup_id))
        done = not backup.held or any(isinstance(one, ReleaseBackup) for one in actions)
        return BackupPlan(actions=actions, wait_s=BUSY_S, done=done)
    actions = (*_hold(backup), *_running(backup, observed, progress))
    active = progress.state == "Active" or bool(actions)
    return BackupPlan(actions=actions, wait_s=BUSY_S if active else IDLE_S, done=progress.ended and not actions)


def _hold(backup: Backup) -> Iterator[BackupAction]:
    if backup.spec.deletion_policy == "Delete" and not backup.held:
        yield HoldBackup(reason="the stored data are deleted before the resource goes")
    if backup.spec.deletion_policy == "Retain" and backup.held:
        yield ReleaseBackup(reason="the stored data stay when the resource is deleted")


def _running(backup: Backup, observed: BackupObserved, progress: Progress) -> Iterator[BackupAction]:
    run = observed.create
    if progress.ended or isinstance(run, Unknown):
        return
    if isinstance(run, Absent) and progress.reason == "Pending":
        yield AdmitBackups(reason="the pod of the backup must reach the cluster and the repository")
        yield StartRun(
            task="create", name=names.job(backup.name, backup.uid, "create"), reason="the backup is not made yet"
        )
    elif isinstance(run, Run) and run.state == "Active" and observed.admitted is False:
        yield AdmitBackups(reason="the NetworkPolicy of its pod is not as it should be")
    elif isinstance(run, Run) and run.state == "Succeeded" and progress.reason == LOST:
        # The command returns what it has made when it is repeated, and makes no second backup.
        yield RemoveRun(name=run.name, uid=run.uid, reason="the result of its pod is lost: it is asked again")


def _deletion(backup: Backup, observed: BackupObserved, progress: Progress, backup_id: str) -> Iterator[BackupAction]:
    if not backup.held:
        return
    if backup.spec.deletion_policy == "Retain":
        yield ReleaseBackup(reason="the stored data stay")
        return
    if observed.namespace_terminating:
        yield ReleaseBackup(reason="the namespace is being deleted: the stored data stay, as no Job can delete them")
        return
    if not progress.ended:
        if isinstance(observed.create, Absent):
            yield ReleaseBackup(reason="nothing was stored: the backup was not started")
        # Else its Job ends first: what it has stored is known then.
        return
    if progress.state == "Failed" or not backup_id:
        yield ReleaseBackup(reason="nothing was stored: a failed backup leaves nothing that looks complete")
        return
    yield from _delete_stored(backup, observed, backup_id)


def _delete_stored(backup: Backup, observed: BackupObserved, backup_id: str) -> Iterator[BackupAction]:
    run = observed.delete
    match run:
        case Absent():
            yield AdmitBackups(reason="the pod of the deletion must reach the repository")
            yield StartRun(
                task="delete",
                name=names.job(backup.name, backup.uid, "delete"),
                subject=backup_id,
                reason=f"the stored data of {backup_id} are deleted with the resource",
            )
        case Run(state="Succeeded"):
            yield ReleaseBackup(reason=f"the stored data of {backup_id} are deleted")
        case Run(state="Failed"):
            if run_trouble(run).reason == "NotFound":
                yield ReleaseBackup(reason=f"there is no {backup_id} in the repository any more")
            elif run.ended is None or observed.now - run.ended >= RETRY_S:
                yield RemoveRun(name=run.name, uid=run.uid, reason="the deletion of the stored data is tried again")
