"""The last backup of a cluster: its resource is created here, and made by the loop of backups as any other."""

from __future__ import annotations

from collectionstore_operator.errors import ActionRefused, InvalidResource
from collectionstore_operator.kubernetes.api import AlreadyExists, ApiError, Body, Kind, Kube
from collectionstore_operator.model.actions import CreateFinalBackup
from collectionstore_operator.model.final_backup import FinalBackupSeen, asked_for, name_of
from collectionstore_operator.model.observed import ABSENT, Absent, Unknown
from collectionstore_operator.model.timestamps import seconds
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.backups import names
from collectionstore_operator.resource.backups.desired import parse_backup
from collectionstore_operator.resource.deletion import DEADLINE_S
from collectionstore_operator.resource.desired import Desired
from collectionstore_operator.resource.fields import rendered
from collectionstore_operator.status.backups.backup_status import BackupStatus, summary_of
from collectionstore_operator.status.backups.fields import read_status


class FinalBackups:
    """Reads and creates them."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube

    async def read(self, desired: Desired) -> FinalBackupSeen | Absent | Unknown:
        """Return what there is of the final backup; no request unless the resource is being deleted with one."""
        if asked_for(desired) is None:
            return ABSENT
        name = name_of(desired)
        try:
            found = await self._kube.find(Kind.BACKUP, name, desired.namespace)
        except ApiError as error:
            return Unknown(str(error))
        if found is None:
            return ABSENT
        if not _is_of(found, desired):
            return Unknown("it was not made for this deletion: rename or delete it")
        if "deletionTimestamp" in found["metadata"]:
            return Unknown("it is being deleted")
        try:
            backup = parse_backup(found)
        except InvalidResource as error:
            return FinalBackupSeen(name=name, state="Failed", message=str(error))
        status = read_status(found, BackupStatus)
        if status is None and found.get("status"):
            return Unknown("its status cannot be read: another version wrote it")
        status = status or BackupStatus()
        summary = summary_of(backup, 0.0, status)
        told = f"{summary.reason}: {summary.message}" if summary.reason else status.message
        completed_at = seconds(summary.ended) if summary.state == "Complete" and summary.ended else 0.0
        return FinalBackupSeen(
            name=name, state=summary.state, cluster_id=status.cluster_id, completed_at=completed_at, message=told
        )

    async def create(self, action: CreateFinalBackup, desired: Desired) -> None:
        """Create the backup; one that exists for this deletion is left as it is. Raises ActionRefused or ApiError."""
        body = build(desired)
        if body["metadata"]["name"] != action.name:
            raise ActionRefused(f"the final backup is not called {action.name} any more")
        try:
            await self._kube.create(body)
        except AlreadyExists:
            found = await self._kube.find(Kind.BACKUP, action.name, desired.namespace)
            if found is None or _is_of(found, desired):
                return  # by an attempt whose answer was lost; or gone again, which the next round sees
            raise ActionRefused(f"the {names.BACKUP_KIND} {action.name} is not of this deletion: delete it") from None


def build(desired: Desired) -> Body:
    """Return the resource of the backup. It has no owner: it outlives the cluster. Raises ActionRefused."""
    wanted = asked_for(desired)
    if wanted is None:
        raise ActionRefused("the resource asks for no final backup any more")
    repository = rendered(wanted.repository)
    return {
        "apiVersion": labels.API_VERSION,
        "kind": names.BACKUP_KIND,
        "metadata": {
            "name": name_of(desired),
            "namespace": desired.namespace,
            "labels": {labels.CLUSTER: desired.name},
            "annotations": {labels.FINAL_BACKUP_OF: desired.uid},
        },
        "spec": {
            "clusterName": desired.name,
            "repository": repository,
            "deadlineSeconds": wanted.deadline_seconds or DEADLINE_S,
            "serviceAccountName": wanted.service_account_name or "default",
        },
    }


def _is_of(found: Body, desired: Desired) -> bool:
    marks = found["metadata"].get("annotations") or {}
    named = (found.get("spec") or {}).get("clusterName") == desired.name
    return named and marks.get(labels.FINAL_BACKUP_OF) == desired.uid
