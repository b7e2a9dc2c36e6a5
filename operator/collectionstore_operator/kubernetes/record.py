"""What must never be forgotten of a cluster: a ConfigMap that outlives the resource as long as its volumes do.

Not the status of the resource: a status is lost when an object is restored from a backup or made anew.
"""

from __future__ import annotations

import msgspec

from collectionstore_operator.kubernetes.api import Body, Kind, Kube
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import Desired

AUTHORITIES = "ca.crt"


class Facts(msgspec.Struct, frozen=True, rename="kebab", kw_only=True):
    """The facts; all text, as a ConfigMap has it."""

    cluster_id: str = ""
    initialized: str = ""
    """`true` once the cluster has had data."""
    bootstrap_node: str = ""
    authorities: str = msgspec.field(name=AUTHORITIES, default="")
    """Certificates to trust, PEM, one after the other; mounted by the pods."""


class Record:
    """The record of one cluster."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube

    async def read(self, desired: Desired) -> Facts:
        """Return what is recorded; nothing is, before the cluster has its identity."""
        found = await self._kube.find(Kind.CONFIG_MAP, labels.record(desired.name), desired.namespace)
        return msgspec.convert((found or {}).get("data") or {}, Facts)

    async def write(self, desired: Desired, facts: Facts) -> None:
        """Record durably; the API server answers after its own quorum has it."""
        body: Body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": labels.record(desired.name),
                "namespace": desired.namespace,
                "labels": labels.object_labels(desired.name),
            },
            "data": {key: value for key, value in msgspec.to_builtins(facts).items() if value},
        }
        await self._kube.apply(body)

    async def change(self, desired: Desired, **facts: str) -> Facts:
        """Change single facts, if they differ; return all."""
        old = await self.read(desired)
        new = msgspec.structs.replace(old, **facts)
        if new != old:
            await self.write(desired, new)
        return new

    async def forget(self, desired: Desired) -> None:
        """Delete the record, with the last volume."""
        await self._kube.delete(Kind.CONFIG_MAP, labels.record(desired.name), desired.namespace)
