"""A PersistentVolumeClaim as a volume: its stamps, whether it can hold data, its size. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from collectionstore_operator.manifests.statefulset import DATA_VOLUME, SNAPSHOT_GROUP, SNAPSHOT_KIND
from collectionstore_operator.model.observed import ABSENT, Absent, NodeId, Unknown, Volume
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import Desired
from collectionstore_operator.resource.fields import stored_bytes

FILE_SYSTEM_S: Final = 120.0
"""Longer than a kubelet takes to resize a mounted file system online."""


def claim_name(desired: Desired, ordinal: int) -> str:
    """Return the name that the StatefulSet controller gives to a claim."""
    return f"{DATA_VOLUME}-{desired.member(ordinal)}"


def ordinal_of(desired: Desired, name: str) -> int | None:
    """Return the ordinal of a claim; None for a claim of another purpose."""
    prefix = f"{DATA_VOLUME}-"
    return desired.ordinal(name.removeprefix(prefix)) if name.startswith(prefix) else None


def read_claim(
    claim: Mapping[str, Any],
    pod: Mapping[str, Any] | None,
    cluster_id: str,
    classes: Mapping[str, Mapping[str, Any] | None] | None = None,
    *,
    volume: Mapping[str, Any] | None = None,
    labelled: bool = True,
    mounted_by: str = "",
) -> Volume | Unknown:
    """Return what is known of a claim's volume; `pod` is the one that uses it, if any, `volume` its PersistentVolume.

    `classes` are the StorageClasses that were read, None for one that does not exist.

    A claim that is being deleted counts as no volume, unless a pod still runs on it: that pod must stop before the API
    server removes the claim, and only a volume that is observed lets the planner stop it again.
    """
    metadata = claim["metadata"]
    if is_deleting(claim) and not _holds(pod):
        return Unknown("it is being deleted")
    annotations = metadata.get("annotations") or {}
    found = annotations.get(labels.CLUSTER_ID, "")
    if found and cluster_id and found != cluster_id:
        return Unknown(f"it belongs to the cluster {found}")
    return Volume(
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        node_id=_node_id(claim, annotations),
        removed=labels.REMOVED in annotations,
        released_at=released_at(claim),
        mounted_by=mounted_by,
        size_bytes=requested_bytes(claim),
        capacity_bytes=_bytes((claim.get("status", {}).get("capacity") or {}).get("storage")) or 0,
        not_expandable_reason=_not_expandable_reason(claim, classes or {}),
        resize_status=_resize_status(claim),
        labelled=labelled,
        lost=claim.get("status", {}).get("phase") == "Lost",
        terminating=is_deleting(claim),
        persistent_volume=claim["spec"].get("volumeName") or "",
        made_of=made_of(claim),
        **_policies(volume),
    )


def made_of(claim: Mapping[str, Any]) -> str:
    """Return the name of the VolumeSnapshot that a claim is made of; empty for an empty volume, or another source."""
    source = claim["spec"].get("dataSource") or {}
    ours = (source.get("apiGroup"), source.get("kind")) == (SNAPSHOT_GROUP, SNAPSHOT_KIND)
    return source.get("name") or "" if ours else ""


def released_at(claim: Mapping[str, Any]) -> float:
    """Return when a claim was marked; 0 without a time that can be read: it is recorded anew then."""
    annotations = claim["metadata"].get("annotations") or {}
    told = annotations.get(labels.RELEASED_AT, "")
    try:
        return datetime.fromisoformat(told).timestamp() if labels.REMOVED in annotations and told else 0.0
    except ValueError:
        return 0.0


def _policies(volume: Mapping[str, Any] | None) -> dict[str, str]:
    """Return the reclaim policy of a PersistentVolume, and the one that it was created with if we changed it."""
    if volume is None:
        return {}
    annotations = volume["metadata"].get("annotations") or {}
    return {
        "reclaim_policy": volume["spec"].get("persistentVolumeReclaimPolicy") or "",
        "created_policy": annotations.get(labels.CREATED_POLICY, ""),
    }


def cluster_ids(found: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return every cluster ID that is stamped on these claims, sorted; also on one that is being deleted."""
    stamps = {(claim["metadata"].get("annotations") or {}).get(labels.CLUSTER_ID, "") for claim in found}
    return tuple(sorted(stamps - {""}))


def is_deleting(claim: Mapping[str, Any] | None) -> bool:
    """Return whether a claim is being deleted, and so waits only for the pod that uses it."""
    return claim is not None and "deletionTimestamp" in claim["metadata"]


def requested_bytes(claim: Mapping[str, Any]) -> int | None:
    """Return the size that a claim or a claim template requests; None without a request."""
    return _bytes((claim["spec"].get("resources") or {}).get("requests", {}).get("storage"))


def storage_class_of(claim: Mapping[str, Any]) -> str:
    """Return the name of the StorageClass of a claim; empty while it has none."""
    return claim["spec"].get("storageClassName") or ""


def needs_storage_class(claim: Mapping[str, Any], desired_bytes: int) -> bool:
    """Return whether its StorageClass must be read: to expand the volume, or to explain why it is not bound."""
    size = requested_bytes(claim)
    return _unbound(claim) or (size is not None and size < desired_bytes)


def awaits_file_system(claim: Mapping[str, Any] | None) -> str:
    """Return a word for the time since when the file system of a claim is smaller than its disk; empty if it is not."""
    waiting = _condition(claim or {}, "FileSystemResizePending")
    since = (waiting or {}).get("lastTransitionTime")
    return f"{(claim or {})['metadata'].get('uid', '')} {since}" if since else ""


def restart_reason(claim: Mapping[str, Any] | None, waiting_s: float) -> str:
    """Return why the pod on a claim must restart: some drivers resize the file system only at the next mount.

    `waiting_s` is for how long it has been as `awaits_file_system` says.
    """
    if not awaits_file_system(claim) or waiting_s < FILE_SYSTEM_S:
        return ""
    return "its disk has grown, and its file system can only be made larger by a restart"


def pending_reason(claim: Mapping[str, Any] | None, classes: Mapping[str, Mapping[str, Any] | None]) -> str:
    """Return why a claim is not bound; empty for a bound claim and for a missing one."""
    if claim is None or not _unbound(claim):
        return ""
    name, phase, storage_class = (
        claim["metadata"]["name"],
        claim.get("status", {}).get("phase", "Pending"),
        storage_class_of(claim),
    )
    if phase == "Lost":
        return f"the volume of the claim {name} is lost"
    if storage_class and storage_class in classes and classes[storage_class] is None:
        return f"the claim {name} is not bound: the StorageClass {storage_class} does not exist"
    of_class = (
        f" of the StorageClass {storage_class}"
        if storage_class
        else ": it names no StorageClass, and there is no default"
    )
    return f"the claim {name} is not bound to a volume{of_class}"


def cannot_bind(claim: Mapping[str, Any] | None, classes: Mapping[str, Mapping[str, Any] | None]) -> bool:
    """Return whether a claim stays unbound until somebody acts; False for one whose volume may be provisioned yet."""
    if claim is None or not _unbound(claim):
        return False
    storage_class = storage_class_of(claim)
    missing = not storage_class or (storage_class in classes and classes[storage_class] is None)
    return missing or claim.get("status", {}).get("phase") == "Lost"


def _unbound(claim: Mapping[str, Any]) -> bool:
    phase: str = claim.get("status", {}).get("phase") or ("Bound" if claim["spec"].get("volumeName") else "Pending")
    return phase != "Bound"


def _not_expandable_reason(claim: Mapping[str, Any], classes: Mapping[str, Mapping[str, Any] | None]) -> str:
    name = storage_class_of(claim)
    if name not in classes:
        return ""  # no expansion is requested, so the class was not read
    found = classes[name]
    if found is None:
        return f"the StorageClass {name} does not exist" if name else "without a StorageClass it cannot be made larger"
    return "" if found.get("allowVolumeExpansion") else f"the StorageClass {name} does not allow volumes to grow"


def _resize_status(claim: Mapping[str, Any]) -> str:
    """Return the resize condition of a claim; errors first, because the progress conditions stay beside them."""
    for kind in ("ControllerResizeError", "NodeResizeError", "FileSystemResizePending", "Resizing"):
        found = _condition(claim, kind)
        if found:
            message = " ".join((found.get("message") or "").split())
            return f"{kind}: {message}" if message else kind
    return ""


def _condition(claim: Mapping[str, Any], kind: str) -> Mapping[str, Any] | None:
    conditions = claim.get("status", {}).get("conditions") or ()
    return next((one for one in conditions if one["type"] == kind and one["status"] == "True"), None)


def _bytes(quantity: Any) -> int | None:
    try:
        return None if quantity is None else stored_bytes(str(quantity))
    except ValueError:
        return None  # a format of another API version: nothing is concluded from it


def _holds(pod: Mapping[str, Any] | None) -> bool:
    return pod is not None and "deletionTimestamp" not in pod["metadata"] and bool(pod["spec"].get("nodeName"))


def _node_id(claim: Mapping[str, Any], annotations: Mapping[str, str]) -> NodeId | Absent | Unknown:
    if annotations.get(labels.NODE_ID):
        return annotations[labels.NODE_ID]
    if claim["spec"].get("dataSource") or claim["spec"].get("dataSourceRef"):
        return Unknown("it is made of another volume or a snapshot")
    # A claim that was never bound has never been mounted.
    return ABSENT if not claim["spec"].get("volumeName") else Unknown("no node has been observed on it yet")
