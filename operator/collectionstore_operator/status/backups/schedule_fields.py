"""The fields of the status of a CollectionStoreBackupSchedule.

Ages are not among them: a status that changed with every second would be written with every second. Times are.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from collectionstore_operator.model.backups.assessment import Memory
from collectionstore_operator.model.timestamps import seconds
from collectionstore_operator.status.backups.fields import Conditions, Count, ObservedGeneration, StatusPart
from collectionstore_operator.status.report import Condition, Text, Timestamp, Word


class ScheduleStatus(StatusPart, frozen=True):
    """The observed state of a schedule."""

    observed_generation: ObservedGeneration = 0
    conditions: Conditions = ()
    last_schedule_time: Annotated[
        Timestamp, Meta(description="lastScheduleTime is the last time of the schedule for which a backup was created.")
    ] = ""
    next_schedule_time: Annotated[
        Timestamp, Meta(description="nextScheduleTime is when the next backup is due; empty while suspended.")
    ] = ""
    interval_seconds: Annotated[
        Count, Meta(description="intervalSeconds is the time between the last and the next time of the schedule.")
    ] = 0
    active: Annotated[Word, Meta(description="active is the name of the backup that runs; empty if none does.")] = ""
    last_success_time: Annotated[
        Timestamp, Meta(description="lastSuccessTime is when the newest complete backup was completed.")
    ] = ""
    last_success_name: Annotated[
        Word, Meta(description="lastSuccessName is the name of that CollectionStoreBackup.")
    ] = ""
    last_success_backup: Annotated[Word, Meta(description="lastSuccessBackup is its backupID in the repository.")] = ""
    last_success_revision: Annotated[
        Count, Meta(description="lastSuccessRevision is the revision of the store that it holds.")
    ] = 0
    size_bytes: Annotated[Count, Meta(description="sizeBytes is the size of its stored data, in bytes.")] = 0
    duration_seconds: Annotated[Count, Meta(description="durationSeconds is the time that it took, in seconds.")] = 0
    last_failure_time: Annotated[
        Timestamp, Meta(description="lastFailureTime is when the newest failed backup failed.")
    ] = ""
    last_failure_reason: Annotated[
        Word, Meta(description="lastFailureReason is the reason of its condition Failed, such as StoreUnreachable.")
    ] = ""
    last_failure_message: Annotated[Text, Meta(description="lastFailureMessage is the message of that condition.")] = ""
    pruned_behind: Annotated[
        Word, Meta(description="prunedBehind is the name of the backup behind which the repository was pruned last.")
    ] = ""
    prune_message: Annotated[
        Text, Meta(description="pruneMessage explains why the last prune failed; empty if it did not.")
    ] = ""
    archive_lag_entries: Annotated[
        Count,
        Meta(
            description="archiveLagEntries is the number of log entries that the archive is behind the cluster: 0 if "
            "it has caught up, rounded down to one significant digit otherwise."
        ),
    ] = 0
    last_drill_time: Annotated[
        Timestamp, Meta(description="lastDrillTime is the last time for which a restore drill has ended.")
    ] = ""
    last_verified: Annotated[
        Timestamp,
        Meta(
            description="lastVerified is when a restore drill last restored a backup and found what its manifest says."
        ),
    ] = ""
    last_verified_backup: Annotated[Word, Meta(description="lastVerifiedBackup is the backupID of that backup.")] = ""
    time_to_restore_seconds: Annotated[
        Count, Meta(description="timeToRestoreSeconds is the measured time that it took to restore and open it.")
    ] = 0
    drill_message: Annotated[
        Text, Meta(description="drillMessage explains why the last drill failed; empty if it did not.")
    ] = ""

    def condition(self, kind: str) -> Condition | None:
        """Return a condition by its type."""
        return next((one for one in self.conditions if one.type == kind), None)

    def memory(self) -> Memory:
        """Return what has been achieved, for the planner."""
        return Memory(due=_at(self.last_schedule_time), pruned=self.pruned_behind, drilled=_at(self.last_drill_time))


def _at(timestamp: str) -> float:
    return seconds(timestamp) if timestamp else 0.0
