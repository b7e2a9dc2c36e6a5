"""Disks that are to be larger: those there are, one after the other, and the template of those to come. Pure.

A disk never shrinks, and one that cannot grow stays as it is: the plan says why. Growing needs no quorum, because a
full disk may be what took the quorum away.
"""

from __future__ import annotations

from collections.abc import Iterator

from collectionstore_operator.model.actions import GrowVolume, Proposal, ReplaceWorkload, postpone, postponed, propose
from collectionstore_operator.model.assessment import Assessment, change_blocked_by, is_serving, unhealthy_reason
from collectionstore_operator.model.observed import Slot, Volume, Workload


def grow(assessment: Assessment) -> Iterator[Proposal]:
    """Propose to make the next disk larger, and announce the others; one that is growing comes first."""
    storage = assessment.desired.spec.storage
    reason, first = f"spec.storage.size is {storage.size}", ""
    for slot in assessment.slots():
        name, volume = assessment.name(slot.ordinal), slot.volume
        if not isinstance(volume, Volume) or volume.removed or volume.size_bytes is None:
            continue
        wants, blocker = volume.size_bytes < storage.size_bytes, _not_growing(volume)
        if wants:
            action = GrowVolume(ordinal=slot.ordinal, name=volume.name, size=storage.size, reason=reason)
            proposal = propose(action, subject=name)
            blocker = blocker or first
            yield postponed(proposal, blocker) if blocker else proposal
        elif 0 < volume.capacity_bytes < volume.size_bytes:
            blocker = volume.resize_status or "the storage provider has not expanded it yet"
            yield postpone("GrowVolume", reason=reason, blocked_by=f"{volume.name}: {blocker}", subject=name)
        else:
            continue
        if not volume.not_expandable_reason:
            first = first or f"one at a time, after {name}"


def _not_growing(volume: Volume) -> str:
    """Return why a disk cannot be asked to grow now; empty when it can."""
    if volume.not_expandable_reason:
        return f"{volume.name}: {volume.not_expandable_reason}"
    return "" if volume.capacity_bytes else f"{volume.name} is not bound yet"


def renew_template(assessment: Assessment) -> Iterator[Proposal]:
    """Propose to make the workload anew when the disks it would make are too small; its pods run on.

    Only while nothing else is to be done and every member works: meanwhile nothing would start a pod that ends.
    """
    workload, wanted = assessment.observed.workload, assessment.desired.spec.storage
    if not isinstance(workload, Workload) or workload.volume_bytes is None:
        return
    if workload.volume_bytes >= wanted.size_bytes:
        return
    reason = f"new volumes must have {wanted.size}, and the volumeClaimTemplates of a StatefulSet are immutable"
    proposal = propose(ReplaceWorkload(replicas=workload.replicas, reason=reason), subject=assessment.desired.name)
    blocker = _restless(assessment, workload)
    yield postponed(proposal, blocker) if blocker else proposal


def _restless(assessment: Assessment, workload: Workload) -> str:
    """Return why the pods should not be without their workload now; empty when they can be for a moment."""
    replicas = assessment.desired.spec.replicas
    if workload.replicas != replicas:
        return f"the workload has {workload.replicas} pods, spec.replicas is {replicas}"
    ailing = (_ails(assessment, slot) for slot in assessment.slots() if slot.ordinal in assessment.desired_ordinals())
    return change_blocked_by(assessment) or next(filter(None, ailing), "")


def _ails(assessment: Assessment, slot: Slot) -> str:
    name = assessment.name(slot.ordinal)
    illness = unhealthy_reason(slot, name, assessment.observed.cluster_id)
    return illness or ("" if is_serving(slot.pod) else f"{name} must be ready first")
