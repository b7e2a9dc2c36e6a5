"""The judgements on a cluster, one function each: True, False or Unknown, with a reason and a sentence. Pure.

They answer what people ask: can it be used, is something going on, is something broken, can I lose one more?
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, TypeAlias

import msgspec

from collectionstore_operator.manifests.node_environment import revision
from collectionstore_operator.model import quorum
from collectionstore_operator.model.actions import Plan, Step
from collectionstore_operator.model.assessment import Situation, ailment, current
from collectionstore_operator.model.observed import Absent, Failure, Pod, Slot, Unknown
from collectionstore_operator.planning import certificates, rollout
from collectionstore_operator.status.timestamps import rfc3339

ConditionStatus: TypeAlias = Literal["True", "False", "Unknown"]

STARTING_S: Final = 120.0
"""Time for a new pod to get its image, its disk and its certificate before it counts as broken."""
RESTARTING_S: Final = 30.0
"""Time for a member to come back before it is called down instead of restarting."""


class Verdict(msgspec.Struct, frozen=True):
    """A judgement; `reason` is CamelCase, `message` a sentence without a full stop."""

    status: ConditionStatus
    reason: str
    message: str


def accepted(situation: Situation, _plan: Plan) -> Verdict:
    """Judge whether the resource is valid; it is, or nothing else would have been looked at."""
    unsafe = situation.desired.spec.unsafe
    flags = [name for name, value in msgspec.to_builtins(unsafe).items() if value]
    if flags:
        return Verdict("True", "AcceptedUnsafe", f"the resource is valid with spec.unsafe: {', '.join(flags)}")
    return Verdict("True", "Valid", "the resource is valid")


def available(situation: Situation, _plan: Plan) -> Verdict:
    """Judge whether clients can read and write now."""
    standing = situation.standing
    if standing.trusted and standing.leader is not None:
        voters = len(standing.configuration.voters)
        message = f"{standing.leader.name} leads, {len(standing.working)} of {voters} voters work"
        return Verdict("True", "QuorumWorks", message)
    if not standing.initialized:
        return Verdict("False", "NotInitialized", "the cluster has not been formed yet")
    if not situation.observed.nodes():
        return Verdict("Unknown", "NoAnswer", "no member answers the operator")
    return Verdict("False", "NoQuorum", standing.doubt)


def progressing(situation: Situation, plan: Plan) -> Verdict:
    """Judge whether the cluster is being changed; a change that waits counts, and says what for."""
    if situation.desired.spec.paused:
        return Verdict("False", "Paused", "spec.paused is true, nothing is changed")
    running = [step for step in plan.steps if not step.blocked_by]
    if running:
        return Verdict("True", running[0].name, _sentence(running[0]))
    if plan.steps:
        return Verdict("True", "Blocked", f"{_sentence(plan.steps[0])}; waits: {plan.steps[0].blocked_by}")
    return Verdict("False", "Settled", "the cluster is as the resource wants it")


def degraded(situation: Situation, _plan: Plan) -> Verdict:
    """Judge whether a wanted member does not do its part."""
    ailing = {ordinal: text for ordinal in situation.wanted() if (text := _ails(situation, ordinal))}
    if ailing:
        restarting = all(_restarting(situation.observed.slot(ordinal)) for ordinal in ailing)
        return Verdict("True", "MembersRestarting" if restarting else "MembersDown", "; ".join(ailing.values()))
    if not situation.standing.initialized:
        return Verdict("False", "NotInitialized", "the cluster has not been formed yet")
    return Verdict("False", "AllMembersWork", "every member does its part")


def _ails(situation: Situation, ordinal: int) -> str:
    """Return what ails a member; for one that is still to become one, only what keeps it from being started."""
    slot, name = situation.observed.slot(ordinal), situation.name(ordinal)
    seats = situation.standing.seats_at(ordinal)
    if not any(seat.voter for seat in seats) and (any(seat.heard for seat in seats) or _starting(situation, slot)):
        return ""
    illness = ailment(slot, name, situation.observed.cluster_id)
    if illness or not situation.standing.trusted or any(seat.working for seat in seats):
        return illness
    return f"{name} has not joined yet" if not seats else f"{name} has not caught up yet"


def _starting(situation: Situation, slot: Slot) -> bool:
    """Whether a pod has had no time yet to show that it works, and nothing is known to be wrong with it."""
    standing = situation.standing
    if standing.initialized and not standing.configuration.voters:
        return False  # nobody says who votes: it may have been a member for years
    if isinstance(slot.pod, Unknown) or slot.obstacle:
        return False
    return not isinstance(slot.pod, Pod) or (slot.pod.failure is Failure.NONE and slot.pod.unready_s < STARTING_S)


def _restarting(slot: Slot) -> bool:
    """Whether a pod is between its last run and its next, as far as anybody can tell."""
    if not isinstance(slot.pod, Pod):
        return isinstance(slot.pod, Absent) and not slot.obstacle
    return slot.pod.terminating or (slot.pod.failure is Failure.NONE and slot.pod.unready_s < RESTARTING_S)


def quorum_safe(situation: Situation, _plan: Plan) -> Verdict:
    """Judge whether one more voter may be lost now."""
    standing = situation.standing
    if not standing.initialized:
        return Verdict("False", "NotInitialized", "the cluster has not been formed yet")
    if not standing.trusted:
        return Verdict("Unknown", "NoLeader", standing.doubt)
    if standing.fault_tolerance > 0:
        return Verdict("True", "CanLose", f"can lose {standing.fault_tolerance}")
    if quorum.full_tolerance(situation.desired.spec.replicas) == 0:
        message = f"{situation.desired.spec.replicas} replicas tolerate no failure, as spec.unsafe accepts"
        return Verdict("False", "TooFewReplicas", message)
    return Verdict("False", "NoTolerance", "can lose none: the loss of one more voter would stop the cluster")


def members_updated(situation: Situation, _plan: Plan) -> Verdict:
    """Judge whether every member runs with the current settings."""
    wanted_revision = revision(situation.desired)
    behind: list[str] = []
    for ordinal in situation.wanted():
        pod = situation.observed.slot(ordinal).pod
        if isinstance(pod, Unknown):
            return Verdict("Unknown", "PodUnknown", f"{situation.name(ordinal)} cannot be seen: {pod.reason}")
        if not isinstance(pod, Pod) or rollout.outdated(pod, wanted_revision):
            behind.append(situation.name(ordinal))
    if behind:
        return Verdict("False", "RolloutPending", f"not at revision {wanted_revision}: {', '.join(behind)}")
    return Verdict("True", "AllUpdated", f"every member is at revision {wanted_revision}")


def certificates_ready(situation: Situation, _plan: Plan) -> Verdict:
    """Judge whether every certificate exists and is far from its end."""
    observed = situation.observed
    if observed.certificates is None:
        return Verdict("Unknown", "NotIssuedHere", "this runtime does not issue certificates itself")
    missing = certificates.to_issue(situation.desired, observed, situation.wanted())
    if missing:
        return Verdict("False", "IssuePending", "; ".join(f"{one.name}: {one.reason}" for one in missing))
    late = certificates.overdue(observed.certificates, observed.now)
    if late:
        told = "; ".join(f"{one.name} shows one that expires on {rfc3339(one.not_after)}" for one in late)
        return Verdict("False", "RenewalOverdue", f"a node renews its certificate by itself, but {told}")
    first = certificates.first_expiry(observed.certificates)
    if first is None:
        return Verdict("False", "IssuePending", "no certificate exists yet")
    return Verdict("True", "AllValid", f"the first to expire is {first.name}, on {rfc3339(first.not_after)}")


def paused(situation: Situation, _plan: Plan) -> Verdict:
    """Judge whether the user has asked that nothing be changed."""
    if situation.desired.spec.paused:
        return Verdict("True", "Paused", "spec.paused is true: the status is kept fresh, nothing is changed")
    return Verdict("False", "NotPaused", "changes are made as needed")


def ready(situation: Situation, plan: Plan) -> Verdict:
    """Sum up: the cluster serves, all wanted members do their part, and nothing remains to be done."""
    # A broken pod says more than what it is the cause of.
    if situation.standing.initialized:
        judged = ((available, "True"), (degraded, "False"), (progressing, "False"))
    else:
        judged = ((degraded, "False"), (available, "True"), (progressing, "False"))
    for judge, good in judged:
        verdict = judge(situation, plan)
        if verdict.status != good:
            return Verdict("False", verdict.reason, verdict.message)
    members = situation.desired.spec.replicas
    return Verdict("True", "AllMembersWork", f"{members} of {members} members work")


JUDGES: Final[dict[str, Callable[[Situation, Plan], Verdict]]] = {
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


def _sentence(step: Step) -> str:
    return f"{step.subject}: {step.reason}" if step.subject else step.reason


def member_working(situation: Situation, ordinal: int) -> bool:
    """Return whether a wanted member votes, has caught up and serves."""
    slot = situation.observed.slot(ordinal)
    node = current(slot, situation.observed.cluster_id)
    seat = situation.standing.seat(node.node_id) if node else None
    return seat is not None and seat.voter and seat.working and isinstance(slot.pod, Pod) and slot.pod.ready
