"""What keeps a cluster from being made of a VolumeSnapshot, as far as the operator can see it. Pure.

Only until the claim is bound: from then on the volume is there, and the snapshot is not needed any more.
"""

from __future__ import annotations

from typing import NamedTuple

from collectionstore_operator.model.assessment import Assessment
from collectionstore_operator.model.observed import Absent, Unknown, Volume
from collectionstore_operator.resource.bootstrap import SnapshotRestore


class Obstacle(NamedTuple):
    """Why no volume can be made of a snapshot yet."""

    message: str
    """With a reason in front, such as `SnapshotNotFound: ...`."""
    passes: bool
    """Whether it passes by itself."""


def obstacle(assessment: Assessment, source: SnapshotRestore) -> Obstacle | None:
    """Return what keeps the claim of the first member from being made of the snapshot; None if nothing does."""
    observed, name = assessment.observed, source.volume_snapshot.name
    snapshot, volume = observed.snapshot, observed.slot(0).volume
    if snapshot is None or (isinstance(volume, Volume) and volume.persistent_volume):
        return None
    if isinstance(snapshot, Absent):
        namespace = assessment.desired.namespace
        return Obstacle(
            f"SnapshotNotFound: there is no VolumeSnapshot {name} in the namespace {namespace}, or the cluster has no "
            "VolumeSnapshots at all",
            passes=False,
        )
    if isinstance(snapshot, Unknown):
        return Obstacle(f"SnapshotUnknown: the VolumeSnapshot {name} cannot be read: {snapshot.reason}", passes=False)
    if snapshot.terminating:
        return Obstacle(f"SnapshotNotFound: the VolumeSnapshot {name} is being deleted", passes=False)
    if not snapshot.ready:
        if snapshot.error:
            return Obstacle(f"SnapshotFailed: the VolumeSnapshot {name} was not made: {snapshot.error}", passes=False)
        return Obstacle(f"SnapshotNotReady: the VolumeSnapshot {name} is not ready to use yet", passes=True)
    size = assessment.desired.spec.storage.size_bytes
    if snapshot.restore_bytes > size and not isinstance(volume, Volume):
        return Obstacle(
            f"SnapshotTooLarge: the VolumeSnapshot {name} needs a volume of {snapshot.restore_bytes} bytes; "
            f"spec.storage.size is {assessment.desired.spec.storage.size}",
            passes=False,
        )
    return None
