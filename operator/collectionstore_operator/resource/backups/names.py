"""Kinds, labels and names of backups and of the objects that work for them.

Every name of an object is derived, so that an operator that was restarted finds what it started, and never starts it
twice. Names have the uid of their owner in them: one of the same name that was created later has Jobs of its own.
"""

from __future__ import annotations

from typing import Final

from collectionstore_operator.resource import labels

BACKUP_KIND: Final = "CollectionStoreBackup"
BACKUP_PLURAL: Final = "collectionstorebackups"
SCHEDULE_KIND: Final = "CollectionStoreBackupSchedule"
SCHEDULE_PLURAL: Final = "collectionstorebackupschedules"

FINALIZER: Final = f"{labels.GROUP}/backup"
"""On backups whose stored data are to be deleted with them."""
SCHEDULE: Final = f"{labels.GROUP}/schedule"
"""Label on backups: the schedule that made them."""
TASK: Final = f"{labels.GROUP}/backup-task"
"""Label on the pod of an archive."""
DUE: Final = f"{labels.GROUP}/due"
"""Annotation on backups: the time of the schedule that they were made for, in Unix seconds."""

BACKUP_NAME_MAX: Final = 46
"""Leaves room in 63 characters for the suffix of a Job's name."""
SCHEDULE_NAME_MAX: Final = 36
"""Leaves room for the time of a run in the names of its backups."""
COMPONENT: Final = "backup"

_UID: Final = 8


def pod_labels(cluster: str) -> dict[str, str]:
    """Return the labels of the pods that read a cluster, and of what manages them. No selector of members fits."""
    return {
        labels.NAME: "collectionstore",
        labels.INSTANCE: cluster,
        labels.COMPONENT: COMPONENT,
        labels.MANAGED_BY: labels.FIELD_MANAGER,
        labels.CLUSTER: cluster,
    }


def pod_selector(cluster: str) -> dict[str, str]:
    """Return the selector of those pods."""
    return {labels.NAME: "collectionstore", labels.INSTANCE: cluster, labels.COMPONENT: COMPONENT}


def job(owner: str, uid: str, task: str) -> str:
    """Return the name of the Job of a task of a backup or a schedule."""
    return f"{owner}-{task}-{uid.replace('-', '')[:_UID]}"


def archive(schedule: str, uid: str) -> str:
    """Return the name of the Deployment that archives the log."""
    return job(schedule, uid, "archive")


def scheduled_backup(schedule: str, due: float) -> str:
    """Return the name of the backup of a run: one run, one name."""
    return f"{schedule}-{int(due) // 60}"
