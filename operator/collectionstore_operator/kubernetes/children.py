"""The StatefulSet and the other objects of a cluster: read them with their digests, apply and delete them."""

from __future__ import annotations

import asyncio
from typing import Final

from collectionstore_operator import manifests
from collectionstore_operator.errors import ActionRefused
from collectionstore_operator.kubernetes.api import Body, Kind, Kube, NotFound
from collectionstore_operator.kubernetes.claims import requested_bytes
from collectionstore_operator.manifests import statefulset
from collectionstore_operator.model.actions import (
    ApplyObject,
    DeleteObject,
    EnsureWorkload,
    ReplaceWorkload,
    RestoreLabels,
)
from collectionstore_operator.model.observed import ABSENT, Absent, AppliedObject, Unknown, Workload
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import Desired

KINDS: Final = {
    "ServiceAccount": Kind.SERVICE_ACCOUNT,
    "Service": Kind.SERVICE,
    "PodDisruptionBudget": Kind.POD_DISRUPTION_BUDGET,
    "PodMonitor": Kind.POD_MONITOR,
}
_IMMUTABLE: Final = ("volumeClaimTemplates", "serviceName", "podManagementPolicy", "selector")
"""Fields of a StatefulSet that the API server does not let change; new volume sizes need a new StatefulSet."""


async def read_objects(kube: Kube, desired: Desired) -> tuple[AppliedObject, ...]:
    """Return the objects that exist for a cluster, except the StatefulSet."""
    found = await asyncio.gather(*(_read_kind(kube, desired, kind) for kind in KINDS))
    return tuple(one for of_kind in found for one in of_kind)


async def _read_kind(kube: Kube, desired: Desired, name: str) -> list[AppliedObject]:
    try:
        items = await kube.find_all(KINDS[name], desired.namespace, labels.selector(desired.name))
    except NotFound:
        return []  # its CustomResourceDefinition is not installed, so no object of it can exist
    return [
        AppliedObject(
            kind=name,
            name=item["metadata"]["name"],
            digest=(item["metadata"].get("annotations") or {}).get(labels.DIGEST, ""),
        )
        for item in items
    ]


def read_workload(found: Body | None, desired: Desired) -> Workload | Absent | Unknown:
    """Return a StatefulSet as the workload; one owned by an earlier resource of the same name is Unknown."""
    if found is None:
        return ABSENT
    owners = found["metadata"].get("ownerReferences") or ()
    if desired.uid not in {owner["uid"] for owner in owners}:
        return Unknown(f"the StatefulSet {desired.name} has another owner")
    if "deletionTimestamp" in found["metadata"]:
        return Unknown(f"the StatefulSet {desired.name} is being deleted")
    template = found["spec"]["template"]["metadata"].get("annotations") or {}
    sizes = [requested_bytes(claim) for claim in found["spec"].get("volumeClaimTemplates") or ()]
    return Workload(
        replicas=found["spec"].get("replicas", 1),
        revision=template.get(labels.REVISION, ""),
        volume_bytes=sizes[0] if sizes else None,
    )


async def ensure_workload(kube: Kube, action: EnsureWorkload, desired: Desired, *, cluster_id: str) -> None:
    """Apply the StatefulSet with `action.replicas`; one that exists keeps its immutable fields, also volume sizes."""
    body = statefulset.build(desired, cluster_id=cluster_id, replicas=action.replicas).body
    found = await kube.find(Kind.STATEFUL_SET, desired.name, desired.namespace)
    if found is not None:
        if isinstance(read_workload(found, desired), Unknown):
            raise ActionRefused(f"the StatefulSet {desired.name} has another owner")
        for key in _IMMUTABLE:
            body["spec"][key] = found["spec"][key]
        body["metadata"]["uid"] = found["metadata"]["uid"]
    await kube.apply(body)


async def release_workload(kube: Kube, action: ReplaceWorkload, desired: Desired) -> None:
    """Delete the StatefulSet and orphan its pods, which the next one of this name adopts. Raises ActionRefused."""
    found = await kube.find(Kind.STATEFUL_SET, desired.name, desired.namespace)
    seen = read_workload(found, desired)
    if found is None or not isinstance(seen, Workload) or seen.replicas != action.replicas:
        raise ActionRefused(f"the StatefulSet {desired.name} has changed since it was observed")
    metadata = found["metadata"]
    await kube.delete(
        Kind.STATEFUL_SET,
        desired.name,
        desired.namespace,
        uid=metadata["uid"],
        resource_version=metadata["resourceVersion"],
        orphan=True,
    )


async def apply(kube: Kube, action: ApplyObject, desired: Desired) -> None:
    """Apply one object from its manifest. Raises ActionRefused when the digest is not the planned one."""
    for manifest in manifests.build(desired, disruptions=action.max_unavailable):
        if (manifest.kind, manifest.name, manifest.digest) == (action.kind, action.name, action.digest):
            await kube.apply(manifest.body)
            return
    raise ActionRefused(f"the manifest of {action.kind} {action.name} differs from the planned one")


async def restore_labels(kube: Kube, action: RestoreLabels, desired: Desired) -> None:
    """Set our labels on a pod or a claim again; the uid is a precondition."""
    kind = Kind.POD if action.kind == "Pod" else Kind.PERSISTENT_VOLUME_CLAIM
    metadata: Body = {"uid": action.uid, "labels": labels.object_labels(desired.name)}
    await kube.patch(kind, action.name, desired.namespace, {"metadata": metadata})


async def delete(kube: Kube, action: DeleteObject, desired: Desired) -> None:
    """Delete one object of an optional kind. Raises ActionRefused for any other kind."""
    if action.kind not in manifests.OPTIONAL:
        raise ActionRefused(f"a {action.kind} stays as long as its cluster")
    await kube.delete(KINDS[action.kind], action.name, desired.namespace)
