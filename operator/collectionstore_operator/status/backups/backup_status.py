"""The status of a CollectionStoreBackup. Pure: the time is an argument."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta, field

from collectionstore_operator.model.backups.assessment import BackupState, Progress, run_trouble
from collectionstore_operator.model.backups.observed import BackupObserved, BackupSummary, Run
from collectionstore_operator.model.backups.outcomes import Made
from collectionstore_operator.model.timestamps import rfc3339, seconds
from collectionstore_operator.resource.backups.desired import Backup
from collectionstore_operator.status.backups.fields import Count, StatusPart
from collectionstore_operator.status.condition_state import ConditionState
from collectionstore_operator.status.published import Text, Timestamp, Word
from collectionstore_operator.status.published_conditions import conditions_from

COMPLETE: Final = "Complete"
FAILED: Final = "Failed"
_TEXT_MAX: Final = 1_024


class BackupStatus(StatusPart, frozen=True):
    """The observed state of a backup."""

    backup_id: Annotated[
        Word, Meta(description="backupID identifies the backup in its repository, for verify, restore and delete.")
    ] = field(name="backupID", default="")
    cluster_id: Annotated[Word, Meta(description="clusterID is the clusterID of the cluster that was backed up.")] = (
        field(name="clusterID", default="")
    )
    member: Annotated[Word, Meta(description="member is the name of the member that was read.")] = ""
    from_leader: Annotated[bool, Meta(description="fromLeader is true if that member led the cluster.")] = False
    revision: Annotated[Count, Meta(description="revision is the revision of the store that the backup holds.")] = 0
    term: Annotated[Count, Meta(description="term is the Raft term of the last log entry in the backup.")] = 0
    index: Annotated[Count, Meta(description="index is the log index of that entry.")] = 0
    digest: Annotated[
        Word,
        Meta(description="digest is the digest of the state, in hexadecimal digits: a restore must have the same."),
    ] = ""
    size_bytes: Annotated[Count, Meta(description="sizeBytes is the size of the stored data, in bytes.")] = 0
    started_at: Annotated[Timestamp, Meta(description="startedAt is the time when the run started.")] = ""
    completed_at: Annotated[
        Timestamp, Meta(description="completedAt is the time when the run completed or failed.")
    ] = ""
    duration_seconds: Annotated[Count, Meta(description="durationSeconds is the time between them, in seconds.")] = 0
    image: Annotated[Text, Meta(description="image is the image of the run.")] = ""
    message: Annotated[
        Text, Meta(description="message explains the current state, such as what the last attempt reported.")
    ] = ""

    def settled(self) -> Progress | None:
        """Return the end that is recorded; None before."""
        for kind in (COMPLETE, FAILED):
            found = self.condition(kind)
            if found is not None and found.status == "True":
                state: BackupState = "Complete" if kind == COMPLETE else "Failed"
                return Progress(state=state, reason=found.reason, message=found.message)
        return None


def backup_status(
    backup: Backup, observed: BackupObserved, progress: Progress, previous: BackupStatus | None
) -> BackupStatus:
    """Return the status; what was made stays, also when the Job is gone that said so."""
    before = previous or BackupStatus()
    told = msgspec.structs.replace(
        before,
        observed_generation=backup.generation,
        conditions=conditions_from(_conditions(progress), before, backup.generation, observed.now),
        message=_deletion_trouble(observed) or progress.message[:_TEXT_MAX],
    )
    if before.settled() is not None:
        return told
    started = rfc3339(progress.started) if progress.started is not None else before.started_at
    told = msgspec.structs.replace(told, started_at=started, image=progress.image or before.image)
    if progress.ended:
        ended = observed.create.ended if isinstance(observed.create, Run) and observed.create.ended else observed.now
        duration = max(0, int(ended - seconds(started))) if started else 0
        told = msgspec.structs.replace(told, completed_at=rfc3339(ended), duration_seconds=duration)
    return told if progress.made is None else _with(told, progress.made)


def _with(status: BackupStatus, made: Made) -> BackupStatus:
    return msgspec.structs.replace(
        status,
        backup_id=made.id,
        cluster_id=made.cluster_id,
        member=made.member,
        from_leader=made.from_leader,
        revision=made.revision,
        term=made.term,
        index=made.index,
        digest=made.state_digest,
        size_bytes=made.stored_bytes,
    )


def refused_backup(message: str, generation: int, previous: BackupStatus | None, now: float) -> BackupStatus:
    """Return the status of a backup whose spec is invalid: it has failed."""
    before = previous or BackupStatus()
    if before.settled() is not None:
        return before
    progress = Progress(state="Failed", reason="InvalidSpec", message=message)
    conditions = conditions_from(_conditions(progress), before, generation, now)
    return BackupStatus(
        observed_generation=generation, conditions=conditions, message=message[:_TEXT_MAX], completed_at=rfc3339(now)
    )


def _conditions(progress: Progress) -> dict[str, ConditionState]:
    reason, message = progress.reason, progress.message
    return {
        kind: ConditionState("True" if progress.state == kind else "False", reason, message)
        for kind in (COMPLETE, FAILED)
    }


def _deletion_trouble(observed: BackupObserved) -> str:
    run = observed.delete
    if not isinstance(run, Run) or run.state != "Failed":
        return ""
    trouble = run_trouble(run)
    return f"the stored data could not be deleted: {trouble.reason}: {trouble.message}"[:_TEXT_MAX]


def summary_of(backup: Backup, due: float, status: BackupStatus | None) -> BackupSummary:
    """Return what a schedule needs to know of one of its backups."""
    found = status or BackupStatus()
    settled = found.settled()
    return BackupSummary(
        backup=backup,
        due=due,
        state="Active" if settled is None else "Complete" if settled.state == "Complete" else "Failed",
        backup_id=found.backup_id,
        cluster_id=found.cluster_id,
        revision=found.revision,
        size_bytes=found.size_bytes,
        duration_s=found.duration_seconds,
        started=found.started_at,
        ended=found.completed_at if settled is not None else "",
        reason=settled.reason if settled is not None else "",
        message=settled.message if settled is not None else "",
    )
