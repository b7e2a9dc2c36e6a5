"""A CollectionStoreBackup: what is read of it, what is written to it, and its rounds."""

from __future__ import annotations

from typing import Final

from collectionstore_operator.kubernetes import pod_diagnostics
from collectionstore_operator.kubernetes.api import Body, Kind, Kube
from collectionstore_operator.kubernetes.backups.admission import observe_admission
from collectionstore_operator.kubernetes.backups.clusters_seen import observe_cluster
from collectionstore_operator.kubernetes.backups.jobs import observe_run
from collectionstore_operator.kubernetes.backups.rounds import Decision
from collectionstore_operator.manifests.backups.policies import build_policy
from collectionstore_operator.manifests.backups.work import Work, work_of_backup
from collectionstore_operator.model.backups.assessment import assess_backup
from collectionstore_operator.model.backups.observed import BackupObserved, ClusterSeen, Run
from collectionstore_operator.model.observed import ABSENT, Absent, Unknown
from collectionstore_operator.planning.backups.backup import plan_backup
from collectionstore_operator.resource.backups import names
from collectionstore_operator.resource.backups.desired import Backup, parse_backup
from collectionstore_operator.status.backups.backup_status import (
    COMPLETE,
    BackupStatus,
    backup_status,
    refused_backup,
)
from collectionstore_operator.status.backups.fields import read_status

_EXPLAINED: Final = ("Retrying", "PodWaiting")
"""Reasons whose message says what keeps a run from ending, and is gone with its pods."""


class BackupRounds:
    """The rounds of backups."""

    kind = Kind.BACKUP

    def __init__(self, kube: Kube) -> None:
        self._kube = kube

    async def decide(self, body: Body, now: float) -> Decision[BackupStatus]:
        """Return what the status is to be and what is to be done. Raises InvalidResource and ApiError."""
        backup, previous = parse_backup(body), read_status(body, BackupStatus)
        settled = previous.settled() if previous is not None else None
        if settled is not None and not backup.deleting and backup.held == (backup.spec.deletion_policy == "Delete"):
            return Decision(status=previous, plan_done=True)
        observed = await self._observe(backup, now, previous or BackupStatus())
        progress = assess_backup(backup, observed, settled, _attempt(previous))
        status = backup_status(backup, observed, progress, previous)
        plan = plan_backup(backup, observed, progress, status.backup_id)
        work = _work(backup, observed.cluster, status)
        return Decision(status=status, plan=plan, work=work, subject=backup.name, cluster=work.cluster)

    def refuse(self, body: Body, message: str, generation: int, now: float) -> BackupStatus:
        """Return the status of a backup whose spec is invalid."""
        return refused_backup(message, generation, read_status(body, BackupStatus), now)

    async def _observe(self, backup: Backup, now: float, before: BackupStatus) -> BackupObserved:
        kube, namespace, uid = self._kube, backup.namespace, backup.uid
        deletes = backup.deleting and backup.spec.deletion_policy == "Delete"
        cluster = await observe_cluster(kube, backup.spec.cluster_name, namespace)
        create = await observe_run(kube, names.job(backup.name, uid, "create"), namespace, uid)
        work = _work(backup, cluster, before)
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


def _work(backup: Backup, cluster: ClusterSeen | Absent | Unknown, status: BackupStatus) -> Work:
    if isinstance(cluster, ClusterSeen):
        return work_of_backup(backup, cluster.desired, cluster.cluster_id, status.image)
    return work_of_backup(backup, None, status.cluster_id, status.image)


def _attempt(previous: BackupStatus | None) -> str:
    """Return what was published of the attempt before."""
    found = previous.condition(COMPLETE) if previous is not None else None
    return found.message if found is not None and found.reason in _EXPLAINED else ""
