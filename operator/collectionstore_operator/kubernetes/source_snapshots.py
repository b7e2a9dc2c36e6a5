"""The VolumeSnapshot that a new cluster is made of: read only until the cluster has had data.

Source: Kubernetes docs, "Volume Snapshots"; external-snapshotter, `client/apis/volumesnapshot/v1/types.go`.
"""

from __future__ import annotations

from typing import Any, Final

from collectionstore_operator.kubernetes.api import Body, Forbidden, Kind
from collectionstore_operator.kubernetes.api.reader import Reader
from collectionstore_operator.kubernetes.record import Facts
from collectionstore_operator.model import restore as restores
from collectionstore_operator.model.observed import ABSENT, Absent, SourceSnapshot, Unknown
from collectionstore_operator.resource.bootstrap import SnapshotRestore
from collectionstore_operator.resource.desired import Desired
from collectionstore_operator.resource.fields import stored_bytes

MESSAGE_MAX: Final = 512


async def read(kube: Reader, desired: Desired, facts: Facts) -> SourceSnapshot | Absent | Unknown | None:
    """Return the snapshot that the record names, or the spec before there is a record; None if neither does."""
    if facts.initialized:
        return None
    recorded = restores.read(facts.restore)
    source = recorded.source if recorded is not None else desired.spec.beginning
    if not isinstance(source, SnapshotRestore):
        return None
    try:
        found = await kube.find(Kind.VOLUME_SNAPSHOT, source.volume_snapshot.name, desired.namespace)
    except Forbidden as error:
        # Only this cluster depends on it: no reason to stop a round.
        return Unknown(str(error))
    return ABSENT if found is None else _snapshot(found)


def _snapshot(body: Body) -> SourceSnapshot:
    status = body.get("status") or {}
    message = " ".join(str((status.get("error") or {}).get("message") or "").split())
    return SourceSnapshot(
        ready=status.get("readyToUse") is True,
        error=message[:MESSAGE_MAX],
        restore_bytes=_bytes(status.get("restoreSize")),
        terminating="deletionTimestamp" in body["metadata"],
    )


def _bytes(quantity: Any) -> int:
    try:
        return stored_bytes(str(quantity)) if quantity is not None else 0
    except ValueError:
        return 0  # a format of another version: the driver refuses what is too small
