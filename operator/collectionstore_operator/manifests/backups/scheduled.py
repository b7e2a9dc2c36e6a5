"""The backup that a schedule creates for one of its times."""

from __future__ import annotations

from collectionstore_operator.manifests.manifest import Body
from collectionstore_operator.model.backups.actions import CreateBackup
from collectionstore_operator.model.timestamps import rfc3339
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.backups import names
from collectionstore_operator.resource.backups.desired import Schedule


def is_run_of(schedule: Schedule, found: Body) -> bool:
    """Return whether the rounds of the schedule count a backup as one of its runs."""
    label = (found["metadata"].get("labels") or {}).get(names.SCHEDULE)
    return label == schedule.name and (found.get("spec") or {}).get("clusterName") == schedule.spec.cluster_name


def build_backup(action: CreateBackup, schedule: Schedule) -> Body:
    """Return the backup of a run. It has no owner: the schedule may go, and its backups stay."""
    spec = schedule.spec
    repository = {
        "url": spec.repository.url,
        "options": dict(spec.repository.options),
        "credentialsSecretName": spec.repository.credentials_secret_name,
        "claimName": spec.repository.claim_name,
        "encryptionKey": None
        if spec.repository.encryption_key is None
        else {
            "secretName": spec.repository.encryption_key.secret_name,
            "key": spec.repository.encryption_key.key,
        },
    }
    return {
        "apiVersion": labels.API_VERSION,
        "kind": names.BACKUP_KIND,
        "metadata": {
            "name": action.name,
            "namespace": schedule.namespace,
            "labels": {labels.CLUSTER: spec.cluster_name, names.SCHEDULE: schedule.name},
            "annotations": {names.DUE: str(int(action.due)), f"{labels.GROUP}/due-time": rfc3339(action.due)},
        },
        "spec": {
            "clusterName": spec.cluster_name,
            "repository": {name: value for name, value in repository.items() if value},
            "deadlineSeconds": spec.deadline_seconds,
            **({} if spec.max_bytes_per_second is None else {"maxBytesPerSecond": spec.max_bytes_per_second}),
            "serviceAccountName": spec.service_account_name,
            "resources": {"requests": dict(spec.resources.requests), "limits": dict(spec.resources.limits)},
        },
    }
