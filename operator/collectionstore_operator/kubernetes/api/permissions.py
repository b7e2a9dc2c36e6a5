"""The permissions that the operator needs, in one place, and the check that it has them.

The chart's Roles are generated from this list, and a test compares them. Checked at startup, because kopf and every
client would otherwise retry a 403 for a long time, and a missing Role would look like slowness.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final, NamedTuple

import structlog

from collectionstore_operator.kubernetes.api.api_errors import Unavailable
from collectionstore_operator.kubernetes.api.client import Kube
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.access.names import ROLE_PLURAL, USER_PLURAL
from collectionstore_operator.resource.backups.names import BACKUP_PLURAL, SCHEDULE_PLURAL

SIGNER: Final = f"{labels.GROUP}/node"


class Permission(NamedTuple):
    """Verbs on a resource; with `everywhere` they are granted cluster-wide."""

    group: str
    resource: str
    verbs: tuple[str, ...]
    everywhere: bool = False
    name: str = ""
    """Only the object of this name."""


PERMISSIONS: Final = (
    # Everywhere: when a namespace is deleted, the Roles in it go before the resources that wait for our finalizer.
    Permission(labels.GROUP, labels.PLURAL, ("get", "list", "watch", "patch"), everywhere=True),
    Permission(labels.GROUP, f"{labels.PLURAL}/status", ("get", "patch"), everywhere=True),
    Permission(labels.GROUP, BACKUP_PLURAL, ("get", "list", "watch", "create", "patch", "delete"), everywhere=True),
    Permission(labels.GROUP, f"{BACKUP_PLURAL}/status", ("get", "patch"), everywhere=True),
    Permission(labels.GROUP, SCHEDULE_PLURAL, ("get", "list", "watch"), everywhere=True),
    Permission(labels.GROUP, f"{SCHEDULE_PLURAL}/status", ("get", "patch"), everywhere=True),
    # create and delete: that of Prometheus, which comes and goes with the PodMonitor.
    Permission(labels.GROUP, USER_PLURAL, ("get", "list", "watch", "create", "patch", "delete"), everywhere=True),
    Permission(labels.GROUP, f"{USER_PLURAL}/status", ("get", "patch"), everywhere=True),
    Permission(labels.GROUP, ROLE_PLURAL, ("get", "list", "watch", "patch"), everywhere=True),
    Permission(labels.GROUP, f"{ROLE_PLURAL}/status", ("get", "patch"), everywhere=True),
    Permission("", "namespaces", ("get",), everywhere=True),
    Permission(labels.GROUP, f"{labels.PLURAL}/finalizers", ("update",)),
    Permission("apps", "statefulsets", ("get", "list", "watch", "create", "patch", "update", "delete")),
    Permission("apps", "controllerrevisions", ("get",)),
    Permission("apps", "deployments", ("get", "create", "patch", "delete")),
    Permission("batch", "jobs", ("get", "create", "delete")),
    Permission("", "pods", ("get", "list", "watch", "patch", "delete")),
    Permission("", "pods/eviction", ("create",)),
    Permission("coordination.k8s.io", "leases", ("get", "create", "update")),
    Permission("", "persistentvolumeclaims", ("get", "list", "watch", "create", "patch", "delete")),
    # delete: those of read replicas, when there are none any more.
    Permission("", "services", ("get", "list", "watch", "create", "patch", "update", "delete")),
    Permission("", "serviceaccounts", ("get", "list", "watch", "create", "patch", "update")),
    Permission("", "configmaps", ("get", "create", "patch", "delete")),
    Permission("", "secrets", ("get", "create", "patch", "delete")),
    Permission("policy", "poddisruptionbudgets", ("get", "list", "watch", "create", "patch", "update", "delete")),
    Permission(
        "networking.k8s.io",
        "networkpolicies",
        ("get", "list", "watch", "create", "patch", "update", "delete"),
    ),
    # list: the version before needs it, so that the operator's image can be rolled back under this chart.
    Permission("monitoring.coreos.com", "podmonitors", ("get", "list", "create", "patch", "update", "delete")),
    Permission("events.k8s.io", "events", ("create", "patch", "list")),
    # The one that a new cluster is to be made of, to say why it cannot be.
    Permission("snapshot.storage.k8s.io", "volumesnapshots", ("get",)),
    Permission("", "persistentvolumes", ("get", "patch"), everywhere=True),
    Permission("", "nodes", ("get", "list", "watch"), everywhere=True),
    Permission("storage.k8s.io", "storageclasses", ("get",), everywhere=True),
    Permission(
        "certificates.k8s.io", "certificatesigningrequests", ("get", "list", "watch", "create"), everywhere=True
    ),
    Permission("certificates.k8s.io", "certificatesigningrequests/status", ("patch",), everywhere=True),
    Permission("certificates.k8s.io", "certificatesigningrequests/approval", ("patch",), everywhere=True),
    Permission("certificates.k8s.io", "signers", ("approve", "sign"), everywhere=True, name=SIGNER),
)
"""Needed in every watched namespace; cluster-wide for cluster-scoped resources."""

OWN: Final = (Permission("coordination.k8s.io", "leases", ("get", "create", "update")),)
"""Needed in the operator's own namespace."""

NODES: Final = (Permission("certificates.k8s.io", "certificatesigningrequests", ("create", "get"), everywhere=True),)
"""Needed by the pods of clusters, and granted to their ServiceAccounts alone (`enrolment`). The operator has these
permissions itself, so that it may bind the role without the right to grant anything else."""


def binding(name: str) -> tuple[Permission, ...]:
    """Return what is needed to let members request certificates, on this one ClusterRoleBinding."""
    group, verbs = "rbac.authorization.k8s.io", ("get", "patch")
    return (Permission(group, "clusterrolebindings", verbs, everywhere=True, name=name),) if name else ()


AT_ONCE: Final = 8
PAUSE_S: Final = 5.0

log = structlog.get_logger(__name__)


async def missing(
    kube: Kube, *, namespaces: Iterable[str | None], own_namespace: str, enrolment_binding: str = ""
) -> list[str]:
    """Return the missing permissions, one line each; None among the namespaces means all of them."""
    asked: list[tuple[Permission, str, str | None]] = [
        (permission, verb, own_namespace) for permission in OWN for verb in permission.verbs
    ]
    for permission in (*PERMISSIONS, *binding(enrolment_binding)):
        places = [None] if permission.everywhere else list(namespaces)
        asked += [(permission, verb, place) for place in places for verb in permission.verbs]
    gate = asyncio.Semaphore(AT_ONCE)

    async def ask(permission: Permission, verb: str, namespace: str | None) -> str:
        resource, _, subresource = permission.resource.partition("/")
        attributes = {"group": permission.group, "resource": resource, "verb": verb}
        further = {"subresource": subresource, "namespace": namespace or "", "name": permission.name}
        async with gate:
            allowed = await kube.review({**attributes, **{key: value for key, value in further.items() if value}})
        return "" if allowed else _line(permission, verb, namespace)

    asking = [asyncio.create_task(ask(*one)) for one in asked]
    try:
        return [line for line in await asyncio.gather(*asking) if line]
    finally:
        # After the first error the caller retries: reviews still running would compete with the retried ones.
        for task in asking:
            task.cancel()


async def missing_once_reachable(
    kube: Kube,
    *,
    namespaces: Iterable[str | None],
    own_namespace: str,
    stop: asyncio.Event,
    enrolment_binding: str = "",
    pause_s: float = PAUSE_S,
) -> list[str]:
    """Return the missing permissions as soon as the API server is reachable; none when `stop` is set before.

    To exit instead would put the pod into CrashLoopBackOff: up to five minutes lost after the API server is back.
    """
    places = tuple(namespaces)
    while not stop.is_set():
        try:
            return await missing(
                kube, namespaces=places, own_namespace=own_namespace, enrolment_binding=enrolment_binding
            )
        except Unavailable as error:
            log.warning("api_server.awaited", reason=str(error))
        try:
            async with asyncio.timeout(pause_s):
                await stop.wait()
        except TimeoutError:
            pass  # not stopped within the pause: retry
    return []


def _line(permission: Permission, verb: str, namespace: str | None) -> str:
    resource = f"{permission.resource}.{permission.group}" if permission.group else permission.resource
    where = f"in the namespace {namespace}" if namespace else "in all namespaces"
    named = f" {permission.name}" if permission.name else ""
    return f"{verb} {resource}{named} {'in the whole cluster' if permission.everywhere else where}"
