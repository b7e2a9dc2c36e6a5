"""Volumes of members that have left the cluster, and whether one may be deleted now. Pure.

A volume is released when its member was removed by a scale-down: its claim is marked, and no member starts on it again.
Deleting it cannot be undone, so everything is proved first, and what is not known keeps it.
"""

from __future__ import annotations

from collections.abc import Iterator

from collectionstore_operator.model.assessment import Assessment, change_blocked_by
from collectionstore_operator.model.observed import Absent, Slot, Volume, Workload
from collectionstore_operator.model.timestamps import rfc3339


def released(assessment: Assessment) -> Iterator[tuple[Slot, Volume]]:
    """Yield the released volumes: those of ordinals that no pod is to run on."""
    workload = assessment.observed.workload
    used = workload.replicas if isinstance(workload, Workload) else 0
    first = max(used, assessment.desired.spec.replicas)
    for slot in assessment.observed.slots:
        if slot.ordinal >= first and isinstance(slot.volume, Volume) and slot.volume.removed:
            yield slot, slot.volume


def delete_at(assessment: Assessment, volume: Volume) -> float | None:
    """Return when a released volume is due, in Unix seconds; None if it is kept, or its time is not known yet."""
    policy = assessment.desired.spec.storage.released_volumes
    if policy is None or policy.policy != "Delete" or not volume.released_at:
        return None
    return volume.released_at + (policy.after_seconds or 0)


def kept_because(assessment: Assessment, slot: Slot, volume: Volume) -> str:
    """Return why a released volume is not deleted now; empty if it may be."""
    policy = assessment.desired.spec.storage.released_volumes
    if policy is None or policy.policy != "Delete":
        return "spec.storage.releasedVolumes does not delete it"
    due = delete_at(assessment, volume)
    if due is None:
        return "it is not recorded yet when its member was removed"
    if assessment.observed.now < due:
        return f"it is deleted at {rfc3339(due)}"
    return _unproven(assessment, slot, volume)


def _unproven(assessment: Assessment, slot: Slot, volume: Volume) -> str:
    """Return what is not proved of a volume that is due; empty if nothing is missing."""
    view, name = assessment.view, assessment.name(slot.ordinal)
    if blocker := change_blocked_by(assessment):
        return blocker
    if volume.terminating:
        return "its claim is being deleted already"
    if not isinstance(slot.pod, Absent):
        return f"the pod {name} exists, or cannot be seen"
    if volume.mounted_by:
        return f"the pod {volume.mounted_by} mounts it"
    if not isinstance(volume.node_id, str):
        return "it is not known which member wrote it"
    if volume.node_id in view.configuration.members() or view.members_at(slot.ordinal):
        return f"the configuration still has a member {name}"
    voters = view.configuration.voters
    if len(voters) < assessment.desired.spec.replicas:
        return f"{len(voters)} of {assessment.desired.spec.replicas} members vote"
    behind = [one.name for one in view.members if one.voter and not one.in_sync]
    return f"{', '.join(behind)} must catch up first" if behind else ""
