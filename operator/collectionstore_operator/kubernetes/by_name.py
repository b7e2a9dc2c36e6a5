"""Pods and claims that lost their labels: found by name, and told from those of others.

A StatefulSet names its pods and claims, and starts a pod on a claim by name alone, whatever their labels say. So a pod
or a claim of such a name matters, also when no selector finds it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from collectionstore_operator.kubernetes.api import Body, Kind, Kube
from collectionstore_operator.kubernetes.claims import claim_name
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import Desired


async def with_unlabelled(
    kube: Kube, kind: Kind, namespace: str, found: list[Body], names: Iterable[str]
) -> list[Body]:
    """Return also the objects of these names that a selector has missed. One request for each name that is missing."""
    missing = sorted(set(names) - {one["metadata"]["name"] for one in found})
    more = await asyncio.gather(*(kube.find(kind, name, namespace) for name in missing))
    return [*found, *(one for one in more if one is not None)]


def is_labelled(body: Mapping[str, Any], desired: Desired) -> bool:
    """Return whether an object has all our labels."""
    found = body["metadata"].get("labels") or {}
    return all(found.get(key) == value for key, value in labels.object_labels(desired.name).items())


def foreign_reason(pod: Mapping[str, Any], desired: Desired, ordinal: int, known_uids: Collection[str]) -> str:
    """Return whose a pod is that has one of our names; empty if it is ours.

    A pod that lost its labels has lost its owner as well, since the StatefulSet's controller released it. Ours is one
    with our labels, one that was seen as a member before, and one that no controller owns and that runs on our claim.
    """
    metadata = pod["metadata"]
    if is_selected(pod, desired) or metadata["uid"] in known_uids:
        return ""
    owner = next((one for one in metadata.get("ownerReferences") or () if one.get("controller")), None)
    if owner is not None and (owner["kind"], owner["name"]) != ("StatefulSet", desired.name):
        return f"the pod {metadata['name']} belongs to the {owner['kind']} {owner['name']}"
    claims = {(one.get("persistentVolumeClaim") or {}).get("claimName") for one in pod["spec"].get("volumes") or ()}
    if claim_name(desired, ordinal) in claims:
        return ""
    return f"a pod of the name {metadata['name']} exists that is not of this cluster"


def is_selected(body: Mapping[str, Any], desired: Desired) -> bool:
    """Return whether the selector of the cluster finds an object."""
    found = body["metadata"].get("labels") or {}
    return all(found.get(key) == value for key, value in labels.selector(desired.name).items())
