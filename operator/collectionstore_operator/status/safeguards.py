"""Conditions of what a cluster cannot do without: its records and keys, and the volumes under its members. Pure."""

from __future__ import annotations

from collectionstore_operator.model.actions import SetReclaimPolicy
from collectionstore_operator.model.assessment import Assessment, contradicts_authorities
from collectionstore_operator.model.observed import Pod, Slot, Unknown, Volume
from collectionstore_operator.model.plan import Plan
from collectionstore_operator.status.condition_state import ConditionState


def records_valid(assessment: Assessment, _plan: Plan) -> ConditionState:
    """Return whether the record and the authority are those of the members; what can be proven is restored."""
    observed = assessment.observed
    if observed.identity_conflict:
        return ConditionState("False", "IdentityUnproven", observed.identity_conflict)
    if observed.authority_conflict:
        return ConditionState("False", "AuthorityLost", observed.authority_conflict)
    if observed.peer_authority_conflict:
        return ConditionState("False", "AuthorityLost", observed.peer_authority_conflict)
    contradicted = contradicts_authorities(assessment.desired, observed)
    if contradicted:
        return ConditionState("False", "AuthoritiesContradict", contradicted)
    if not observed.cluster_id:
        return ConditionState("True", "NotRecorded", "nothing is recorded yet that could be wrong")
    if observed.recorded_cluster_id:
        message = f"the record names the cluster {observed.recorded_cluster_id} instead of {observed.cluster_id}"
        return ConditionState("False", "Restoring", message)
    if observed.authority_published is False and not observed.initialized:
        return ConditionState("True", "NotRecorded", "the authority is not published yet")
    if observed.authority_published is False:
        return ConditionState("False", "Restoring", "the record does not hold the authority that members trust")
    return ConditionState("True", "AllValid", "the record and the keys are those of the members")


def volumes_safe(assessment: Assessment, plan: Plan) -> ConditionState:
    """Return whether no volume is about to be lost: no claim under a pod is being deleted, and Retain is in force."""
    going = [one for slot in assessment.observed.slots if (one := _going(assessment, slot))]
    if going:
        return ConditionState("False", "ClaimTerminating", "; ".join(going))
    unseen = [
        f"the volume of {assessment.name(slot.ordinal)} cannot be observed: {slot.volume.reason}"
        for slot in assessment.observed.slots
        if isinstance(slot.volume, Unknown) and slot.ordinal in assessment.desired_ordinals()
    ]
    if unseen:
        return ConditionState("Unknown", "VolumeUnknown", "; ".join(unseen))
    if assessment.desired.spec.storage.retention == "Retain":
        # A claim that was bound just now gets its policy in the round that reports it: nothing to tell,
        # unless it is blocked or refused.
        steps = (step for step in plan.steps if step.name == SetReclaimPolicy.__name__)
        at_once = {step.subject for step in steps if not step.blocked_by}
        policies = [
            f"{slot.volume.persistent_volume} of {slot.volume.name} has {slot.volume.reclaim_policy}"
            for slot in assessment.observed.slots
            if isinstance(slot.volume, Volume)
            and slot.volume.reclaim_policy not in ("", "Retain")
            and slot.volume.name not in at_once
        ]
        if policies:
            message = f"spec.storage.retention is Retain, and the reclaim policy is not: {', '.join(policies)}"
            return ConditionState("False", "NotRetained", message)
    return ConditionState("True", "AllSafe", "no volume is about to be lost")


def _going(assessment: Assessment, slot: Slot) -> str:
    """Return that the claim under a pod is being deleted; empty if it is not."""
    if not (isinstance(slot.volume, Volume) and slot.volume.terminating and isinstance(slot.pod, Pod)):
        return ""
    name = assessment.name(slot.ordinal)
    return f"the claim {slot.volume.name} is being deleted: {name} loses its volume when its pod restarts"
