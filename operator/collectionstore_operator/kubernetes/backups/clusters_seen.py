"""The cluster that a backup is of, as its resource says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from collectionstore_operator.errors import InvalidResource
from collectionstore_operator.kubernetes.api import ApiError, Kind, Kube
from collectionstore_operator.model.backups.observed import ClusterSeen
from collectionstore_operator.model.observed import ABSENT, Absent, Unknown
from collectionstore_operator.model.recovery import RecoveryPhase
from collectionstore_operator.resource.desired import Desired, parse
from collectionstore_operator.status.hibernated import HIBERNATED

_UNDER_WAY: Final = tuple(one.value for one in (RecoveryPhase.HALTING, RecoveryPhase.EMPTYING, RecoveryPhase.RESTORING))


async def observe_cluster(kube: Kube, name: str, namespace: str) -> ClusterSeen | Absent | Unknown:
    """Return the cluster of a name: one request. One that is invalid is Unknown: how it runs cannot be told."""
    try:
        found = await kube.find(Kind.CLUSTER, name, namespace)
    except ApiError as error:
        return Unknown(str(error))
    if found is None:
        return ABSENT
    try:
        desired = parse(found)
    except InvalidResource as error:
        return Unknown(f"its resource is invalid: {error}")
    status = found.get("status") or {}
    return ClusterSeen(
        desired=desired,
        cluster_id=str(status.get("clusterID") or ""),
        initialized=bool(status.get("initialized")),
        hibernated=desired.spec.asleep and _condition(status, HIBERNATED).get("status") == "True",
        restoring=_restoring(desired, found),
        unavailable=_unavailable(_condition(status, "Available")),
    )


def _restoring(desired: Desired, found: Mapping[str, Any]) -> bool:
    """Return whether a backup of the cluster is needed, or soon may be, to restore it in place.

    What a status says of an earlier spec does not count: another backup may be named by now.
    """
    status = found.get("status") or {}
    phase = (status.get("restore") or {}).get("phase") or ""
    if phase in _UNDER_WAY:
        return True
    published = int(status.get("observedGeneration") or 0) >= desired.generation
    return desired.spec.restore is not None and not (phase == RecoveryPhase.FINISHED.value and published)


def _condition(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = next((one for one in status.get("conditions") or () if one.get("type") == kind), {})
    return found


def _unavailable(available: Mapping[str, Any]) -> str:
    if available.get("status") != "False":
        return ""
    return f"{available.get('reason', 'Unknown')}: {available.get('message', '')}".rstrip(": ")
