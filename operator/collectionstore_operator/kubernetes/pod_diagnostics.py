"""Objects beside the pods that explain why a pod fails or is missing.

Machines, StorageClasses, PersistentVolumes, Events about pods that could not be created, and the namespace. Machines,
StorageClasses and Events are read only while there is something to explain.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from collectionstore_operator.kubernetes.api import Body, Kind, Kube
from collectionstore_operator.kubernetes.pods import lost_machines
from collectionstore_operator.resource.desired import Desired

Classes: TypeAlias = Mapping[str, Mapping[str, Any] | None]
"""StorageClasses by name; None for one that does not exist, as for no name."""


async def find_lost_machines(kube: Kube, pods: Sequence[Mapping[str, Any]]) -> frozenset[str]:
    """Return the lost machines under pods; machines are read only while some pod is not ready."""
    used = frozenset(name for pod in pods if (name := pod["spec"].get("nodeName")))
    if all(_ready(pod) for pod in pods):
        return frozenset()
    nodes = await kube.find_all(Kind.NODE)
    return lost_machines({node["metadata"]["name"]: node for node in nodes}, used)


async def storage_classes(kube: Kube, names: Iterable[str]) -> Classes:
    """Return the StorageClasses of these names."""
    sought = sorted(set(names))
    found = await asyncio.gather(*(kube.find(Kind.STORAGE_CLASS, name) for name in sought if name))
    return {"": None, **dict(zip((name for name in sought if name), found, strict=True))} if sought else {}


async def persistent_volumes(kube: Kube, found_claims: Iterable[Mapping[str, Any]]) -> dict[str, Body]:
    """Return the PersistentVolumes of bound claims, by name: whether their data outlive the claims."""
    names = sorted({claim["spec"]["volumeName"] for claim in found_claims if claim["spec"].get("volumeName")})
    found = await asyncio.gather(*(kube.find(Kind.PERSISTENT_VOLUME, name) for name in names))
    return {name: body for name, body in zip(names, found, strict=True) if body is not None}


async def is_terminating(kube: Kube, namespace: str) -> bool:
    """Return whether a namespace is terminating: the API server then refuses to create anything in it."""
    found = await kube.find(Kind.NAMESPACE, namespace)
    return found is not None and "deletionTimestamp" in found["metadata"]


async def creation_failures(kube: Kube, desired: Desired, ordinals: Iterable[int]) -> dict[int, str]:
    """Return why the StatefulSet controller could not create the pods of these ordinals: its newest Event about each.

    A quota, an admission policy, a missing ServiceAccount: the controller reports them only in Events.
    """
    missing = {ordinal: f" Pod {desired.member(ordinal)} " for ordinal in ordinals}
    if not missing:
        return {}
    fields = {"regarding.kind": "StatefulSet", "regarding.name": desired.name, "reason": "FailedCreate"}
    events = sorted(await kube.find_all(Kind.EVENT, desired.namespace, fields=fields), key=_last_seen)
    notes = [" ".join((event.get("note") or "").split()) for event in events]
    return {ordinal: note for ordinal, part in missing.items() for note in notes if part in note}


def _last_seen(event: Body) -> str:
    series = event.get("series") or {}
    return str(series.get("lastObservedTime") or event.get("deprecatedLastTimestamp") or event.get("eventTime") or "")


def _ready(pod: Mapping[str, Any]) -> bool:
    conditions = pod.get("status", {}).get("conditions") or ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
