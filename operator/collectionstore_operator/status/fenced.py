"""The condition MembersFenced, of clusters with members that a user keeps from running. Pure."""

from __future__ import annotations

from typing import Final

from collectionstore_operator.model.assessment import Assessment
from collectionstore_operator.model.fences import fenced_members
from collectionstore_operator.model.observed import Absent, Pod
from collectionstore_operator.model.plan import Plan
from collectionstore_operator.status.condition_state import ConditionState

MEMBERS_FENCED: Final = "MembersFenced"


def stands(assessment: Assessment, ordinal: int) -> bool:
    """Return whether a member does not run because it is fenced."""
    pod = assessment.observed.slot(ordinal).pod
    kept = isinstance(pod, Absent) or (isinstance(pod, Pod) and pod.gated)
    return kept and assessment.name(ordinal) in fenced_members(assessment.desired)


def members_fenced(assessment: Assessment, plan: Plan) -> ConditionState | None:
    """Return whether every member that is to be fenced is; None if none is to be."""
    names = fenced_members(assessment.desired)
    if not names:
        return None
    waiting = [step for step in plan.steps if step.name == "FenceMember" and step.blocked_by]
    if waiting:
        told = "; ".join(f"{step.subject}: {step.blocked_by}".removeprefix(": ") for step in waiting)
        return ConditionState("False", "FenceBlocked", told)
    ordinals = [assessment.desired.ordinal(name) for name in names]
    running = [
        name for name, one in zip(names, ordinals, strict=True) if one is not None and not stands(assessment, one)
    ]
    if running:
        return ConditionState("False", "Fencing", f"{', '.join(running)} must stop")
    told = ", ".join(names)
    return ConditionState("True", "Fenced", f"kept from running, with the volume: {told}")
