"""The kinds of objects that scenarios read and write, with their API paths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, TypeAlias

Object: TypeAlias = dict[str, Any]
"""An object as decoded from the API server's JSON."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind with its API version and its plural name in paths."""

    api_version: str
    name: str
    plural: str
    namespaced: bool = True

    def path(self, namespace: str, name: str = "", subresource: str = "") -> str:
        """Return the path of an object, or of the list if `name` is empty. Cluster-scoped kinds ignore `namespace`."""
        root = f"/api/{self.api_version}" if "/" not in self.api_version else f"/apis/{self.api_version}"
        parts = [root, *(["namespaces", namespace] if self.namespaced and namespace else []), self.plural]
        return "/".join([*parts, *([name] if name else []), *([subresource] if subresource else [])])


NAMESPACE: Final = Kind("v1", "Namespace", "namespaces", namespaced=False)
NETWORK_POLICY: Final = Kind("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies")
NODE: Final = Kind("v1", "Node", "nodes", namespaced=False)
POD: Final = Kind("v1", "Pod", "pods")
SERVICE: Final = Kind("v1", "Service", "services")
SECRET: Final = Kind("v1", "Secret", "secrets")
CONFIG_MAP: Final = Kind("v1", "ConfigMap", "configmaps")
EVENT: Final = Kind("v1", "Event", "events")
SERVICE_ACCOUNT: Final = Kind("v1", "ServiceAccount", "serviceaccounts")
CLAIM: Final = Kind("v1", "PersistentVolumeClaim", "persistentvolumeclaims")
VOLUME: Final = Kind("v1", "PersistentVolume", "persistentvolumes", namespaced=False)
STORAGE_CLASS: Final = Kind("storage.k8s.io/v1", "StorageClass", "storageclasses", namespaced=False)
STATEFUL_SET: Final = Kind("apps/v1", "StatefulSet", "statefulsets")
JOB: Final = Kind("batch/v1", "Job", "jobs")
DEPLOYMENT: Final = Kind("apps/v1", "Deployment", "deployments")
LEASE: Final = Kind("coordination.k8s.io/v1", "Lease", "leases")
DISRUPTION_BUDGET: Final = Kind("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets")
ENDPOINT_SLICE: Final = Kind("discovery.k8s.io/v1", "EndpointSlice", "endpointslices")
CERTIFICATE_REQUEST: Final = Kind(
    "certificates.k8s.io/v1", "CertificateSigningRequest", "certificatesigningrequests", namespaced=False
)
CUSTOM_RESOURCE: Final = Kind(
    "apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False
)
BACKUP: Final = Kind("collectionstore.io/v1alpha1", "CollectionStoreBackup", "collectionstorebackups")
SCHEDULE: Final = Kind("collectionstore.io/v1alpha1", "CollectionStoreBackupSchedule", "collectionstorebackupschedules")
ROLE: Final = Kind("collectionstore.io/v1alpha1", "CollectionStoreRole", "collectionstoreroles")
USER: Final = Kind("collectionstore.io/v1alpha1", "CollectionStoreUser", "collectionstoreusers")
CLUSTER: Final = Kind("collectionstore.io/v1alpha1", "CollectionStoreCluster", "collectionstoreclusters")


def condition(found: Object, kind: str) -> str:
    """Return the status of one of an object's conditions, such as `True`; `Unknown` when it has none of that type."""
    conditions = found.get("status", {}).get("conditions") or []
    return next((str(one["status"]) for one in conditions if one["type"] == kind), "Unknown")


def is_ready(found: Object) -> bool:
    """Return whether an object (pod, node, cluster) has the condition Ready and is not being deleted."""
    return condition(found, "Ready") == "True" and "deletionTimestamp" not in found["metadata"]


def summary(found: Object) -> str:
    """Return the state of an object in one line, for error messages."""
    metadata, status = found["metadata"], found.get("status", {})
    words = [f"{found.get('kind', 'object').lower()}/{metadata['name']}"]
    words += [f"{key}={status[key]}" for key in ("phase", "reason", "readyReplicas", "replicas") if key in status]
    for one in status.get("conditions") or []:
        explained = one["status"] != "True" and one.get("reason")
        words.append(
            f"{one['type']}={one['status']}" + (f" ({one['reason']}: {one.get('message', '')})" if explained else "")
        )
    for container in status.get("containerStatuses") or []:
        state = container.get("state", {})
        words += [f"{container['name']}: {name} {state[name].get('reason', '')}".rstrip() for name in state]
    return " ".join([*words, *(["being deleted"] if "deletionTimestamp" in metadata else [])])
