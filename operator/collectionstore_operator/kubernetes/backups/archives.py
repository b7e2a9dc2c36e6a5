"""The archive of a schedule: its Deployment, and how far its pod says that it is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

from collectionstore_operator.kubernetes.api import ApiError, Kind, Kube
from collectionstore_operator.kubernetes.backups.jobs import pod_trouble
from collectionstore_operator.manifests.backups.archive import STATUS_PORT
from collectionstore_operator.manifests.backups.work import OWNER
from collectionstore_operator.model.backups.observed import Archive, Lag
from collectionstore_operator.model.observed import ABSENT, Absent, Unknown
from collectionstore_operator.reconcile.archive_lag import ask_archive
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.backups import names

ReadLag: TypeAlias = Callable[[str], Awaitable[Lag | None]]
"""Asks the pod at an address; None if it does not answer, or has not told anything yet."""


async def observe_archive(
    kube: Kube, name: str, namespace: str, owner_uid: str, read_lag: ReadLag
) -> Archive | Absent | Unknown:
    """Return the archive: two requests to the API server, and one to its pod."""
    try:
        found = await kube.find(Kind.DEPLOYMENT, name, namespace)
        if found is None:
            return ABSENT
        owners = {one.get("uid") for one in found["metadata"].get("ownerReferences") or ()}
        if owner_uid not in owners:
            return Unknown(f"the Deployment {name} belongs to another owner: rename or delete it")
        pods = await kube.find_all(Kind.POD, namespace, {OWNER: owner_uid, names.TASK: "archive"})
    except ApiError as error:
        return Unknown(str(error))
    running = next((pod for pod in pods if _runs(pod)), None)
    return Archive(
        uid=found["metadata"]["uid"],
        digest=(found["metadata"].get("annotations") or {}).get(labels.DIGEST, ""),
        available=running is not None,
        trouble=pod_trouble(pods) if running is None else "",
        lag=None if running is None else await read_lag(running["status"].get("podIP", "")),
    )


async def ask_pod(address: str) -> Lag | None:
    """Return what the pod of an archive says; None if it does not answer."""
    if not address:
        return None
    host = f"[{address}]" if ":" in address else address
    return await ask_archive(f"http://{host}:{STATUS_PORT}/")


def _runs(pod: Mapping[str, Any]) -> bool:
    if "deletionTimestamp" in pod["metadata"]:
        return False
    found = (pod.get("status") or {}).get("containerStatuses") or ()
    return any((one.get("state") or {}).get("running") is not None for one in found)
