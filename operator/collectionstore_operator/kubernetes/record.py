"""The record of a cluster: a ConfigMap with the facts that must survive the resource as long as its volumes do.

Not the status of the resource: a status is lost when the object is restored from a backup or created again.
"""

from __future__ import annotations

import secrets

import msgspec

from collectionstore_operator.errors import ActionRefused
from collectionstore_operator.kubernetes.api import Body, Kind, Kube
from collectionstore_operator.model.actions import EstablishIdentity, RestoreIdentity
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import Desired

AUTHORITIES = "ca.crt"


class Facts(msgspec.Struct, frozen=True, rename="kebab", kw_only=True):
    """The recorded facts; all are text, as a ConfigMap stores it."""

    cluster_id: str = ""
    initialized: str = ""
    """`true` once the cluster has had data."""
    bootstrap_node: str = ""
    authorities: str = msgspec.field(name=AUTHORITIES, default="")
    """Trust anchors of the members, concatenated PEM; mounted by the pods."""
    protected_deletion: str = ""
    """Uid of the resource whose deletion was requested while it was protected."""


class Record:
    """The record of one cluster."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube

    async def read(self, desired: Desired) -> Facts:
        """Return the recorded facts; all are empty before the cluster has its identity."""
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

    async def establish(self, action: EstablishIdentity, desired: Desired) -> None:
        """Record the identity. Raises ActionRefused when another one is recorded by now.

        The ID of a new cluster is drawn here. Executed twice the action keeps the ID of the first time: the answer to
        an earlier attempt may have been lost, and volumes may carry that ID already.
        """
        recorded = (await self.read(desired)).cluster_id
        if recorded and action.cluster_id not in ("", recorded):
            raise ActionRefused(f"the record names the cluster {recorded} by now, not {action.cluster_id}")
        if recorded:
            return
        facts = {
            "cluster_id": action.cluster_id or secrets.token_hex(8),
            "initialized": "true" if action.initialized else "",
            "bootstrap_node": action.bootstrap_node,
        }
        # Only added, never cleared: a record without an ID may still say that the cluster has had data.
        await self.change(desired, **{name: fact for name, fact in facts.items() if fact})

    async def restore(self, action: RestoreIdentity, desired: Desired) -> None:
        """Record the proven ID again. Raises ActionRefused when the record has changed since it was observed."""
        recorded = (await self.read(desired)).cluster_id
        if recorded not in (action.recorded, action.cluster_id):
            raise ActionRefused(f"the record names the cluster {recorded} by now, not {action.recorded}")
        await self.change(desired, cluster_id=action.cluster_id)

    async def change(self, desired: Desired, **facts: str) -> Facts:
        """Change single facts, if they differ; return all of them."""
        old = await self.read(desired)
        new = msgspec.structs.replace(old, **facts)
        if new != old:
            await self.write(desired, new)
        return new

    async def delete(self, desired: Desired) -> None:
        """Delete the record. The caller has made sure that no volume of the cluster is left."""
        await self._kube.delete(Kind.CONFIG_MAP, labels.record(desired.name), desired.namespace)
