"""Volume expansion: of existing volumes, one at a time, and of the volume claim templates of the workload. Pure.

A volume never shrinks; a size that is larger than every volume may be lowered again. One that cannot be expanded stays
unchanged, and the plan reports why. Expansion requires no quorum, because full volumes may be the reason why the quorum
was lost.
"""

from __future__ import annotations

from collections.abc import Iterator

from collectionstore_operator.model.actions import GrowVolume, ReplaceWorkload
from collectionstore_operator.model.assessment import Assessment, change_blocked_by, is_serving, unhealthy_reason
from collectionstore_operator.model.observed import Slot, Volume, Workload
from collectionstore_operator.model.plan import Proposal, postpone, postponed, propose
from collectionstore_operator.planning import volume_growth


def grow(assessment: Assessment) -> Iterator[Proposal]:
    """Propose to expand the next volume; the others are blocked. An expansion in progress completes first."""
    wanted, first = volume_growth.target(assessment), ""
    for slot in assessment.slots():
        name, volume = assessment.name(slot.ordinal), slot.volume
        if not isinstance(volume, Volume) or volume.removed or volume.size_bytes is None:
            continue
        too_small, blocker = volume.size_bytes < wanted.bytes, _expansion_blocked_by(volume)
        if too_small:
            action = GrowVolume(ordinal=slot.ordinal, name=volume.name, size=wanted.size, reason=wanted.reason)
            proposal = propose(action, subject=name)
            blocker = blocker or first
            yield postponed(proposal, blocker) if blocker else proposal
        elif 0 < volume.capacity_bytes < volume.size_bytes:
            blocker = volume.resize_status or "the storage provider has not expanded it yet"
            yield postpone("GrowVolume", reason=wanted.reason, blocked_by=f"{volume.name}: {blocker}", subject=name)
        else:
            continue
        # A volume that can never be expanded must not block the others.
        if not volume.not_expandable_reason:
            first = first or f"one at a time, after {name}"


def _expansion_blocked_by(volume: Volume) -> str:
    """Return why the expansion of a volume cannot be requested now; empty if it can."""
    if volume.not_expandable_reason:
        return f"{volume.name}: {volume.not_expandable_reason}"
    return "" if volume.capacity_bytes else f"{volume.name} is not bound yet"


def renew_template(assessment: Assessment) -> Iterator[Proposal]:
    """Propose to recreate the workload if its volume claim templates have another size; its pods keep running.

    Another, and not only a smaller one: an expansion that no volume could follow is taken back.

    Only while no other disruptive step is due and every member is healthy: until the workload exists again, no
    controller restarts a pod that terminates.
    """
    workload, storage = assessment.observed.workload, assessment.desired.spec.storage
    if not isinstance(workload, Workload) or workload.volume_bytes is None:
        return
    if workload.volume_bytes == storage.size_bytes:
        return
    reason = f"new volumes must have {storage.size}, and the volumeClaimTemplates of a StatefulSet are immutable"
    proposal = propose(ReplaceWorkload(replicas=workload.replicas, reason=reason), subject=assessment.desired.name)
    blocker = _must_not_orphan(assessment, workload)
    yield postponed(proposal, blocker) if blocker else proposal


def _must_not_orphan(assessment: Assessment, workload: Workload) -> str:
    """Return why the pods must not be orphaned now; empty if they can be for a moment."""
    replicas = assessment.desired.spec.replicas
    if workload.replicas != replicas:
        return f"the workload has {workload.replicas} pods, spec.replicas is {replicas}"
    unhealthy = (
        _unhealthy_reason(assessment, slot)
        for slot in assessment.slots()
        if slot.ordinal in assessment.desired_ordinals()
    )
    return change_blocked_by(assessment) or next(filter(None, unhealthy), "")


def _unhealthy_reason(assessment: Assessment, slot: Slot) -> str:
    name = assessment.name(slot.ordinal)
    reason = unhealthy_reason(slot, name, assessment.observed.cluster_id)
    return reason or ("" if is_serving(slot.pod) else f"{name} must be ready first")
