"""The fields of the status of a CollectionStoreBackupSchedule.

Ages are not among them: a status that changed with every second would be written with every second. Times are.
"""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta, field

from collectionstore_operator.model.backups.assessment import Memory
from collectionstore_operator.model.timestamps import seconds
from collectionstore_operator.status.backups.fields import Count, StatusPart
from collectionstore_operator.status.published import Text, Timestamp, Word

HIBERNATED: Final = "ClusterHibernated"
"""The reason of conditions that a hibernated cluster makes unknown."""


class ScheduleStatus(StatusPart, frozen=True):
    """The observed state of a schedule."""

    last_schedule_time: Annotated[
        Timestamp, Meta(description="lastScheduleTime is the last time of the schedule for which a backup was created.")
    ] = ""
    next_schedule_time: Annotated[
        Timestamp, Meta(description="nextScheduleTime is when the next backup is due; empty while suspended.")
    ] = ""
    cluster_id: Annotated[
        Word,
        Meta(
            description="clusterID is the clusterID of the cluster that the fields below are about: backups of a "
            "former one, such as before a recovery, do not count."
        ),
    ] = field(name="clusterID", default="")
    cluster_since: Annotated[
        Timestamp,
        Meta(
            description="clusterSince is when the cluster was first seen with this ID in place of another one, in "
            "whole minutes: a backup is due then. Empty if it had no other."
        ),
    ] = ""
    awake_since: Annotated[
        Timestamp,
        Meta(
            description="awakeSince is when spec.hibernate of the cluster was first seen not to be true any more. "
            "Empty if it never was."
        ),
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
    prune_note: Annotated[
        Text,
        Meta(description="pruneNote explains why the last prune deleted none of the archived log; empty if it could."),
    ] = ""
    archive_lag_entries: Annotated[
        Count,
        Meta(
            description="archiveLagEntries is the number of log entries that the archive is behind the cluster: 0 if "
            "it has caught up, rounded down to one significant digit otherwise."
        ),
    ] = 0
    archive_lag_seconds: Annotated[
        Count,
        Meta(
            description="archiveLagSeconds is for how long something acknowledged may not be in the archive: 0 below "
            "10 seconds or if it is not told, rounded down to one significant digit otherwise."
        ),
    ] = 0
    archive_lag_bytes: Annotated[
        Count,
        Meta(
            description="archiveLagBytes is the estimated size of the log entries that are not archived, rounded down "
            "to one significant digit; 0 if it is not told."
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

    def memory(self) -> Memory:
        """Return what has been achieved, for the planner."""
        fresh = self.condition("BackupFresh")
        return Memory(
            due=_at(self.last_schedule_time),
            pruned=self.pruned_behind,
            drilled=_at(self.last_drill_time),
            success=self.last_success_name,
            cluster_id=self.cluster_id,
            cluster_since=_at(self.cluster_since),
            asleep=fresh is not None and fresh.reason == HIBERNATED,
            awake_since=_at(self.awake_since),
        )


def _at(timestamp: str) -> float:
    return seconds(timestamp) if timestamp else 0.0
