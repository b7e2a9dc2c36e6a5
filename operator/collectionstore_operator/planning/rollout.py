"""Which pod is restarted next, so that all get the current settings without losing the quorum. Pure.

Pods start only when they are deleted (OnDelete), so this is the only order there is:
1. pods that do not count anyway, whatever ails them: a bad image is cured by reverting it, without further help;
2. then, one at a time and only while every voter works: followers, the one furthest behind first;
3. the leader last, after it has handed over to a member with the current settings.
A member that was restarted and does not work stops the rollout.
"""

from __future__ import annotations

from typing import Final

from collectionstore_operator.manifests.node_environment import revision
from collectionstore_operator.model import quorum
from collectionstore_operator.model.actions import Proposal, RestartPod, postponed, propose
from collectionstore_operator.model.assessment import (
    Assessment,
    MemberView,
    change_blocked_by,
    is_serving,
    unhealthy_reason,
)
from collectionstore_operator.model.observed import Pod, Slot, Unknown, Workload
from collectionstore_operator.model.pods import outdated
from collectionstore_operator.planning.leadership import transfer_leadership

SETTLE_S: Final = 10.0
"""Without any leader, a running pod counts as broken only after this time: elections pass faster."""
SMALL: Final = 2
"""So few voters lose their quorum with any restart; it is accepted, the resource had to ask for it by name."""


def restart_broken(assessment: Assessment) -> tuple[Proposal, ...]:
    """Propose to restart outdated pods that count for nothing now: not members, or members that do not work."""
    return tuple(
        _restart(assessment, slot, pod, _too_early(assessment, pod))
        for slot, pod in _outdated(assessment)
        if not _counts(assessment, slot) and not is_serving(pod)
    )


def restart_working(assessment: Assessment) -> tuple[Proposal, ...]:
    """Propose the next restart of a pod that works, and announce the others in their order."""
    working = [(slot, pod) for slot, pod in _outdated(assessment) if _counts(assessment, slot) or is_serving(pod)]
    proposals: list[Proposal] = []
    for slot, pod in sorted(working, key=lambda one: _order(assessment, *one)):
        first = proposals[0].step.subject if proposals else ""
        blocker = f"one at a time, after {first}" if first else _unsafe(assessment, slot)
        if not blocker and _leads(assessment, slot) and len(assessment.view.configuration.voters) > 1:
            reason = f"the leader must be restarted: {outdated(pod, revision(assessment.desired))}"
            proposals.append(transfer_leadership(assessment, _updated_voters(assessment, slot), reason=reason))
            blocker = "it must transfer leadership first"
        proposals.append(_restart(assessment, slot, pod, blocker))
    return tuple(proposals)


def _outdated(assessment: Assessment) -> list[tuple[Slot, Pod]]:
    """Return the pods to restart that were seen and are not on their way out; none of an ordinal about to go."""
    workload, wanted_revision = assessment.observed.workload, revision(assessment.desired)
    kept = workload.replicas if isinstance(workload, Workload) else 0
    return [
        (slot, slot.pod)
        for slot in assessment.observed.slots
        if isinstance(slot.pod, Pod)
        and slot.ordinal < kept
        and not slot.pod.terminating
        and outdated(slot.pod, wanted_revision)
    ]


def _restart(assessment: Assessment, slot: Slot, pod: Pod, blocker: str) -> Proposal:
    name, wanted_revision = assessment.name(slot.ordinal), revision(assessment.desired)
    workload = assessment.observed.workload
    if isinstance(workload, Workload) and workload.revision != wanted_revision and pod.revision != wanted_revision:
        blocker = blocker or "the workload must be updated first"
    action = RestartPod(ordinal=slot.ordinal, name=name, uid=pod.uid, reason=outdated(pod, wanted_revision))
    proposal = propose(action, subject=name)
    return postponed(proposal, blocker) if blocker else proposal


def _too_early(assessment: Assessment, pod: Pod) -> str:
    """Return why a pod that looks broken may count after all; empty when it certainly does not.

    A pod that runs and is not ready may still vote. It is given up only on the word of a leader, or when every node
    answers and none of them has led for a while: then there is no quorum to lose, and new settings may bring it back.
    """
    view = assessment.view
    if view.trusted or not view.maybe_initialized or not pod.running:
        return ""
    hidden = [slot for slot in assessment.observed.slots if _may_lead_unseen(slot)]
    if hidden or view.leader is not None:
        return view.untrusted_reason
    youngest_s = min((node.uptime_s for node in assessment.observed.nodes()), default=0.0)
    return "" if min(pod.unready_s, youngest_s) >= SETTLE_S else "an election may be in progress"


def _may_lead_unseen(slot: Slot) -> bool:
    running = slot.pod.running if isinstance(slot.pod, Pod) else isinstance(slot.pod, Unknown)
    return running and isinstance(slot.node, Unknown)


def _unsafe(assessment: Assessment, slot: Slot) -> str:
    """Return why a working pod may not be restarted now; empty when it may."""
    view = assessment.view
    if not view.maybe_initialized:
        return ""
    mine = {member.node_id for member in view.members_at(slot.ordinal)}
    others = [member for member in view.members if member.voter and member.node_id not in mine]
    blocker = change_blocked_by(assessment) or next(filter(None, (_ails(assessment, member) for member in others)), "")
    if blocker or quorum.has_quorum(view.configuration, view.in_sync_voters - mine):
        return blocker
    voters = len(view.configuration.voters)
    if voters > SMALL or assessment.desired.spec.replicas > SMALL:
        return "a restart would lose the quorum; more members must join first"
    return ""


def _ails(assessment: Assessment, member: MemberView) -> str:
    """Return why a voter cannot be relied on while another is restarted; empty when it can."""
    if not member.in_sync:
        return f"{member.name or member.node_id} must be in sync first"
    if member.ordinal is None:
        return f"the pod of member {member.node_id} is not known"
    slot = assessment.observed.slot(member.ordinal)
    if is_serving(slot.pod):
        return ""
    return unhealthy_reason(slot, member.name, assessment.observed.cluster_id) or f"{member.name} must be ready first"


def _counts(assessment: Assessment, slot: Slot) -> bool:
    return any(member.voter and member.in_sync for member in assessment.view.members_at(slot.ordinal))


def _leads(assessment: Assessment, slot: Slot) -> bool:
    return any(assessment.view.is_leader(member.node_id) for member in assessment.view.members_at(slot.ordinal))


def _updated_voters(assessment: Assessment, leader: Slot) -> list[MemberView]:
    """Return whom the leader may hand over to: members that need no restart, so that leadership moves once."""
    restarting = {slot.ordinal for slot, _ in _outdated(assessment)} | {leader.ordinal}
    return [member for member in assessment.view.members if member.voter and member.ordinal not in restarting]


def _order(assessment: Assessment, slot: Slot, pod: Pod) -> tuple[bool, bool, bool, int, int]:
    """Sort key: the leader last, before it pods that serve, before these learners; then the greatest lag first."""
    members = assessment.view.members_at(slot.ordinal)
    lag = max((member.lag or 0 for member in members), default=0)
    return (_leads(assessment, slot), is_serving(pod), any(member.voter for member in members), -lag, -slot.ordinal)
