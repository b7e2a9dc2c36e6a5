"""A CollectionStoreBackup: what is read of it, what is written to it, and its rounds."""

from __future__ import annotations

from collectionstore_operator.kubernetes import pod_diagnostics
from collectionstore_operator.kubernetes.api import Body, Kind, Kube
from collectionstore_operator.kubernetes.backups.admission import observe_admission
from collectionstore_operator.kubernetes.backups.clusters_seen import observe_cluster
from collectionstore_operator.kubernetes.backups.jobs import observe_run
from collectionstore_operator.manifests.backups.policies import build_policy
from collectionstore_operator.model.backups.observed import BackupObserved, Run
from collectionstore_operator.model.observed import ABSENT
from collectionstore_operator.reconcile.backup_decisions import (
    Decision,
    backup_work,
    decide_backup,
    needs_nothing,
)
from collectionstore_operator.resource.backups import names
from collectionstore_operator.resource.backups.desired import Backup, parse_backup
from collectionstore_operator.status.backups.backup_status import BackupStatus, refused_backup
from collectionstore_operator.status.backups.fields import read_status


class BackupRounds:
    """The rounds of backups."""

    kind = Kind.BACKUP

    def __init__(self, kube: Kube) -> None:
        self._kube = kube

    async def decide(self, body: Body, now: float) -> Decision[BackupStatus]:
        """Return what the status is to be and what is to be done. Raises InvalidResource and ApiError."""
        backup, previous = parse_backup(body), read_status(body, BackupStatus)
        if needs_nothing(backup, previous):
            return Decision(status=previous, plan_done=True)
        return decide_backup(backup, await self._observe(backup, now, previous or BackupStatus()), previous)

    def refuse(self, body: Body, message: str, generation: int, now: float) -> BackupStatus:
        """Return the status of a backup whose spec is invalid."""
        return refused_backup(message, generation, read_status(body, BackupStatus), now)

    async def _observe(self, backup: Backup, now: float, before: BackupStatus) -> BackupObserved:
        kube, namespace, uid = self._kube, backup.namespace, backup.uid
        deletes = backup.deleting and backup.spec.deletion_policy == "Delete"
        cluster = await observe_cluster(kube, backup.spec.cluster_name, namespace)
        create = await observe_run(kube, names.job(backup.name, uid, "create"), namespace, uid)
        work = backup_work(backup, cluster, before)
        restricted = isinstance(create, Run) and create.state == "Active" and build_policy(work) is not None
        return BackupObserved(
            now=now,
            cluster=cluster,
            create=create,
            admitted=await observe_admission(kube, work) if restricted else True,
            delete=await observe_run(kube, names.job(backup.name, uid, "delete"), namespace, uid)
            if deletes
            else ABSENT,
            namespace_terminating=await pod_diagnostics.is_terminating(kube, namespace),
        )
