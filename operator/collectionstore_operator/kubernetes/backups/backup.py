"""A CollectionStoreBackup: what is read of it, what is written to it, and its rounds."""

from __future__ import annotations

from collectionstore_operator.kubernetes import pod_diagnostics
from collectionstore_operator.kubernetes.api import Body, Kind, Kube
from collectionstore_operator.kubernetes.backups.clusters_seen import observe_cluster
from collectionstore_operator.kubernetes.backups.jobs import observe_run
from collectionstore_operator.model.backups.observed import BackupObserved
from collectionstore_operator.model.observed import ABSENT
from collectionstore_operator.reconcile.backup_decisions import (
    Decision,
    decide_backup,
    last_backup_status,
    needs_nothing,
)
from collectionstore_operator.resource.backups import names
from collectionstore_operator.resource.backups.desired import Backup, parse_backup
from collectionstore_operator.status.backups.backup_status import BackupStatus, refused_backup


class BackupRounds:
    """The rounds of backups."""

    kind = Kind.BACKUP

    def __init__(self, kube: Kube) -> None:
        self._kube = kube

    async def decide(self, body: Body, now: float) -> Decision[BackupStatus]:
        """Return what the status is to be and what is to be done. Raises InvalidResource and ApiError."""
        backup, previous = parse_backup(body), last_backup_status(body)
        if needs_nothing(backup, previous):
            return Decision(status=previous, plan_done=True)
        return decide_backup(backup, await self._observe(backup, now, deleting=backup.deleting), previous)

    def refuse(self, body: Body, message: str, generation: int, now: float) -> BackupStatus:
        """Return the status of a backup whose spec is invalid."""
        return refused_backup(message, generation, last_backup_status(body), now)

    async def _observe(self, backup: Backup, now: float, *, deleting: bool) -> BackupObserved:
        kube, namespace, uid = self._kube, backup.namespace, backup.uid
        deletes = deleting and backup.spec.deletion_policy == "Delete"
        return BackupObserved(
            now=now,
            cluster=await observe_cluster(kube, backup.spec.cluster_name, namespace),
            create=await observe_run(kube, names.job(backup.name, uid, "create"), namespace, uid),
            delete=await observe_run(kube, names.job(backup.name, uid, "delete"), namespace, uid)
            if deletes
            else ABSENT,
            namespace_terminating=await pod_diagnostics.is_terminating(kube, namespace),
        )
