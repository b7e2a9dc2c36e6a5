"""The kinds of objects that the operator uses, and their paths on the API server."""

from __future__ import annotations

import enum
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import quote

from collectionstore_operator.resource import labels
from collectionstore_operator.resource.access.names import ROLE_PLURAL, USER_PLURAL
from collectionstore_operator.resource.backups.names import BACKUP_PLURAL, SCHEDULE_PLURAL

Body: TypeAlias = dict[str, Any]
"""JSON of an object or a part of one."""


class _Place(NamedTuple):
    api_version: str
    plural: str
    namespaced: bool = True


class Kind(enum.Enum):
    """One kind, named as in the API."""

    BACKUP = _Place(labels.API_VERSION, BACKUP_PLURAL)
    BACKUP_SCHEDULE = _Place(labels.API_VERSION, SCHEDULE_PLURAL)
    CLUSTER = _Place(labels.API_VERSION, labels.PLURAL)
    CLUSTER_ROLE_BINDING = _Place("rbac.authorization.k8s.io/v1", "clusterrolebindings", namespaced=False)
    CONFIG_MAP = _Place("v1", "configmaps")
    CONTROLLER_REVISION = _Place("apps/v1", "controllerrevisions")
    DEPLOYMENT = _Place("apps/v1", "deployments")
    EVENT = _Place("events.k8s.io/v1", "events")
    JOB = _Place("batch/v1", "jobs")
    LEASE = _Place("coordination.k8s.io/v1", "leases")
    NAMESPACE = _Place("v1", "namespaces", namespaced=False)
    NETWORK_POLICY = _Place("networking.k8s.io/v1", "networkpolicies")
    NODE = _Place("v1", "nodes", namespaced=False)
    PERSISTENT_VOLUME = _Place("v1", "persistentvolumes", namespaced=False)
    PERSISTENT_VOLUME_CLAIM = _Place("v1", "persistentvolumeclaims")
    POD = _Place("v1", "pods")
    POD_DISRUPTION_BUDGET = _Place("policy/v1", "poddisruptionbudgets")
    POD_MONITOR = _Place("monitoring.coreos.com/v1", "podmonitors")
    ROLE = _Place(labels.API_VERSION, ROLE_PLURAL)
    SECRET = _Place("v1", "secrets")
    SERVICE = _Place("v1", "services")
    SERVICE_ACCOUNT = _Place("v1", "serviceaccounts")
    SIGNING_REQUEST = _Place("certificates.k8s.io/v1", "certificatesigningrequests", namespaced=False)
    STORAGE_CLASS = _Place("storage.k8s.io/v1", "storageclasses", namespaced=False)
    STATEFUL_SET = _Place("apps/v1", "statefulsets")
    VOLUME_SNAPSHOT = _Place("snapshot.storage.k8s.io/v1", "volumesnapshots")
    USER = _Place(labels.API_VERSION, USER_PLURAL)
    ACCESS_REVIEW = _Place("authorization.k8s.io/v1", "selfsubjectaccessreviews", namespaced=False)

    @property
    def api_version(self) -> str:
        """Return the value of `apiVersion`."""
        return self.value.api_version

    @property
    def group(self) -> str:
        """Return the API group, empty for the core."""
        group, slash, _ = self.api_version.partition("/")
        return group if slash else ""

    @property
    def plural(self) -> str:
        """Return the resource name used in paths and in Roles."""
        return self.value.plural

    def path(self, namespace: str | None, name: str | None = None, subresource: str | None = None) -> str:
        """Return the path of an object, of a namespace's objects, or of all objects when no namespace is given."""
        parts = ["apis" if self.group else "api", *self.api_version.split("/")]
        if self.value.namespaced and namespace is not None:
            parts += ["namespaces", namespace]
        parts += [self.plural, *(part for part in (name, subresource) if part is not None)]
        return "/" + "/".join(quote(part, safe="") for part in parts)


def kind_named(body: Body) -> Kind:
    """Return the kind of an object. Raises ValueError for a kind that the operator does not use."""
    api_version, name = body["apiVersion"], body["kind"].lower()
    for kind in Kind:
        singulars = (kind.plural[:-1], kind.plural.removesuffix("es"), f"{kind.plural.removesuffix('ies')}y")
        if kind.api_version == api_version and name in singulars:
            return kind
    raise ValueError(f"{api_version} {body['kind']} is not a kind that the operator uses")
