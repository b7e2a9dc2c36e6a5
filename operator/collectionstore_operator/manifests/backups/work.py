"""For whom a pod works, and with what: the same for a backup and a schedule."""

from __future__ import annotations

import hashlib
import json
from typing import Final

import msgspec

from collectionstore_operator.manifests.manifest import Body, Manifest
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.backups import names
from collectionstore_operator.resource.backups.desired import Backup, Schedule
from collectionstore_operator.resource.compute import Resources
from collectionstore_operator.resource.desired import Desired
from collectionstore_operator.resource.repository import Repository

OWNER: Final = f"{labels.GROUP}/backup-owner"
"""Label on pods: the uid of the backup or schedule that they work for."""


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """The owner of Jobs, and what their pods need."""

    kind: str
    name: str
    namespace: str
    uid: str
    created: str
    cluster_name: str
    cluster: Desired | None
    """None once it is gone: what is stored can still be deleted."""
    cluster_id: str
    image: str
    repository: Repository
    deadline_s: int
    max_bytes_per_second: int | None = None
    service_account: str
    resources: Resources


def work_of_backup(backup: Backup, cluster: Desired | None, cluster_id: str, image: str) -> Work:
    """Return the work for a backup; `image` is that of its run, for when the cluster is gone."""
    return _work(names.BACKUP_KIND, backup, cluster, cluster_id, image)


def work_of_schedule(schedule: Schedule, cluster: Desired | None, cluster_id: str) -> Work:
    """Return the work for a schedule."""
    return _work(names.SCHEDULE_KIND, schedule, cluster, cluster_id, "")


def _work(kind: str, owner: Backup | Schedule, cluster: Desired | None, cluster_id: str, image: str) -> Work:
    spec = owner.spec
    return Work(
        kind=kind,
        name=owner.name,
        namespace=owner.namespace,
        uid=owner.uid,
        created=owner.created,
        cluster_name=spec.cluster_name,
        cluster=cluster,
        cluster_id=cluster_id,
        image=cluster.spec.effective_image if cluster is not None else image,
        repository=spec.repository,
        deadline_s=spec.deadline_seconds,
        max_bytes_per_second=spec.max_bytes_per_second,
        service_account=spec.service_account_name,
        resources=spec.resources,
    )


def owned(work: Work, *, api_version: str, kind: str, name: str, spec: Body, annotations: dict[str, str]) -> Manifest:
    """Return an object that goes with the backup or the schedule, with its digest."""
    metadata: Body = {
        "name": name,
        "namespace": work.namespace,
        "labels": {**names.pod_labels(work.cluster_name), OWNER: work.uid},
        "ownerReferences": [
            {
                "apiVersion": labels.API_VERSION,
                "kind": work.kind,
                "name": work.name,
                "uid": work.uid,
                "controller": True,
                "blockOwnerDeletion": False,
            }
        ],
    }
    body: Body = {"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec}
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:16]
    metadata["annotations"] = {**annotations, labels.DIGEST: digest}
    return Manifest(kind=kind, name=name, body=body, digest=digest)
