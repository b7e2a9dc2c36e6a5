"""What the conditions say of a cluster that is stopped on purpose, or starts after that. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from collectionstore_operator.model.assessment import Assessment
from collectionstore_operator.model.observed import Absent
from collectionstore_operator.model.plan import Plan
from collectionstore_operator.model.planned_work import Hibernation
from collectionstore_operator.status.condition_state import ConditionState

HIBERNATED = "Hibernated"


def stopped(assessment: Assessment) -> bool:
    """Return whether no member is expected to run: what is wrong with one is not told."""
    recorded = assessment.observed.planned_work.hibernation
    return assessment.desired.spec.asleep and recorded is not None and recorded.stopping


def with_hibernation(
    states: Mapping[str, ConditionState], assessment: Assessment, plan: Plan
) -> dict[str, ConditionState]:
    """Return the states with the condition Hibernated, where it applies, and with what it changes in the others."""
    recorded = assessment.observed.planned_work.hibernation
    asleep = assessment.desired.spec.asleep
    if not asleep and recorded is None:
        return dict(states)
    if not stopped(assessment) or recorded is None:
        return _running(states, assessment, plan, recorded)
    running = [slot.ordinal for slot in assessment.observed.slots if not isinstance(slot.pod, Absent)]
    kept = f"its volumes hold everything up to index {recorded.commit_index:,} of term {recorded.term}"
    if running:
        names = ", ".join(assessment.name(ordinal) for ordinal in running)
        state = ConditionState("False", "Stopping", f"the members stop: {names} must terminate; {kept}")
    else:
        state = ConditionState("True", "Hibernated", f"spec.hibernate is true: no member runs; {kept}")
    refused = f"spec.hibernate is true: nothing is read or written; {kept}"
    changed = {
        "Available": ConditionState("False", "Hibernated", refused),
        "Degraded": ConditionState("False", "Hibernated", "no member is to run"),
        "QuorumSafe": ConditionState("Unknown", "Hibernated", "no member is to run"),
    }
    return {**states, **changed, HIBERNATED: state}


def _running(
    states: Mapping[str, ConditionState], assessment: Assessment, plan: Plan, recorded: Hibernation | None
) -> dict[str, ConditionState]:
    if recorded is None or not recorded.stopping:
        waits = next((step.blocked_by for step in plan.steps if step.name == "ScaleWorkload"), "")
        message = f"spec.hibernate is true; the members are not stopped yet: {waits or 'they are about to be'}"
        if not assessment.desired.spec.asleep:
            message = "spec.hibernate is not true any more; nothing was stopped"
        return {**states, HIBERNATED: ConditionState("False", "Preparing", message)}
    message = f"the members start; index {recorded.commit_index:,} was committed when they were stopped"
    waking = ConditionState("False", "Waking", message)
    known = states["Available"]
    if known.status != "True":
        return {**states, HIBERNATED: waking}
    # A leader may serve already: it counts when it is proved to have what was committed.
    return {**states, "Available": waking, HIBERNATED: waking}
