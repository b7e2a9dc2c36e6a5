"""The judgements on a cluster, one function each: True, False or Unknown, with a reason and a sentence. Pure.

They answer what people ask: can it be used, is something going on, is something broken, can I lose one more?
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
"""Time for a new pod to get its image, its disk and its certificate before it counts as broken."""
RESTARTING_S: Final = 30.0
"""Time for a member to come back before it is called down instead of restarting."""


class ConditionState(msgspec.Struct, frozen=True):
    """A judgement; `reason` is CamelCase, `message` a sentence without a full stop."""

    status: ConditionStatus
    reason: str
    message: str


def accepted(assessment: Assessment, _plan: Plan) -> ConditionState:
    """Judge whether the resource is valid; it is, or nothing else would have been looked at."""
    unsafe = assessment.desired.spec.unsafe
    flags = [name for name, value in msgspec.to_builtins(unsafe).items() if value]
    if flags:
        return ConditionState("True", "AcceptedUnsafe", f"the resource is valid with spec.unsafe: {', '.join(flags)}")
    return ConditionState("True", "Valid", "the resource is valid")


def available(assessment: Assessment, _plan: Plan) -> ConditionState:
    """Judge whether clients can read and write now."""
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
    """Judge whether the cluster is being changed; a change that waits counts, and says what for."""
    if assessment.desired.spec.paused:
        return ConditionState("False", "Paused", "spec.paused is true: reconciliation is suspended")
    running = [step for step in plan.steps if not step.blocked_by]
    if running:
        return ConditionState("True", running[0].name, _sentence(running[0]))
    if plan.steps:
        return ConditionState("True", "Blocked", f"{_sentence(plan.steps[0])}; blocked: {plan.steps[0].blocked_by}")
    return ConditionState("False", "Settled", "the cluster is in the desired state")


def degraded(assessment: Assessment, _plan: Plan) -> ConditionState:
    """Judge whether a wanted member does not do its part."""
    ailing = {ordinal: text for ordinal in assessment.desired_ordinals() if (text := _ails(assessment, ordinal))}
    if ailing:
        restarting = all(_restarting(assessment.observed.slot(ordinal)) for ordinal in ailing)
        return ConditionState("True", "MembersRestarting" if restarting else "MembersDown", "; ".join(ailing.values()))
    if not assessment.view.initialized:
        return ConditionState("False", "NotInitialized", "the cluster has not been bootstrapped yet")
    return ConditionState("False", "AllMembersWork", "all members are healthy")


def _ails(assessment: Assessment, ordinal: int) -> str:
    """Return what ails a member; for one that is still to become one, only what keeps it from being started."""
    slot, name = assessment.observed.slot(ordinal), assessment.name(ordinal)
    members = assessment.view.members_at(ordinal)
    if not any(member.voter for member in members) and (
        any(member.recently_active for member in members) or _starting(assessment, slot)
    ):
        return ""
    illness = unhealthy_reason(slot, name, assessment.observed.cluster_id)
    if illness or not assessment.view.trusted or any(member.in_sync for member in members):
        return illness
    return f"{name} has not joined the cluster yet" if not members else f"{name} has not caught up yet"


def _starting(assessment: Assessment, slot: Slot) -> bool:
    """Whether a pod has had no time yet to show that it works, and nothing is known to be wrong with it."""
    view = assessment.view
    if view.initialized and not view.configuration.voters:
        return False  # nobody says who votes: it may have been a member for years
    if isinstance(slot.pod, Unknown) or slot.pending_reason:
        return False
    return not isinstance(slot.pod, Pod) or (slot.pod.failure is Failure.NONE and slot.pod.unready_s < STARTING_S)


def _restarting(slot: Slot) -> bool:
    """Whether a pod is between its last run and its next, as far as anybody can tell."""
    if not isinstance(slot.pod, Pod):
        return isinstance(slot.pod, Absent) and not slot.pending_reason
    return slot.pod.terminating or (slot.pod.failure is Failure.NONE and slot.pod.unready_s < RESTARTING_S)


def quorum_safe(assessment: Assessment, _plan: Plan) -> ConditionState:
    """Judge whether one more voter may be lost now."""
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
    """Judge whether every member runs with the current settings."""
    wanted_revision = revision(assessment.desired)
    behind: list[str] = []
    for ordinal in assessment.desired_ordinals():
        pod = assessment.observed.slot(ordinal).pod
        if isinstance(pod, Unknown):
            return ConditionState(
                "Unknown", "PodUnknown", f"the pod {assessment.name(ordinal)} cannot be observed: {pod.reason}"
            )
        if not isinstance(pod, Pod) or outdated(pod, wanted_revision):
            behind.append(assessment.name(ordinal))
    if behind:
        return ConditionState("False", "RolloutPending", f"not at revision {wanted_revision}: {', '.join(behind)}")
    return ConditionState("True", "AllUpdated", f"all members run revision {wanted_revision}")


def certificates_ready(assessment: Assessment, plan: Plan) -> ConditionState:
    """Judge whether every certificate exists and is far from its end."""
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
    """Judge whether the user has asked that nothing be changed."""
    if assessment.desired.spec.paused:
        return ConditionState(
            "True", "Paused", "spec.paused is true: the operator updates the status and makes no changes"
        )
    return ConditionState("False", "NotPaused", "spec.paused is false")


def ready(assessment: Assessment, plan: Plan) -> ConditionState:
    """Sum up: the cluster serves, all wanted members do their part, and nothing remains to be done."""
    # A broken pod says more than what it is the cause of.
    if assessment.view.initialized:
        order = ((available, "True"), (degraded, "False"), (progressing, "False"))
    else:
        order = ((degraded, "False"), (available, "True"), (progressing, "False"))
    for evaluate, good in order:
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
"""Every condition there is, in the order of reading."""


def _tolerance(voters: int) -> str:
    return f"{voters} {'voter' if voters == 1 else 'voters'} can fail without losing the quorum"


def _sentence(step: Step) -> str:
    return f"{step.subject}: {step.reason}" if step.subject else step.reason


def member_ready(assessment: Assessment, ordinal: int) -> bool:
    """Return whether a wanted member votes, has caught up and serves."""
    slot = assessment.observed.slot(ordinal)
    node = responding_node(slot, assessment.observed.cluster_id)
    member = assessment.view.member(node.node_id) if node else None
    return member is not None and member.voter and member.in_sync and isinstance(slot.pod, Pod) and slot.pod.ready
