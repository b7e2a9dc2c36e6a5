"""A PersistentVolumeClaim as a volume: what is recorded on it, and whether it can be empty. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from collectionstore_operator import labels
from collectionstore_operator.manifests.statefulset import DATA_VOLUME
from collectionstore_operator.observed import ABSENT, Absent, NodeId, Unknown, Volume
from collectionstore_operator.resources import Desired


def claim_name(desired: Desired, ordinal: int) -> str:
    """Return the name that the StatefulSet's controller gives to a claim."""
    return f"{DATA_VOLUME}-{desired.member(ordinal)}"


def ordinal_of(desired: Desired, name: str) -> int | None:
    """Return whose claim it is, None for one of another purpose."""
    prefix = f"{DATA_VOLUME}-"
    return desired.ordinal(name.removeprefix(prefix)) if name.startswith(prefix) else None


def read_claim(claim: Mapping[str, Any], pod: Mapping[str, Any] | None, cluster_id: str) -> Volume | Unknown:
    """Return what is known of a claim's disk; `pod` is the one that uses it, if there is one.

    One that is on its way out is nobody's disk any more, but for a pod that still runs on it: such a pod has to stop
    before the claim can go, and to see the disk is what makes the planner ask for that again.
    """
    metadata = claim["metadata"]
    if "deletionTimestamp" in metadata and not _holds(pod):
        return Unknown("it is being deleted")
    annotations = metadata.get("annotations") or {}
    found = annotations.get(labels.CLUSTER_ID, "")
    if found and cluster_id and found != cluster_id:
        return Unknown(f"it belongs to the cluster {found}")
    return Volume(
        name=metadata["name"],
        node_id=_node_id(claim, annotations),
        removed=labels.REMOVED in annotations,
    )


def _holds(pod: Mapping[str, Any] | None) -> bool:
    return pod is not None and "deletionTimestamp" not in pod["metadata"] and bool(pod["spec"].get("nodeName"))


def _node_id(claim: Mapping[str, Any], annotations: Mapping[str, str]) -> NodeId | Absent | Unknown:
    if annotations.get(labels.NODE_ID):
        return annotations[labels.NODE_ID]
    # A claim that was never bound has never been mounted.
    return ABSENT if not claim["spec"].get("volumeName") else Unknown("nobody was met on it yet")
