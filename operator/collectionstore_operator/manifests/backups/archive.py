"""The Deployment that archives the log of a cluster: one pod, never two at the same time."""

from __future__ import annotations

from typing import Final

from collectionstore_operator.manifests.backups.pod import pod_template
from collectionstore_operator.manifests.backups.work import OWNER, Work, owned
from collectionstore_operator.manifests.manifest import Manifest
from collectionstore_operator.resource.backups import names

STATUS_PORT: Final = 7_403


def build_archive(work: Work) -> Manifest:
    """Return the Deployment; its pod serves how far it is."""
    selector = {**names.pod_selector(work.cluster_name), OWNER: work.uid}
    command = ("archive", "--quiet", "--output=json", f"--status-address=0.0.0.0:{STATUS_PORT}")
    template = pod_template(work, command, reads_cluster=True, status_port=STATUS_PORT)
    # Jobs of the same schedule have the same labels: a Deployment must not select their pods.
    template["metadata"]["labels"] |= _task()
    spec = {
        "replicas": 1,
        "revisionHistoryLimit": 1,
        "strategy": {"type": "Recreate"},
        "selector": {"matchLabels": {**selector, **_task()}},
        "template": template,
    }
    name = names.archive(work.name, work.uid)
    return owned(work, api_version="apps/v1", kind="Deployment", name=name, spec=spec, annotations={})


def _task() -> dict[str, str]:
    return {names.TASK: "archive"}
