"""The condition of the objects of a cluster: whose they are, and whether they say what they must. Pure."""

from __future__ import annotations

from typing import Final

from collectionstore_operator.manifests import drift, services
from collectionstore_operator.model.actions import ApplyObject, DeleteObject, EnsureWorkload
from collectionstore_operator.model.assessment import Assessment
from collectionstore_operator.model.plan import Plan
from collectionstore_operator.resource import labels
from collectionstore_operator.status.condition_state import ConditionState

_MISLEADING: Final = ("spec.selector", "spec.ports", "spec.type", "spec.publishNotReadyAddresses")
"""Fields of a Service without which clients do not reach members."""


def objects_applied(assessment: Assessment, plan: Plan) -> ConditionState:
    """Return whether every object of the cluster is its own and says what it must."""
    observed = assessment.observed
    if observed.objects is None:
        return ConditionState("Unknown", "NoObjectsHere", "this runtime has no such objects")
    if observed.foreign:
        named = "; ".join(f"the {one.kind} {one.name} belongs to {one.owner}" for one in observed.foreign)
        return ConditionState("False", "ForeignObject", f"{named}: it is neither used nor changed")
    changed = [one for one in plan.actions if isinstance(one, ApplyObject | EnsureWorkload) and one.drifted]
    if changed:
        kinds = [f"{one.kind} {one.name}" if isinstance(one, ApplyObject) else "StatefulSet" for one in changed]
        named = "; ".join(f"{kind}: {one.reason}" for kind, one in zip(kinds, changed, strict=True))
        return ConditionState("False", "Drifted", named)
    # One of ours that a change of the cluster brings with it, such as the budget while a member is down, is applied in
    # the round that reports it: it is pending only while that is blocked or refused.
    exist = {f"{one.kind} {one.name}" for one in observed.objects}
    steps = (one for one in plan.steps if one.name in (ApplyObject.__name__, DeleteObject.__name__))
    waiting = [one.subject for one in steps if one.blocked_by or one.subject not in exist]
    if waiting:
        return ConditionState("False", "ApplyPending", f"not applied yet: {', '.join(waiting)}")
    return ConditionState(
        "True", "AllApplied", "every object belongs to the cluster and says what the resource requires"
    )


def misdirected(assessment: Assessment) -> str:
    """Return why the Service for clients does not lead to the members; empty if it does."""
    observed, desired = assessment.observed, assessment.desired
    name = labels.client_service(desired.name)
    for other in observed.foreign:
        if (other.kind, other.name) == ("Service", name):
            return f"the Service {name} belongs to {other.owner}"
    for one in observed.objects or ():
        if (one.kind, one.name) == ("Service", name):
            found = drift.differences(services.client(desired).body, one.live, admitted=one.admitted)
            wrong = [each for each in found if each.shown.startswith(_MISLEADING)]
            if wrong:
                return f"the Service {name} does not lead to the members: {drift.described(wrong)}"
    return ""
