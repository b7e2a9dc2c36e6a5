"""Pods and claims that lost their labels: found by name, and told from those of others.

A StatefulSet names its pods and claims, and starts a pod on a claim by name alone, whatever their labels say. So a pod
or a claim of such a name matters, also when no selector finds it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final, NamedTuple

from collectionstore_operator.kubernetes.api import Body, Kind
from collectionstore_operator.kubernetes.api.reader import Reader
from collectionstore_operator.kubernetes.ownership import foreign
from collectionstore_operator.manifests.statefulset import claim_labels
from collectionstore_operator.model.observed import ForeignObject
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import Desired

_WORKLOAD: Final = "StatefulSet"
_CLAIM: Final = "PersistentVolumeClaim"
_ENDED: Final = ("Succeeded", "Failed")


class Named(NamedTuple):
    """The pods and claims of the cluster, and those of others under its names."""

    pods: list[Body]
    claims: list[Body]
    foreign: tuple[ForeignObject, ...]


async def with_unlabelled(
    kube: Reader, kind: Kind, namespace: str, found: list[Body], names: Iterable[str]
) -> list[Body]:
    """Return also the objects of these names that a selector has missed. One request for each name that is missing."""
    missing = sorted(set(names) - {one["metadata"]["name"] for one in found})
    more = await asyncio.gather(*(kube.find(kind, name, namespace) for name in missing))
    return [*found, *(one for one in more if one is not None)]


def is_labelled(body: Mapping[str, Any], desired: Desired) -> bool:
    """Return whether an object has all our labels."""
    found = body["metadata"].get("labels") or {}
    return all(found.get(key) == value for key, value in desired.object_labels.items())


def is_labelled_claim(body: Mapping[str, Any], desired: Desired) -> bool:
    """Return whether a claim has our labels, and those labels and annotations that the resource asks for."""
    marks, storage = body["metadata"], desired.spec.storage
    found, noted = marks.get("labels") or {}, marks.get("annotations") or {}
    return claim_labels(desired).items() <= found.items() and (storage.annotations or {}).items() <= noted.items()


def owned(
    pods: Iterable[Body],
    claims: Iterable[Body],
    desired: Desired,
    *,
    known_uids: Collection[str],
    workload: Mapping[str, Any] | None,
) -> Named:
    """Tell pods and claims of the cluster's names from those of others; `known_uids` of pods seen as members before.

    A pod that lost its labels has lost its owner as well, since the StatefulSet's controller released it. Ours is one
    with our labels, one that was seen as a member before, and one that no controller owns and that runs on our claim.
    A claim is ours if it has our labels or a cluster ID, which our StatefulSet gives to it, or if our pod runs on it.
    """
    pods, claims = list(pods), list(claims)
    others: list[ForeignObject] = []
    proven = {one["metadata"]["name"] for one in claims if is_selected(one, desired) or _stamped(one)}
    our_pods, our_claims = [], []
    for pod in pods:
        other = other_controller("Pod", pod, desired, workload)
        mounted = mounted_claims(pod) & proven
        if is_selected(pod, desired) or pod["metadata"]["uid"] in known_uids or (other is None and mounted):
            our_pods.append(pod)
        else:
            others.append(other or _somebody("Pod", pod))
    proven |= {name for pod in our_pods for name in mounted_claims(pod)}
    for claim in claims:
        if claim["metadata"]["name"] in proven:
            our_claims.append(claim)
        else:
            others.append(other_controller(_CLAIM, claim, desired, None) or _somebody(_CLAIM, claim))
    return Named(our_pods, our_claims, tuple(others))


def other_controller(
    kind: str, body: Mapping[str, Any], desired: Desired, workload: Mapping[str, Any] | None
) -> ForeignObject | None:
    """Return an object as a foreign one if a controller owns it that is not our StatefulSet; None otherwise.

    `workload` is the StatefulSet of the cluster's name, if any: it may be another owner's. Of one that was deleted and
    whose pods still name it only the name is known.
    """
    metadata = body["metadata"]
    owner = next((one for one in metadata.get("ownerReferences") or () if one.get("controller")), None)
    if owner is None:
        return None
    ours = (owner["kind"], owner["name"]) == (_WORKLOAD, desired.workload)
    if ours and not (workload is not None and foreign(_WORKLOAD, workload, desired)):
        return None
    return ForeignObject(kind=kind, name=metadata["name"], owner=f"the {owner['kind']} {owner['name']}")


def is_selected(body: Mapping[str, Any], desired: Desired) -> bool:
    """Return whether the selector of the cluster finds an object."""
    found = body["metadata"].get("labels") or {}
    wanted = labels.selector(desired.workload)
    if desired.group == "reads":
        # A cluster of the name of our read replicas, made before that name was reserved, has the same selector.
        wanted[labels.CLUSTER] = desired.name
    return all(found.get(key) == value for key, value in wanted.items())


def _stamped(claim: Mapping[str, Any]) -> bool:
    return bool((claim["metadata"].get("annotations") or {}).get(labels.CLUSTER_ID))


def mounted_claims(pod: Mapping[str, Any]) -> set[str]:
    """Return the names of the claims that a pod mounts."""
    volumes = (one.get("persistentVolumeClaim") or {} for one in pod["spec"].get("volumes") or ())
    return {one["claimName"] for one in volumes if one.get("claimName")}


def in_use_by(pods: Iterable[Mapping[str, Any]], names: Iterable[str]) -> dict[str, str]:
    """Return for each of these claims that a pod mounts the name of that pod; one that has ended mounts none."""
    wanted, found = set(names), dict[str, str]()
    for pod in pods:
        if (pod.get("status") or {}).get("phase") not in _ENDED:
            found |= dict.fromkeys(wanted & mounted_claims(pod), pod["metadata"]["name"])
    return found


def _somebody(kind: str, body: Mapping[str, Any]) -> ForeignObject:
    return ForeignObject(kind=kind, name=body["metadata"]["name"], owner="another owner")
