"""What the operator must be allowed to do, all in one place, and the question whether it is.

The roles of the chart are made from this list, and a test compares them. Checked at the start, because kopf and every
client would otherwise retry a 403 for a long time, and a missing role would look like slowness.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final, NamedTuple

from collectionstore_operator import labels
from collectionstore_operator.kube.client import Kube

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
    Permission(labels.GROUP, labels.PLURAL, ("get", "list", "watch", "patch")),
    Permission(labels.GROUP, f"{labels.PLURAL}/status", ("get", "patch")),
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
    Permission("events.k8s.io", "events", ("create", "patch")),
    Permission("", "persistentvolumes", ("patch",), everywhere=True),
    Permission("", "nodes", ("get", "list", "watch"), everywhere=True),
    Permission("certificates.k8s.io", "certificatesigningrequests", ("get", "list", "watch"), everywhere=True),
    Permission("certificates.k8s.io", "certificatesigningrequests/status", ("patch",), everywhere=True),
    Permission("certificates.k8s.io", "certificatesigningrequests/approval", ("patch",), everywhere=True),
    Permission("certificates.k8s.io", "signers", ("approve", "sign"), everywhere=True, name=SIGNER),
)
"""Needed in every namespace that is watched, or in all of them for those that have none."""

OWN: Final = (Permission("coordination.k8s.io", "leases", ("get", "create", "update")),)
"""Needed in the operator's own namespace."""

AT_ONCE: Final = 8


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

    return [line for line in await asyncio.gather(*(ask(*one) for one in asked)) if line]


def _line(permission: Permission, verb: str, namespace: str | None) -> str:
    resource = f"{permission.resource}.{permission.group}" if permission.group else permission.resource
    where = f"in the namespace {namespace}" if namespace else "in all namespaces"
    named = f" {permission.name}" if permission.name else ""
    return f"{verb} {resource}{named} {'in the whole cluster' if permission.everywhere else where}"
