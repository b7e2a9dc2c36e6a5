"""Disks that are to be larger: those there are, one after the other, and the template of those to come. Pure.

A disk never shrinks, and one that cannot grow stays as it is: the plan says why. Growing needs no quorum, because a
full disk may be what took the quorum away.
"""

from __future__ import annotations

from collections.abc import Iterator

from collectionstore_operator.model.actions import GrowVolume, Proposal, ReplaceWorkload, postpone, postponed, propose
from collectionstore_operator.model.assessment import Situation, ailment, steady, waiting_for
from collectionstore_operator.model.observed import Slot, Volume, Workload


def grow(situation: Situation) -> Iterator[Proposal]:
    """Propose to make the next disk larger, and announce the others; one that is growing comes first."""
    storage = situation.desired.spec.storage
    reason, first = f"spec.storage.size is {storage.size}", ""
    for slot in situation.slots():
        name, volume = situation.name(slot.ordinal), slot.volume
        if not isinstance(volume, Volume) or volume.removed or volume.size_bytes is None:
            continue
        wants, obstacle = volume.size_bytes < storage.size_bytes, _not_growing(volume)
        if wants:
            action = GrowVolume(ordinal=slot.ordinal, name=volume.name, size=storage.size, reason=reason)
            proposal = propose(action, subject=name)
            obstacle = obstacle or first
            yield postponed(proposal, obstacle) if obstacle else proposal
        elif 0 < volume.capacity_bytes < volume.size_bytes:
            obstacle = volume.growing or "the storage has not made it larger yet"
            yield postpone("GrowVolume", reason=reason, blocked_by=f"{volume.name}: {obstacle}", subject=name)
        else:
            continue
        if not volume.cannot_grow:
            first = first or f"one at a time: {name} comes first"


def _not_growing(volume: Volume) -> str:
    """Return why a disk cannot be asked to grow now; empty when it can."""
    if volume.cannot_grow:
        return f"{volume.name}: {volume.cannot_grow}"
    return "" if volume.capacity_bytes else f"{volume.name} is not bound to a volume yet"


def renew_template(situation: Situation) -> Iterator[Proposal]:
    """Propose to make the workload anew when the disks it would make are too small; its pods run on.

    Only while nothing else is to be done and every member works: meanwhile nothing would start a pod that ends.
    """
    workload, wanted = situation.observed.workload, situation.desired.spec.storage
    if not isinstance(workload, Workload) or workload.volume_bytes is None:
        return
    if workload.volume_bytes >= wanted.size_bytes:
        return
    reason = f"new disks are to have {wanted.size}, and a StatefulSet keeps its claim templates for life"
    proposal = propose(ReplaceWorkload(replicas=workload.replicas, reason=reason), subject=situation.desired.name)
    obstacle = _restless(situation, workload)
    yield postponed(proposal, obstacle) if obstacle else proposal


def _restless(situation: Situation, workload: Workload) -> str:
    """Return why the pods should not be without their workload now; empty when they can be for a moment."""
    replicas = situation.desired.spec.replicas
    if workload.replicas != replicas:
        return f"{workload.replicas} pods are kept, {replicas} are wanted"
    ailing = (_ails(situation, slot) for slot in situation.slots() if slot.ordinal in situation.wanted())
    return waiting_for(situation) or next(filter(None, ailing), "")


def _ails(situation: Situation, slot: Slot) -> str:
    name = situation.name(slot.ordinal)
    illness = ailment(slot, name, situation.observed.cluster_id)
    return illness or ("" if steady(slot.pod) else f"{name} must be ready first")
