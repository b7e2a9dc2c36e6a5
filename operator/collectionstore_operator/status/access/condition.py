"""The condition AccessConfigured: whether the cluster has the access control that its resource asks for. Pure."""

from __future__ import annotations

from typing import Final

from collectionstore_operator.model.access.configuration import anonymous_of, mode_of, wanted
from collectionstore_operator.model.access_seen import AccessSeen
from collectionstore_operator.model.actions import ConfigureAccess
from collectionstore_operator.model.assessment import Assessment
from collectionstore_operator.model.plan import Plan
from collectionstore_operator.status.condition_state import ConditionState

ACCESS_CONFIGURED: Final = "AccessConfigured"


def access_configured(assessment: Assessment, plan: Plan, before: ConditionState | None) -> ConditionState | None:
    """Return the condition; None where access control was not asked for, as before a cluster has its members.

    `before` is the condition as it was: it stays while no member can be asked. `plan` says why the last attempt failed.
    """
    seen, desired = assessment.observed.access, assessment.desired
    if not isinstance(seen, AccessSeen):
        return before
    if not seen.supported:
        return _not_supported(assessment)
    config = wanted(desired, seen, begun=assessment.observed.access_begun)
    if config is not None and config != seen.config:
        step = next((one for one in plan.steps if one.name == ConfigureAccess.__name__), None)
        why = step.blocked_by or step.reason if step is not None else "it waits for a leader"
        return ConditionState("False", "ConfigurationPending", f"{_now(seen)}; {why}")
    if desired.spec.access is None and mode_of(seen.config) == "Permissive":
        message = (
            "the cluster is older than access control, and spec.access is absent: every request is served, and what "
            "would be refused is logged; see docs/security.md to enforce it"
        )
        return ConditionState("False", "NotChosen", message)
    anonymous = anonymous_of(seen.config)
    if seen.mode == "Enforced" and anonymous:
        message = f"requests without a credential have the roles {', '.join(anonymous)}: spec.access.unsafe.anonymous"
        return ConditionState("True", "EnforcedUnsafe", message)
    return ConditionState("True", seen.mode or "Disabled", _now(seen))


def _not_supported(assessment: Assessment) -> ConditionState:
    if assessment.desired.spec.access is None and not assessment.observed.access_begun:
        return ConditionState("True", "NotSupported", "the version of the members has no access control")
    message = (
        "the members have no access control, or not all of them run a version that has it: every request is served; "
        "upgrade spec.version or spec.image"
    )
    return ConditionState("False", "NotSupported", message)


def _now(seen: AccessSeen) -> str:
    match seen.mode:
        case "Enforced":
            return "requests without the right to what they ask are refused"
        case "Permissive":
            return "what would be refused is logged and served"
        case _:
            return "nothing is checked"
