"""Which ServiceAccounts may request certificates: the subjects of one ClusterRoleBinding, one for each cluster.

CertificateSigningRequests have no namespace, so the permission can only be granted for the whole Kubernetes cluster; it
is granted to the accounts of members and to nobody else. The chart creates role and binding. The operator may read and
change this one binding, and, since it has the permissions of the role itself, needs no right to grant others.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from collectionstore_operator.kubernetes.api import Body, Kind, Kube
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import Desired

READ_S: Final = 10.0
"""The loops of all clusters share what was read: each reads the subjects of all."""


class Enrolment:
    """The binding of one installation; its name is empty where the operator does not manage it."""

    def __init__(self, kube: Kube, binding: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._kube = kube
        self._binding = binding
        self._clock = clock
        self._lock = asyncio.Lock()
        self._accounts: frozenset[tuple[str, str]] = frozenset()
        self._read = -READ_S

    async def granted(self, desired: Desired) -> bool | None:
        """Return whether the members of a cluster may request certificates; None where that is not managed."""
        if not self._binding:
            return None
        async with self._lock:
            if self._clock() - self._read >= READ_S:
                self._keep(await self._kube.get(Kind.CLUSTER_ROLE_BINDING, self._binding))
        return _account(desired) in self._accounts

    async def grant(self, desired: Desired) -> None:
        """Add the ServiceAccount of a cluster."""
        await self._change(desired, present=True)

    async def revoke(self, desired: Desired) -> None:
        """Remove the ServiceAccount of a cluster."""
        await self._change(desired, present=False)

    async def _change(self, desired: Desired, *, present: bool) -> None:
        if not self._binding:
            return
        namespace, name = _account(desired)
        async with self._lock:
            found = await self._kube.get(Kind.CLUSTER_ROLE_BINDING, self._binding)
            subjects = list(found.get("subjects") or ())
            others = [one for one in subjects if (one.get("namespace", ""), one["name"]) != (namespace, name)]
            wanted = [*others, {"kind": "ServiceAccount", "name": name, "namespace": namespace}] if present else others
            if len(wanted) != len(subjects):
                # The list is replaced as a whole: without the version, what was added meanwhile would be lost.
                metadata = {"resourceVersion": found["metadata"]["resourceVersion"]}
                body: Body = {"metadata": metadata, "subjects": wanted}
                found = await self._kube.patch(Kind.CLUSTER_ROLE_BINDING, self._binding, None, body)
            self._keep(found)

    def _keep(self, found: Body) -> None:
        subjects = found.get("subjects") or ()
        self._accounts = frozenset(
            (one.get("namespace", ""), one["name"]) for one in subjects if one["kind"] == "ServiceAccount"
        )
        self._read = self._clock()


def _account(desired: Desired) -> tuple[str, str]:
    return desired.namespace, labels.service_account(desired.name)
