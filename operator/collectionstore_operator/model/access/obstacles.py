"""Why nothing can be done in a cluster for a user or a role. Pure."""

from __future__ import annotations

from typing import NamedTuple

from collectionstore_operator.model.backups.observed import ClusterSeen
from collectionstore_operator.model.observed import Absent, Unknown


class Obstacle(NamedTuple):
    """Why, as a condition says it; `unknown` where it could not be told."""

    reason: str
    message: str
    unknown: bool = False


def obstacle(cluster: ClusterSeen | Absent | Unknown, name: str) -> Obstacle | None:
    """Return why nothing can be done in the cluster `name`; None if something can."""
    if isinstance(cluster, Unknown):
        return Obstacle("ClusterUnknown", f"the cluster {name} cannot be read: {cluster.reason}", unknown=True)
    if isinstance(cluster, Absent):
        return Obstacle("ClusterNotFound", f"there is no cluster {name} in the namespace")
    if cluster.desired.deleting and not cluster.desired.spec.deletion_protection:
        return Obstacle("ClusterDeleting", f"the cluster {name} is being deleted")
    if cluster.desired.spec.paused:
        return Obstacle("Paused", f"spec.paused of the cluster {name} is true")
    if not cluster.initialized or not cluster.cluster_id:
        return Obstacle("ClusterNotReady", f"the cluster {name} has not been bootstrapped yet")
    if cluster.desired.spec.asleep:
        return Obstacle("Hibernated", f"the cluster {name} is hibernated")
    if cluster.unavailable:
        return Obstacle("ClusterNotReady", f"the cluster {name} is not available: {cluster.unavailable}")
    return None
