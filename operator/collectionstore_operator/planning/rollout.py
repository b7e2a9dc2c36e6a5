"""Rolling restart of outdated pods without losing the quorum. Pure.

The StatefulSet replaces pods only when they are deleted (OnDelete), so this module alone determines the order:
1. pods that do not count towards the quorum, for whatever reason: reverting a bad image is enough to recover from it;
2. then, one at a time and only while every other voter is in sync: followers, the one furthest behind first;
3. the leader last, after a leadership transfer to a member at the current revision.
A restarted member that does not recover stops the rollout.
"""

from __future__ import annotations

from typing import Final

from collectionstore_operator.manifests.node_environment import revision
from collectionstore_operator.model import quorum
from collectionstore_operator.model.actions import RestartPod
from collectionstore_operator.model.assessment import (
    Assessment,
    MemberView,
    change_blocked_by,
    is_serving,
    unhealthy_reason,
)
from collectionstore_operator.model.observed import Pod, Slot, Unknown, Volume, Workload
from collectionstore_operator.model.plan import Proposal, postponed, propose
from collectionstore_operator.model.pods import outdated
from collectionstore_operator.model.update_windows import update_held
from collectionstore_operator.planning.disruption_budget import max_unavailable
from collectionstore_operator.planning.leadership import transfer_leadership

SETTLE_S: Final = 10.0
"""Without a leader, a running pod counts as broken only after this time, which is longer than an election."""
SMALL_VOTERS_MAX: Final = 2
"""With at most this many voters every restart loses the quorum. Accepted, because spec.unsafe permits the size."""


def restart_broken(assessment: Assessment) -> tuple[Proposal, ...]:
    """Propose to restart outdated pods that do not count towards the quorum: no members, or members not in sync."""
    return tuple(
        _restart(assessment, slot, pod, _too_early(assessment, pod), counts=False)
        for slot, pod in _outdated(assessment)
        if not _in_quorum(assessment, slot) and not is_serving(pod)
    )


def restart_healthy(assessment: Assessment) -> tuple[Proposal, ...]:
    """Propose the next restart of a pod that counts towards the quorum; the others are blocked, in their order."""
    desired, observed = assessment.desired, assessment.observed
    if update_held(desired, revision(desired), observed.now, observed.zones):
        return ()  # no step that waits, since nothing is wrong: the condition MembersUpdated says what for
    healthy = [(slot, pod) for slot, pod in _outdated(assessment) if _in_quorum(assessment, slot) or is_serving(pod)]
    proposals: list[Proposal] = []
    for slot, pod in sorted(healthy, key=lambda one: _order(assessment, *one)):
        first = proposals[0].step.subject if proposals else ""
        waits = f"one at a time, after {first}" if first else unsafe_to_restart(assessment, slot)
        blocker = _loses_its_claim(slot) or waits
        # Leader last, and only after a transfer: a restarted leader costs an election timeout, a transfer a round trip.
        # A single voter has no successor: its restart is accepted.
        if not blocker and _is_leader(assessment, slot) and len(assessment.view.configuration.voters) > 1:
            reason = f"the leader must be restarted: {outdated(pod, revision(assessment.desired))}"
            proposals.append(transfer_leadership(assessment, _updated_voters(assessment, slot), reason=reason))
            blocker = "it must transfer leadership first"
        proposals.append(_restart(assessment, slot, pod, blocker, counts=True))
    return tuple(proposals)


def _outdated(assessment: Assessment) -> list[tuple[Slot, Pod]]:
    """Return the outdated pods that were observed and are not terminating; none of an ordinal that is scaled down."""
    workload, desired_revision = assessment.observed.workload, revision(assessment.desired)
    kept = workload.replicas if isinstance(workload, Workload) else 0
    return [
        (slot, slot.pod)
        for slot in assessment.observed.slots
        if isinstance(slot.pod, Pod)
        and slot.ordinal < kept
        and not slot.pod.terminating
        and not slot.pod.gated
        and outdated(slot.pod, desired_revision)
    ]


def _restart(assessment: Assessment, slot: Slot, pod: Pod, blocker: str, *, counts: bool) -> Proposal:
    """Propose a restart; of a pod that counts towards the quorum by an eviction, where the budget can allow one.

    With at most two voters the budget allows none, and the restart is accepted all the same.
    """
    name, desired_revision = assessment.name(slot.ordinal), revision(assessment.desired)
    workload = assessment.observed.workload
    if isinstance(workload, Workload) and workload.revision != desired_revision and pod.revision != desired_revision:
        blocker = blocker or "the workload must be updated first"
    blocker = blocker or _loses_its_claim(slot)
    evict = counts and max_unavailable(assessment) == 1
    action = RestartPod(
        ordinal=slot.ordinal, name=name, uid=pod.uid, evict=evict, reason=outdated(pod, desired_revision)
    )
    proposal = propose(action, subject=name)
    return postponed(proposal, blocker) if blocker else proposal


def _too_early(assessment: Assessment, pod: Pod) -> str:
    """Return why a pod that looks broken may still count towards the quorum; empty if it is proved that it does not.

    A pod that runs and is not ready may still vote. It is restarted only if a trusted leader reports it as not in sync,
    or if every node responds and none has been leader for a while: then there is no quorum to lose, and a new revision
    may restore it.
    """
    view = assessment.view
    if view.trusted or not view.maybe_initialized or not pod.running:
        return ""
    # A node that runs without responding may be the leader of the others: unknown is never "gone".
    hidden = [slot for slot in assessment.observed.slots if _may_lead_unseen(slot)]
    if hidden or view.leader is not None:
        return view.untrusted_reason
    # Both times: a node that has just restarted has had no chance to lead yet, however long its pod was unready.
    youngest_s = min((node.uptime_s for node in assessment.observed.nodes()), default=0.0)
    return "" if min(pod.unready_s, youngest_s) >= SETTLE_S else "an election may be in progress"


def _may_lead_unseen(slot: Slot) -> bool:
    running = slot.pod.running if isinstance(slot.pod, Pod) else isinstance(slot.pod, Unknown)
    return running and isinstance(slot.node, Unknown)


def unsafe_to_restart(assessment: Assessment, slot: Slot) -> str:
    """Return why a pod that counts towards the quorum must not be restarted now; empty if it may."""
    view = assessment.view
    if not view.maybe_initialized:
        return ""
    # While an ordinal is being replaced it has two incarnations. A restart stops the one that runs: subtract both.
    mine = {member.node_id for member in view.members_at(slot.ordinal)}
    others = [member for member in view.members if member.voter and member.node_id not in mine]
    unreliable = next(filter(None, (_not_reliable(assessment, member) for member in others)), "")
    blocker = change_blocked_by(assessment) or unreliable
    if blocker or quorum.has_quorum(view.configuration, view.in_sync_voters - mine):
        return blocker
    voters = len(view.configuration.voters)
    if voters > SMALL_VOTERS_MAX or assessment.desired.spec.replicas > SMALL_VOTERS_MAX:
        return "a restart would lose the quorum; more members must join first"
    return ""


def _not_reliable(assessment: Assessment, member: MemberView) -> str:
    """Return why a voter cannot carry the quorum while another one restarts; empty if it can."""
    if not member.in_sync:
        return f"{member.name or member.node_id} must be in sync first"
    if member.ordinal is None:
        return f"the pod of member {member.node_id} is not known"
    slot = assessment.observed.slot(member.ordinal)
    if is_serving(slot.pod):
        return ""
    return unhealthy_reason(slot, member.name, assessment.observed.cluster_id) or f"{member.name} must be ready first"


def _in_quorum(assessment: Assessment, slot: Slot) -> bool:
    return any(member.voter and member.in_sync for member in assessment.view.members_at(slot.ordinal))


def _is_leader(assessment: Assessment, slot: Slot) -> bool:
    return any(assessment.view.is_leader(member.node_id) for member in assessment.view.members_at(slot.ordinal))


def _updated_voters(assessment: Assessment, leader: Slot) -> list[MemberView]:
    """Return the candidates for a transfer: voters that need no restart, so that leadership moves only once."""
    restarting = {slot.ordinal for slot, _ in _outdated(assessment)} | {leader.ordinal}
    return [member for member in assessment.view.members if member.voter and member.ordinal not in restarting]


def _order(assessment: Assessment, slot: Slot, pod: Pod) -> tuple[bool, bool, bool, bool, int, int]:
    """Sort key: unready pods before ready ones, learners before voters, leader last; then the greatest lag first.

    Behind all of them those whose claim is being deleted: they wait for a person, and nothing else should.
    """
    members = assessment.view.members_at(slot.ordinal)
    lag = max((member.lag or 0 for member in members), default=0)
    # The greatest lag first: the members with the newest log stay available as successors of the leader.
    return (
        bool(_loses_its_claim(slot)),
        _is_leader(assessment, slot),
        is_serving(pod),
        any(member.voter for member in members),
        -lag,
        -slot.ordinal,
    )


def _loses_its_claim(slot: Slot) -> str:
    """Return why a restart would cost the member its volume; empty if it does not."""
    if isinstance(slot.volume, Volume) and slot.volume.terminating:
        return f"the claim {slot.volume.name} is being deleted: a restart would lose the volume"
    return ""
