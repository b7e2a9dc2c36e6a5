"""The cluster that a backup is of, as its resource says."""

from __future__ import annotations

from collectionstore_operator.errors import InvalidResource
from collectionstore_operator.kubernetes.api import ApiError, Kind, Kube
from collectionstore_operator.model.backups.observed import ClusterSeen
from collectionstore_operator.model.observed import ABSENT, Absent, Unknown
from collectionstore_operator.reconcile.backup_decisions import cluster_seen
from collectionstore_operator.resource.desired import parse


async def observe_cluster(kube: Kube, name: str, namespace: str) -> ClusterSeen | Absent | Unknown:
    """Return the cluster of a name: one request. One that is invalid is Unknown: how it runs cannot be told."""
    try:
        found = await kube.find(Kind.CLUSTER, name, namespace)
    except ApiError as error:
        return Unknown(str(error))
    if found is None:
        return ABSENT
    try:
        desired = parse(found)
    except InvalidResource as error:
        return Unknown(f"its resource is invalid: {error}")
    return cluster_seen(desired, found.get("status") or {})
