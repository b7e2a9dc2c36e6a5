"""Names that the operator publishes in Kubernetes: API group, resources, labels, objects, ports.

The client declares them itself, because it may not import the operator; tests/test_published_names.py compares both.
"""

from __future__ import annotations

from typing import Final, NamedTuple
from urllib.parse import quote


class Resource(NamedTuple):
    """One resource of the API server; `plural` is its name in paths and roles."""

    api_version: str
    plural: str
    namespaced: bool = True

    def path(self, namespace: str | None, name: str | None = None) -> str:
        """Return the path of an object, or of the list of all of them in a namespace."""
        parts = ["apis" if "/" in self.api_version else "api", *self.api_version.split("/")]
        if self.namespaced and namespace is not None:
            parts += ["namespaces", namespace]
        parts += [self.plural, *([name] if name is not None else [])]
        return "/" + "/".join(quote(part, safe="") for part in parts)


CLUSTERS: Final = Resource("collectionstore.io/v1alpha1", "collectionstoreclusters")
BACKUPS: Final = Resource("collectionstore.io/v1alpha1", "collectionstorebackups")
CONFIG_MAPS: Final = Resource("v1", "configmaps")
EVENTS: Final = Resource("events.k8s.io/v1", "events")
LEASES: Final = Resource("coordination.k8s.io/v1", "leases")
NODES: Final = Resource("v1", "nodes", namespaced=False)
PERSISTENT_VOLUME_CLAIMS: Final = Resource("v1", "persistentvolumeclaims")
PODS: Final = Resource("v1", "pods")
POD_DISRUPTION_BUDGETS: Final = Resource("policy/v1", "poddisruptionbudgets")
POD_MONITORS: Final = Resource("monitoring.coreos.com/v1", "podmonitors")
SECRETS: Final = Resource("v1", "secrets")
SERVICES: Final = Resource("v1", "services")
SERVICE_ACCOUNTS: Final = Resource("v1", "serviceaccounts")
STATEFUL_SETS: Final = Resource("apps/v1", "statefulsets")

CLUSTER_KIND: Final = "CollectionStoreCluster"
BACKUP_KIND: Final = "CollectionStoreBackup"

REPLACE: Final = "collectionstore.io/replace"
"""Annotation on a pod: replace this member now."""
RESTART: Final = "collectionstore.io/restart"
"""Annotation on the resource, as those below: a new value restarts all members, one at a time."""
ROTATE_AUTHORITY: Final = "collectionstore.io/rotate-authority"
"""A new value replaces the key of the certificate authority."""
TRANSFER_LEADER: Final = "collectionstore.io/transfer-leader"
"""The member that is to lead, or `any`; what follows a space makes the value new."""
FENCE: Final = "collectionstore.io/fence"
"""The members to keep from working, separated by commas."""
APPROVE_UPDATE: Final = "collectionstore.io/approve-update"
"""A supervised update may begin."""

NAME_LABEL: Final = "app.kubernetes.io/name"
OPERATOR: Final = "collectionstore-operator"
"""Value of NAME_LABEL on the operator's pods, and the default name of its Lease."""
OPERATOR_NAMESPACE: Final = "collectionstore-system"
"""Where the documentation and install/operator.yaml install the operator."""
LEASE_VARIABLE: Final = "COLLECTIONSTORE_LEASE"
"""Environment variable of the operator that holds the name of its Lease."""
OPERATOR_PORT: Final = 8080
"""Probes, metrics and debug pages of the operator."""
CLIENT_PORT: Final = 7400
"""The API of a member."""
METRICS_PORT: Final = 7402
"""Probes, metrics and debug pages of a member."""


def member_labels(cluster: str) -> dict[str, str]:
    """Return the labels that select the pods of a cluster, and every other object made for it."""
    return {
        NAME_LABEL: "collectionstore",
        "app.kubernetes.io/instance": cluster,
        "app.kubernetes.io/component": "node",
    }


def read_replica_labels(cluster: str) -> dict[str, str]:
    """Return the labels that select the pods of a cluster's read replicas, and every other object made for them."""
    return {**member_labels(f"{cluster}-read"), "collectionstore.io/cluster": cluster}


def record_name(cluster: str) -> str:
    """Return the name of the ConfigMap in which the operator keeps the cluster's record."""
    return f"{cluster}-record"
