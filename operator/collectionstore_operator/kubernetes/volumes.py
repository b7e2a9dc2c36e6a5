"""Marks volumes, makes them larger and takes them away.

Each step is safely repeatable, and each is checked against what it was decided for.
"""

from __future__ import annotations

from collectionstore_operator.errors import ActionRefused
from collectionstore_operator.kubernetes.api import Body, Kind, Kube
from collectionstore_operator.model.actions import GrowVolume, MarkVolume, RetireVolume
from collectionstore_operator.model.observed import NodeId
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import Desired

_RECLAIM = "persistentVolumeReclaimPolicy"


async def record_node(kube: Kube, desired: Desired, claim: str, node_id: NodeId) -> None:
    """Note on a claim which incarnation was met on it."""
    await _annotate(kube, desired, claim, {labels.NODE_ID: node_id})


async def mark(kube: Kube, action: MarkVolume, desired: Desired) -> None:
    """Record that the member on a claim left the cluster. Raises ActionRefused when another is on it."""
    found = await kube.get(Kind.PERSISTENT_VOLUME_CLAIM, action.name, desired.namespace)
    _check(found, action.node_id)
    await _annotate(
        kube,
        desired,
        action.name,
        {labels.REMOVED: action.node_id or "unknown"},
        resource_version=found["metadata"]["resourceVersion"],
    )


async def retire(kube: Kube, action: RetireVolume, desired: Desired) -> None:
    """Take a volume away from its ordinal, and stop the pod on it; the next pod gets an empty one.

    BEFORE the claim is deleted its volume is told to outlive it, when it is to be kept. The claim goes BEFORE the pod,
    or a new pod would be given the old disk; it stays until the pod has stopped, as the API server sees to.
    """
    found = await kube.find(Kind.PERSISTENT_VOLUME_CLAIM, action.name, desired.namespace)
    if found is not None and "deletionTimestamp" not in found["metadata"]:
        _check(found, action.node_id)
        if action.keep:
            await _keep_volume(kube, found, desired, action)
        metadata = found["metadata"]
        await kube.delete(
            Kind.PERSISTENT_VOLUME_CLAIM,
            action.name,
            desired.namespace,
            uid=metadata["uid"],
            resource_version=metadata["resourceVersion"],
        )
    if action.uid:
        await kube.delete(Kind.POD, desired.member(action.ordinal), desired.namespace, uid=action.uid)


async def grow(kube: Kube, action: GrowVolume, desired: Desired) -> None:
    """Ask for a larger volume; the storage does the rest, and the claim tells how far it is."""
    found = await kube.get(Kind.PERSISTENT_VOLUME_CLAIM, action.name, desired.namespace)
    version = {"resourceVersion": found["metadata"]["resourceVersion"]}
    spec = {"resources": {"requests": {"storage": action.size}}}
    await kube.patch(Kind.PERSISTENT_VOLUME_CLAIM, action.name, desired.namespace, {"metadata": version, "spec": spec})


async def _keep_volume(kube: Kube, claim: Body, desired: Desired, action: RetireVolume) -> None:
    name = claim["spec"].get("volumeName")
    if not name:
        return  # never bound: there is nothing on it
    annotations = {
        labels.CLUSTER: f"{desired.namespace}/{desired.name}",
        labels.NODE_ID: action.node_id or "unknown",
        labels.REMOVED: desired.member(action.ordinal),
    }
    body: Body = {"metadata": {"annotations": annotations}, "spec": {_RECLAIM: "Retain"}}
    await kube.patch(Kind.PERSISTENT_VOLUME, name, None, body)


def _check(claim: Body, node_id: NodeId) -> None:
    found = (claim["metadata"].get("annotations") or {}).get(labels.NODE_ID, "")
    if node_id and found and found != node_id:
        raise ActionRefused(f"the volume {claim['metadata']['name']} holds {found}, not {node_id}")


async def _annotate(
    kube: Kube, desired: Desired, claim: str, annotations: dict[str, str], *, resource_version: str | None = None
) -> None:
    metadata: Body = {"annotations": annotations}
    if resource_version is not None:
        metadata["resourceVersion"] = resource_version
    await kube.patch(Kind.PERSISTENT_VOLUME_CLAIM, claim, desired.namespace, {"metadata": metadata})
