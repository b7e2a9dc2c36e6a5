"""The conditions of a cluster, one function each: True, False or Unknown, with a reason and a message. Pure.

They answer the questions of an operator on call: is it available, is a change in progress, is a member down, can
another member fail?
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, TypeAlias

import msgspec

from collectionstore_operator.manifests.node_environment import revision
from collectionstore_operator.model import certificate_lifetimes, quorum
from collectionstore_operator.model.actions import IssueCertificate, Plan, Step
from collectionstore_operator.model.assessment import Assessment, responding_node, unhealthy_reason
from collectionstore_operator.model.observed import Absent, Failure, Pod, Slot, Unknown
from collectionstore_operator.model.pods import outdated
from collectionstore_operator.status.timestamps import rfc3339

ConditionStatus: TypeAlias = Literal["True", "False", "Unknown"]

STARTING_S: Final = 120.0
"""Time for a new pod to pull its image, bind its volume and get its certificate before it counts as down."""
RESTARTING_S: Final = 30.0
"""Time for a member to become ready before it counts as down instead of restarting."""


class ConditionState(msgspec.Struct, frozen=True):
    """The state of a condition; `reason` is CamelCase, `message` a sentence without a full stop."""

    status: ConditionStatus
    reason: str
    message: str


def accepted(assessment: Assessment, _plan: Plan) -> ConditionState:
    """Return whether the resource is valid. It is: an invalid one is not assessed (`report.refused`)."""
    unsafe = assessment.desired.spec.unsafe
    flags = [name for name, value in msgspec.to_builtins(unsafe).items() if value]
    if flags:
        return ConditionState("True", "AcceptedUnsafe", f"the resource is valid with spec.unsafe: {', '.join(flags)}")
    return ConditionState("True", "Valid", "the resource is valid")


def available(assessment: Assessment, _plan: Plan) -> ConditionState:
    """Return whether clients can read and write now."""
    view = assessment.view
    if view.trusted and view.leader is not None:
        voters = len(view.configuration.voters)
        message = f"{view.leader.name} is the leader, {len(view.in_sync_voters)} of {voters} voters are in sync"
        return ConditionState("True", "QuorumWorks", message)
    if not view.initialized:
        return ConditionState("False", "NotInitialized", "the cluster has not been bootstrapped yet")
    if not assessment.observed.nodes():
        return ConditionState("Unknown", "NoAnswer", "no member responds to the operator")
    return ConditionState("False", "NoQuorum", view.untrusted_reason)


def progressing(assessment: Assessment, plan: Plan) -> ConditionState:
    """Return whether a change is in progress; a blocked change counts, and the message names the blocker."""
    if assessment.desired.spec.paused:
        return ConditionState("False", "Paused", "spec.paused is true: reconciliation is suspended")
    running = [step for step in plan.steps if not step.blocked_by]
    if running:
        return ConditionState("True", running[0].name, _sentence(running[0]))
    if plan.steps:
        return ConditionState("True", "Blocked", f"{_sentence(plan.steps[0])}; blocked: {plan.steps[0].blocked_by}")
    return ConditionState("False", "Settled", "the cluster is in the desired state")


def degraded(assessment: Assessment, _plan: Plan) -> ConditionState:
    """Return whether a desired member is unhealthy."""
    unhealthy = {
        ordinal: text for ordinal in assessment.desired_ordinals() if (text := _unhealthy_reason(assessment, ordinal))
    }
    if unhealthy:
        restarting = all(_restarting(assessment.observed.slot(ordinal)) for ordinal in unhealthy)
        return ConditionState(
            "True", "MembersRestarting" if restarting else "MembersDown", "; ".join(unhealthy.values())
        )
    if not assessment.view.initialized:
        return ConditionState("False", "NotInitialized", "the cluster has not been bootstrapped yet")
    return ConditionState("False", "AllMembersWork", "all members are healthy")


def _unhealthy_reason(assessment: Assessment, ordinal: int) -> str:
    """Return why a member is unhealthy; for a future member, only why its pod cannot start."""
    slot, name = assessment.observed.slot(ordinal), assessment.name(ordinal)
    members = assessment.view.members_at(ordinal)
    if not any(member.voter for member in members) and (
        any(member.recently_active for member in members) or _starting(assessment, slot)
    ):
        return ""
    reason = unhealthy_reason(slot, name, assessment.observed.cluster_id)
    if reason or not assessment.view.trusted or any(member.in_sync for member in members):
        return reason
    return f"{name} has not joined the cluster yet" if not members else f"{name} has not caught up yet"


def _starting(assessment: Assessment, slot: Slot) -> bool:
    """Return whether a pod has no known failure and has not had the time to become ready."""
    view = assessment.view
    if view.initialized and not view.configuration.voters:
        return False  # the configuration is unknown: it may have been a member for years
    if isinstance(slot.pod, Unknown) or slot.pending_reason:
        return False
    return not isinstance(slot.pod, Pod) or (slot.pod.failure is Failure.NONE and slot.pod.unready_s < STARTING_S)


def _restarting(slot: Slot) -> bool:
    """Return whether a pod is restarting: terminating, or unready for a short time without a known failure."""
    if not isinstance(slot.pod, Pod):
        return isinstance(slot.pod, Absent) and not slot.pending_reason
    return slot.pod.terminating or (slot.pod.failure is Failure.NONE and slot.pod.unready_s < RESTARTING_S)


def quorum_safe(assessment: Assessment, _plan: Plan) -> ConditionState:
    """Return whether one more voter can fail without losing the quorum."""
    view = assessment.view
    if not view.initialized:
        return ConditionState("False", "NotInitialized", "the cluster has not been bootstrapped yet")
    if not view.trusted:
        return ConditionState("Unknown", "NoLeader", view.untrusted_reason)
    if view.fault_tolerance > 0:
        return ConditionState("True", "CanLose", _tolerance(view.fault_tolerance))
    if quorum.full_tolerance(assessment.desired.spec.replicas) == 0:
        message = f"{assessment.desired.spec.replicas} replicas tolerate no failure; spec.unsafe permits it"
        return ConditionState("False", "TooFewReplicas", message)
    return ConditionState("False", "NoTolerance", "no voter can fail without losing the quorum")


def members_updated(assessment: Assessment, _plan: Plan) -> ConditionState:
    """Return whether every member runs the desired revision."""
    desired_revision = revision(assessment.desired)
    behind: list[str] = []
    for ordinal in assessment.desired_ordinals():
        pod = assessment.observed.slot(ordinal).pod
        if isinstance(pod, Unknown):
            return ConditionState(
                "Unknown", "PodUnknown", f"the pod {assessment.name(ordinal)} cannot be observed: {pod.reason}"
            )
        if not isinstance(pod, Pod) or outdated(pod, desired_revision):
            behind.append(assessment.name(ordinal))
    if behind:
        return ConditionState("False", "RolloutPending", f"not at revision {desired_revision}: {', '.join(behind)}")
    return ConditionState("True", "AllUpdated", f"all members run revision {desired_revision}")


def certificates_ready(assessment: Assessment, plan: Plan) -> ConditionState:
    """Return whether every certificate exists and none is overdue for renewal."""
    observed = assessment.observed
    if observed.certificates is None:
        return ConditionState("Unknown", "NotIssuedHere", "this runtime does not issue certificates")
    missing = [step for step in plan.steps if step.name == IssueCertificate.__name__]
    if missing:
        return ConditionState("False", "IssuePending", "; ".join(_sentence(step) for step in missing))
    late = certificate_lifetimes.overdue(observed.certificates, observed.now)
    if late:
        overdue = ", ".join(f"{one.name} (expires on {rfc3339(one.not_after)})" for one in late)
        return ConditionState("False", "RenewalOverdue", f"members have not renewed their certificates: {overdue}")
    first = certificate_lifetimes.first_expiry(observed.certificates)
    if first is None:
        return ConditionState("False", "IssuePending", "no certificate exists yet")
    return ConditionState("True", "AllValid", f"the earliest expiry is {rfc3339(first.not_after)} ({first.name})")


def paused(assessment: Assessment, _plan: Plan) -> ConditionState:
    """Return whether the user has paused reconciliation."""
    if assessment.desired.spec.paused:
        return ConditionState(
            "True", "Paused", "spec.paused is true: the operator updates the status and makes no changes"
        )
    return ConditionState("False", "NotPaused", "spec.paused is false")


def ready(assessment: Assessment, plan: Plan) -> ConditionState:
    """Return the summary: the cluster is available, all members are healthy, and the plan is empty."""
    # Report the cause, not the effect: before initialization an unhealthy pod is why the cluster is not available.
    if assessment.view.initialized:
        checks = ((available, "True"), (degraded, "False"), (progressing, "False"))
    else:
        checks = ((degraded, "False"), (available, "True"), (progressing, "False"))
    for evaluate, good in checks:
        state = evaluate(assessment, plan)
        if state.status != good:
            return ConditionState("False", state.reason, state.message)
    members = assessment.desired.spec.replicas
    return ConditionState("True", "AllMembersWork", f"{members} of {members} members are ready")


EVALUATORS: Final[dict[str, Callable[[Assessment, Plan], ConditionState]]] = {
    "Ready": ready,
    "Accepted": accepted,
    "Available": available,
    "Progressing": progressing,
    "Degraded": degraded,
    "QuorumSafe": quorum_safe,
    "MembersUpdated": members_updated,
    "CertificatesReady": certificates_ready,
    "Paused": paused,
}
"""All conditions by type, in the order of the status."""


def _tolerance(voters: int) -> str:
    return f"{voters} {'voter' if voters == 1 else 'voters'} can fail without losing the quorum"


def _sentence(step: Step) -> str:
    return f"{step.subject}: {step.reason}" if step.subject else step.reason


def member_ready(assessment: Assessment, ordinal: int) -> bool:
    """Return whether a desired member is a voter, is in sync, and its pod is ready."""
    slot = assessment.observed.slot(ordinal)
    node = responding_node(slot, assessment.observed.cluster_id)
    member = assessment.view.member(node.node_id) if node else None
    return member is not None and member.voter and member.in_sync and isinstance(slot.pod, Pod) and slot.pod.ready
