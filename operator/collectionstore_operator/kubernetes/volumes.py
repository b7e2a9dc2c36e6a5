"""Actions on volumes: stamp, mark, retire and expand a PersistentVolumeClaim; the reclaim policy of its volume.

Each is idempotent, and each checks that the claim still holds what the action was planned for.
"""

from __future__ import annotations

import time
from typing import Final

import structlog

from collectionstore_operator import faults
from collectionstore_operator.errors import ActionRefused
from collectionstore_operator.kubernetes.api import AlreadyExists, Body, Kind, Kube
from collectionstore_operator.kubernetes.by_name import in_use_by
from collectionstore_operator.kubernetes.claims import claim_name, made_of
from collectionstore_operator.kubernetes.ownership import preconditions
from collectionstore_operator.manifests.statefulset import first_claim
from collectionstore_operator.model.actions import (
    AdoptVolume,
    CreateClaim,
    DeleteReleased,
    DiscardVolumes,
    GrowVolume,
    MarkVolume,
    RetireVolume,
    SetReclaimPolicy,
    StampVolume,
)
from collectionstore_operator.model.observed import NodeId
from collectionstore_operator.model.recovery import OldVolume
from collectionstore_operator.model.timestamps import rfc3339
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import Desired

_RECLAIM: Final = "persistentVolumeReclaimPolicy"

log = structlog.get_logger(__name__)


async def perform(
    kube: Kube,
    action: StampVolume | MarkVolume | RetireVolume | DeleteReleased | GrowVolume | SetReclaimPolicy,
    desired: Desired,
) -> None:
    """Perform an action on a volume. Raises ActionRefused or ApiError."""
    match action:
        case StampVolume():
            await _annotate(kube, desired, action.name, {labels.NODE_ID: action.node_id}, uid=action.uid or None)
        case MarkVolume():
            await mark(kube, action, desired)
        case RetireVolume():
            await retire(kube, action, desired)
        case DeleteReleased():
            await delete_released(kube, action, desired)
        case GrowVolume():
            await grow(kube, action, desired)
        case SetReclaimPolicy():
            await set_reclaim_policy(kube, action, desired)


async def create(kube: Kube, action: CreateClaim, desired: Desired, *, cluster_id: str) -> None:
    """Create the claim of the first member, of a VolumeSnapshot. Raises ActionRefused when another has its name."""
    body = first_claim(desired, cluster_id, action.snapshot)
    try:
        await kube.create(body)
    except AlreadyExists as error:
        found = await kube.find(Kind.PERSISTENT_VOLUME_CLAIM, action.name, desired.namespace)
        stamp = ((found or {}).get("metadata", {}).get("annotations") or {}).get(labels.CLUSTER_ID)
        if found is None or made_of(found) != action.snapshot or stamp != cluster_id:
            raise ActionRefused(f"a claim {action.name} exists that is not made of {action.snapshot}") from error


async def adopt(kube: Kube, action: AdoptVolume, desired: Desired) -> None:
    """Stamp the claim of a recovery's survivor with the new cluster. Raises ActionRefused when it is another claim.

    Its incarnation is a new one, and is stamped once it was observed.
    """
    name = claim_name(desired, action.ordinal)
    found = await kube.get(Kind.PERSISTENT_VOLUME_CLAIM, name, desired.namespace)
    metadata = found["metadata"]
    stamp = (metadata.get("annotations") or {}).get(labels.CLUSTER_ID, "")
    if metadata["uid"] != action.uid or "deletionTimestamp" in metadata:
        raise ActionRefused(f"the claim {name} is not the one of the chosen survivor, or is being deleted")
    if stamp == action.cluster_id:
        return
    if stamp != action.from_cluster:
        raise ActionRefused(f"the claim {name} has the stamp {stamp!r}, not that of {action.from_cluster}")
    annotations = {labels.CLUSTER_ID: action.cluster_id, labels.NODE_ID: None}
    body: Body = {"metadata": {**preconditions(found), "annotations": annotations}}
    await kube.patch(Kind.PERSISTENT_VOLUME_CLAIM, name, desired.namespace, body)


async def mark(kube: Kube, action: MarkVolume, desired: Desired) -> None:
    """Record on a claim that its member left the cluster. Raises ActionRefused when it holds another node's data."""
    found = await kube.get(Kind.PERSISTENT_VOLUME_CLAIM, action.name, desired.namespace)
    _check(found, action.node_id)
    await _annotate(
        kube,
        desired,
        action.name,
        _released(found, action.node_id),
        resource_version=found["metadata"]["resourceVersion"],
    )


async def delete_released(kube: Kube, action: DeleteReleased, desired: Desired) -> None:
    """Delete a released claim with its data. Raises ActionRefused.

    Its volume gets the reclaim policy that it was created with BEFORE the claim goes, or the data would stay without
    one. An operator that ends in between finds the claim again, and protects the volume until the next attempt.
    """
    found = await kube.find(Kind.PERSISTENT_VOLUME_CLAIM, action.name, desired.namespace)
    if found is None:
        return
    metadata = found["metadata"]
    if metadata["uid"] != action.uid or labels.REMOVED not in (metadata.get("annotations") or {}):
        raise ActionRefused(f"the claim {action.name} is another one than was observed, or is not released")
    _check(found, action.node_id)
    # All pods of the namespace: the claim may be mounted by one that is not of the cluster, to look at the data.
    pod = in_use_by(await kube.find_all(Kind.POD, desired.namespace), [action.name]).get(action.name)
    if pod is not None:
        raise ActionRefused(f"the pod {pod} mounts the claim {action.name}")
    await _restore_policy(kube, found, action, desired)
    faults.reach("DeleteReleased.policy-restored")
    if "deletionTimestamp" not in metadata:
        await kube.delete(
            Kind.PERSISTENT_VOLUME_CLAIM,
            action.name,
            desired.namespace,
            uid=metadata["uid"],
            resource_version=metadata["resourceVersion"],
        )


async def _restore_policy(kube: Kube, claim: Body, action: DeleteReleased, desired: Desired) -> None:
    name = claim["spec"].get("volumeName") or ""
    volume = await kube.find(Kind.PERSISTENT_VOLUME, name) if name else None
    if volume is None:
        return  # it was never bound, or is gone already
    created = (volume["metadata"].get("annotations") or {}).get(labels.CREATED_POLICY, "")
    if created == "Delete":
        given = SetReclaimPolicy(
            ordinal=action.ordinal, name=action.name, volume=name, policy="Delete", reason=action.reason
        )
        await set_reclaim_policy(kube, given, desired)


def _released(found: Body, node_id: NodeId) -> dict[str, str]:
    """Return the marks of a released claim; those that it has already stay, or its time would begin anew."""
    known = found["metadata"].get("annotations") or {}
    since = known.get(labels.RELEASED_AT, "")
    return {
        labels.REMOVED: known.get(labels.REMOVED) or node_id or "unknown",
        labels.RELEASED_AT: since or rfc3339(time.time()),
    }


async def retire(kube: Kube, action: RetireVolume, desired: Desired) -> None:
    """Detach a volume from its ordinal and stop the pod on it; the next pod gets an empty volume.

    A volume to keep gets the reclaim policy Retain BEFORE its claim is deleted. The claim is deleted BEFORE the pod, or
    a new pod would be given the old volume; the API server keeps the claim until the pod has stopped.
    """
    found = await kube.find(Kind.PERSISTENT_VOLUME_CLAIM, action.name, desired.namespace)
    if found is not None:
        _check(found, action.node_id)
        if action.keep:
            await _keep_volume(kube, found, desired, action)
            faults.reach("RetireVolume.kept")
    # A claim that is being deleted already, by an earlier attempt or by another owner: only its pod remains.
    if found is not None and "deletionTimestamp" not in found["metadata"]:
        metadata = found["metadata"]
        await kube.delete(
            Kind.PERSISTENT_VOLUME_CLAIM,
            action.name,
            desired.namespace,
            uid=metadata["uid"],
            resource_version=metadata["resourceVersion"],
        )
    faults.reach("RetireVolume.claim-deleted")
    if action.uid:
        await kube.delete(Kind.POD, desired.member(action.ordinal), desired.namespace, uid=action.uid)


async def grow(kube: Kube, action: GrowVolume, desired: Desired) -> None:
    """Request a larger volume; the storage driver expands it and reports its progress on the claim."""
    found = await kube.get(Kind.PERSISTENT_VOLUME_CLAIM, action.name, desired.namespace)
    version = {"resourceVersion": found["metadata"]["resourceVersion"]}
    spec = {"resources": {"requests": {"storage": action.size}}}
    await kube.patch(Kind.PERSISTENT_VOLUME_CLAIM, action.name, desired.namespace, {"metadata": version, "spec": spec})


async def set_reclaim_policy(kube: Kube, action: SetReclaimPolicy, desired: Desired) -> None:
    """Set the policy of the PersistentVolume of a claim. Raises ActionRefused when the two do not belong together.

    The volume gets what is needed to recover its data without the claim: whose it is, and which cluster wrote it.
    """
    claim = await kube.get(Kind.PERSISTENT_VOLUME_CLAIM, action.name, desired.namespace)
    volume = await kube.get(Kind.PERSISTENT_VOLUME, action.volume)
    bound = (volume["spec"].get("claimRef") or {}).get("uid")
    if claim["spec"].get("volumeName") != action.volume or bound != claim["metadata"]["uid"]:
        raise ActionRefused(f"the claim {action.name} is not bound to the volume {action.volume} any more")
    found = volume["spec"].get(_RECLAIM) or ""
    if found == action.policy:
        return
    stamp = (claim["metadata"].get("annotations") or {}).get(labels.CLUSTER_ID, "")
    annotations = {
        labels.CLAIM: action.name,
        labels.CLUSTER_ID: stamp,
        labels.CREATED_POLICY: found if action.policy == "Retain" else None,
    }
    metadata: Body = {
        "resourceVersion": volume["metadata"]["resourceVersion"],
        "annotations": annotations,
        "labels": {labels.CLUSTER: desired.name, labels.NAMESPACE: desired.namespace},
    }
    body: Body = {"metadata": metadata, "spec": {_RECLAIM: action.policy}}
    await kube.patch(Kind.PERSISTENT_VOLUME, action.volume, None, body)


async def discard(kube: Kube, action: DiscardVolumes) -> tuple[OldVolume, ...]:
    """Let PersistentVolumes be deleted whose claims were released; return those that are still bound to theirs.

    The provisioner of a released volume deletes its data with the policy Delete; one that is gone is done. One that was
    bound to another claim, or made free for one, is a user's by now: it is left alone, and so forgotten.
    """
    bound = []
    for one in action.volumes:
        volume = await kube.find(Kind.PERSISTENT_VOLUME, one.name)
        if volume is None:
            continue
        if (volume["spec"].get("claimRef") or {}).get("uid") != one.claim_uid:
            log.warning("volume.kept", name=one.name, reason="it is not bound to the claim any more that was set aside")
            continue
        if volume.get("status", {}).get("phase") == "Bound":
            bound.append(one)
            continue
        metadata = {"resourceVersion": volume["metadata"]["resourceVersion"]}
        await kube.patch(Kind.PERSISTENT_VOLUME, one.name, None, {"metadata": metadata, "spec": {_RECLAIM: "Delete"}})
        faults.reach("DiscardVolumes.one")
    return tuple(bound)


async def _keep_volume(kube: Kube, claim: Body, desired: Desired, action: RetireVolume) -> None:
    name = claim["spec"].get("volumeName")
    if not name:
        return  # never bound to a volume, so it holds no data
    annotations = {
        labels.CLUSTER: f"{desired.namespace}/{desired.name}",
        labels.NODE_ID: action.node_id or "unknown",
        labels.REMOVED: desired.member(action.ordinal),
    }
    volume = await kube.find(Kind.PERSISTENT_VOLUME, name)
    if volume is None:
        return  # it is gone with what it held: nothing is left to be kept
    if (volume["spec"].get("claimRef") or {}).get("uid") != claim["metadata"]["uid"]:
        # Whoever creates a claim chooses its volumeName: only the volume says to which claim it is bound.
        raise ActionRefused(f"the PersistentVolume {name} is not bound to the claim {claim['metadata']['name']}")
    metadata = {
        "resourceVersion": volume["metadata"]["resourceVersion"],
        "annotations": annotations,
        # Without the labels: whoever recovers a cluster by them must not find the volumes of former members.
        "labels": {labels.CLUSTER: None, labels.NAMESPACE: None},
    }
    body: Body = {"metadata": metadata, "spec": {_RECLAIM: "Retain"}}
    await kube.patch(Kind.PERSISTENT_VOLUME, name, None, body)


def _check(claim: Body, node_id: NodeId) -> None:
    found = (claim["metadata"].get("annotations") or {}).get(labels.NODE_ID, "")
    if node_id and found and found != node_id:
        raise ActionRefused(f"the volume {claim['metadata']['name']} holds {found}, not {node_id}")


async def _annotate(
    kube: Kube,
    desired: Desired,
    claim: str,
    annotations: dict[str, str],
    *,
    uid: str | None = None,
    resource_version: str | None = None,
) -> None:
    metadata: Body = {"annotations": annotations}
    if uid is not None:
        metadata["uid"] = uid
    if resource_version is not None:
        metadata["resourceVersion"] = resource_version
    await kube.patch(Kind.PERSISTENT_VOLUME_CLAIM, claim, desired.namespace, {"metadata": metadata})
