"""Objects beside the pods that explain why a pod fails or is missing.

Machines, StorageClasses, PersistentVolumes, Events about pods that could not be created, and the namespace. Machines,
StorageClasses and Events are read only while there is something to explain.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from collectionstore_operator.kubernetes.api import Body, Kind
from collectionstore_operator.kubernetes.api.reader import Reader
from collectionstore_operator.kubernetes.pods import lost_machines
from collectionstore_operator.resource.desired import Desired

FAILED_CREATE: Final = "FailedCreate"
"""Reason of the StatefulSet controller's Event about a pod that the API server refused."""

Classes: TypeAlias = Mapping[str, Mapping[str, Any] | None]
"""StorageClasses by name; None for one that does not exist, as for no name."""


async def find_lost_machines(kube: Reader, pods: Sequence[Mapping[str, Any]]) -> frozenset[str]:
    """Return the lost machines under pods; machines are read only while some pod is not ready."""
    used = frozenset(name for pod in pods if (name := pod["spec"].get("nodeName")))
    if all(_ready(pod) for pod in pods):
        return frozenset()
    nodes = await kube.find_all(Kind.NODE)
    return lost_machines({node["metadata"]["name"]: node for node in nodes}, used)


async def storage_classes(kube: Reader, names: Iterable[str]) -> Classes:
    """Return the StorageClasses of these names."""
    sought = sorted(set(names))
    found = await asyncio.gather(*(kube.find(Kind.STORAGE_CLASS, name) for name in sought if name))
    return {"": None, **dict(zip((name for name in sought if name), found, strict=True))} if sought else {}


async def persistent_volumes(kube: Reader, found_claims: Iterable[Mapping[str, Any]]) -> dict[str, Body]:
    """Return the PersistentVolumes of bound claims, by name: whether their data outlive the claims."""
    names = sorted({claim["spec"]["volumeName"] for claim in found_claims if claim["spec"].get("volumeName")})
    found = await asyncio.gather(*(kube.find(Kind.PERSISTENT_VOLUME, name) for name in names))
    return {name: body for name, body in zip(names, found, strict=True) if body is not None}


async def is_terminating(kube: Reader, namespace: str) -> bool:
    """Return whether a namespace is terminating: the API server then refuses to create anything in it."""
    found = await kube.find(Kind.NAMESPACE, namespace)
    return found is not None and "deletionTimestamp" in found["metadata"]


async def creation_failures(kube: Reader, desired: Desired, ordinals: Iterable[int]) -> dict[int, str]:
    """Return why the StatefulSet controller could not create the pods of these ordinals: its newest Event about each.

    A quota, an admission policy, a missing ServiceAccount: the controller reports them only in Events. A pod that it
    has created since has no such cause: its Events of an hour ago must not explain a restart of today.
    """
    missing = {ordinal: desired.member(ordinal) for ordinal in ordinals}
    if not missing:
        return {}
    fields = {"regarding.kind": "StatefulSet", "regarding.name": desired.workload}
    events = sorted(await kube.find_all(Kind.EVENT, desired.namespace, fields=fields), key=_last_seen)
    about = {
        ordinal: [event for event in events if f" Pod {name} " in _note(event)] for ordinal, name in missing.items()
    }
    return {
        ordinal: _refusal(_note(found[-1]), missing[ordinal])
        for ordinal, found in about.items()
        if found and found[-1].get("reason") == FAILED_CREATE
    }


def _note(event: Body) -> str:
    return " ".join((event.get("note") or "").split())


def _refusal(note: str, name: str) -> str:
    """Return the cause without the name of the pod, so that one cause of several pods is told once."""
    cause = note.partition(f"create Pod {name} in StatefulSet ")[2].partition(" failed error: ")[2] or note
    return cause.removeprefix(f'pods "{name}" is forbidden: ')


def _last_seen(event: Body) -> tuple[str, bool]:
    """Sort key: the time in whole seconds, and of two in one second the failure first: a success ends the retries."""
    series = event.get("series") or {}
    seen = series.get("lastObservedTime") or event.get("deprecatedLastTimestamp") or event.get("eventTime") or ""
    return str(seen)[:19], event.get("reason") != FAILED_CREATE


def _ready(pod: Mapping[str, Any]) -> bool:
    conditions = pod.get("status", {}).get("conditions") or ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
