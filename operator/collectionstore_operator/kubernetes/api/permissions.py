"""What the operator must be allowed to do, all in one place, and the question whether it is.

The roles of the chart are made from this list, and a test compares them. Checked at the start, because kopf and every
client would otherwise retry a 403 for a long time, and a missing role would look like slowness.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final, NamedTuple

import structlog

from collectionstore_operator.kubernetes.api.api_errors import Unavailable
from collectionstore_operator.kubernetes.api.client import Kube
from collectionstore_operator.resource import labels

SIGNER: Final = f"{labels.GROUP}/node"


class Permission(NamedTuple):
    """Verbs on a resource. `everywhere` for what has no namespace."""

    group: str
    resource: str
    verbs: tuple[str, ...]
    everywhere: bool = False
    name: str = ""
    """Only the object of this name."""


PERMISSIONS: Final = (
    # Everywhere: with a namespace, roles in it are deleted before the resources that wait for our finalizer.
    Permission(labels.GROUP, labels.PLURAL, ("get", "list", "watch", "patch"), everywhere=True),
    Permission(labels.GROUP, f"{labels.PLURAL}/status", ("get", "patch"), everywhere=True),
    Permission("", "namespaces", ("get",), everywhere=True),
    Permission(labels.GROUP, f"{labels.PLURAL}/finalizers", ("update",)),
    Permission("apps", "statefulsets", ("get", "list", "watch", "create", "patch", "delete")),
    Permission("", "pods", ("get", "list", "watch", "delete")),
    Permission("", "persistentvolumeclaims", ("get", "list", "watch", "create", "patch", "delete")),
    Permission("", "services", ("get", "list", "create", "patch")),
    Permission("", "serviceaccounts", ("get", "list", "create", "patch")),
    Permission("", "configmaps", ("get", "create", "patch", "delete")),
    Permission("", "secrets", ("get", "create", "patch", "delete")),
    Permission("policy", "poddisruptionbudgets", ("get", "list", "create", "patch")),
    Permission("monitoring.coreos.com", "podmonitors", ("list", "create", "patch", "delete")),
    Permission("events.k8s.io", "events", ("create", "patch", "list")),
    Permission("", "persistentvolumes", ("patch",), everywhere=True),
    Permission("", "nodes", ("get", "list", "watch"), everywhere=True),
    Permission("storage.k8s.io", "storageclasses", ("get",), everywhere=True),
    Permission("certificates.k8s.io", "certificatesigningrequests", ("get", "list", "watch"), everywhere=True),
    Permission("certificates.k8s.io", "certificatesigningrequests/status", ("patch",), everywhere=True),
    Permission("certificates.k8s.io", "certificatesigningrequests/approval", ("patch",), everywhere=True),
    Permission("certificates.k8s.io", "signers", ("approve", "sign"), everywhere=True, name=SIGNER),
)
"""Needed in every namespace that is watched, or in all of them for those that have none."""

OWN: Final = (Permission("coordination.k8s.io", "leases", ("get", "create", "update")),)
"""Needed in the operator's own namespace."""

NODES: Final = (Permission("certificates.k8s.io", "certificatesigningrequests", ("create", "get"), everywhere=True),)
"""Needed by the pods of clusters, whose accounts are made with each resource, so it is given to the groups of all
accounts of the watched namespaces. A request by itself is worth nothing: what is guarded is the right to sign, and the
operator signs for the pod whose uid the API server stamped on the request, and for nobody else."""

AT_ONCE: Final = 8
PAUSE_S: Final = 5.0

log = structlog.get_logger(__name__)


async def missing(kube: Kube, *, namespaces: Iterable[str | None], own_namespace: str) -> list[str]:
    """Return what the operator may not do, as lines for people; None among the namespaces stands for all of them."""
    asked: list[tuple[Permission, str, str | None]] = [
        (permission, verb, own_namespace) for permission in OWN for verb in permission.verbs
    ]
    for permission in PERMISSIONS:
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
        # After the first that failed, the others would go on asking beside whoever asks again.
        for task in asking:
            task.cancel()


async def awaited(
    kube: Kube, *, namespaces: Iterable[str | None], own_namespace: str, stop: asyncio.Event, pause_s: float = PAUSE_S
) -> list[str]:
    """Return what `missing` does, as soon as the API server answers; nothing when told to stop before.

    To exit instead would have the kubelet pause longer and longer, up to five minutes after the API server is back.
    """
    places = tuple(namespaces)
    while not stop.is_set():
        try:
            return await missing(kube, namespaces=places, own_namespace=own_namespace)
        except Unavailable as error:
            log.warning("api_server.awaited", reason=str(error))
        try:
            async with asyncio.timeout(pause_s):
                await stop.wait()
        except TimeoutError:
            pass  # not told to stop: ask again
    return []


def _line(permission: Permission, verb: str, namespace: str | None) -> str:
    resource = f"{permission.resource}.{permission.group}" if permission.group else permission.resource
    where = f"in the namespace {namespace}" if namespace else "in all namespaces"
    named = f" {permission.name}" if permission.name else ""
    return f"{verb} {resource}{named} {'in the whole cluster' if permission.everywhere else where}"
