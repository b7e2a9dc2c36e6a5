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
from collectionstore_operator.model.assessment import Seat, Situation, ailment, steady, waiting_for
from collectionstore_operator.model.observed import Pod, Slot, Unknown, Workload
from collectionstore_operator.planning.leadership import hand_over

SETTLE_S: Final = 10.0
"""Without any leader, a running pod counts as broken only after this time: elections pass faster."""
SMALL: Final = 2
"""So few voters lose their quorum with any restart; it is accepted, the resource had to ask for it by name."""


def outdated(pod: Pod, wanted_revision: str) -> str:
    """Return why a pod must be restarted; empty when it need not be."""
    if pod.revision != wanted_revision:
        return f"it runs with the settings of revision {pod.revision}, revision {wanted_revision} is wanted"
    return pod.restart_reason


def restart_broken(situation: Situation) -> tuple[Proposal, ...]:
    """Propose to restart outdated pods that count for nothing now: not members, or members that do not work."""
    return tuple(
        _restart(situation, slot, pod, _too_early(situation, pod))
        for slot, pod in _outdated(situation)
        if not _counts(situation, slot) and not steady(pod)
    )


def restart_working(situation: Situation) -> tuple[Proposal, ...]:
    """Propose the next restart of a pod that works, and announce the others in their order."""
    working = [(slot, pod) for slot, pod in _outdated(situation) if _counts(situation, slot) or steady(pod)]
    proposals: list[Proposal] = []
    for slot, pod in sorted(working, key=lambda one: _order(situation, *one)):
        first = proposals[0].step.subject if proposals else ""
        obstacle = f"one at a time: {first} comes first" if first else _unsafe(situation, slot)
        if not obstacle and _leads(situation, slot) and len(situation.standing.configuration.voters) > 1:
            reason = f"it leads and is to be restarted: {outdated(pod, revision(situation.desired))}"
            proposals.append(hand_over(situation, _updated_voters(situation, slot), reason=reason))
            obstacle = "it must hand over first"
        proposals.append(_restart(situation, slot, pod, obstacle))
    return tuple(proposals)


def _outdated(situation: Situation) -> list[tuple[Slot, Pod]]:
    """Return the pods to restart that were seen and are not on their way out; none of an ordinal about to go."""
    workload, wanted_revision = situation.observed.workload, revision(situation.desired)
    kept = workload.replicas if isinstance(workload, Workload) else 0
    return [
        (slot, slot.pod)
        for slot in situation.observed.slots
        if isinstance(slot.pod, Pod)
        and slot.ordinal < kept
        and not slot.pod.terminating
        and outdated(slot.pod, wanted_revision)
    ]


def _restart(situation: Situation, slot: Slot, pod: Pod, obstacle: str) -> Proposal:
    name, wanted_revision = situation.name(slot.ordinal), revision(situation.desired)
    workload = situation.observed.workload
    if isinstance(workload, Workload) and workload.revision != wanted_revision and pod.revision != wanted_revision:
        obstacle = obstacle or "the workload must have the new settings first"
    action = RestartPod(ordinal=slot.ordinal, name=name, uid=pod.uid, reason=outdated(pod, wanted_revision))
    proposal = propose(action, subject=name)
    return postponed(proposal, obstacle) if obstacle else proposal


def _too_early(situation: Situation, pod: Pod) -> str:
    """Return why a pod that looks broken may count after all; empty when it certainly does not.

    A pod that runs and is not ready may still vote. It is given up only on the word of a leader, or when every node
    answers and none of them has led for a while: then there is no quorum to lose, and new settings may bring it back.
    """
    standing = situation.standing
    if standing.trusted or not standing.formed or not pod.running:
        return ""
    hidden = [slot for slot in situation.observed.slots if _may_lead_unseen(slot)]
    if hidden or standing.leader is not None:
        return standing.doubt
    youngest_s = min((node.uptime_s for node in situation.observed.nodes()), default=0.0)
    return "" if min(pod.unready_s, youngest_s) >= SETTLE_S else "an election may be running"


def _may_lead_unseen(slot: Slot) -> bool:
    running = slot.pod.running if isinstance(slot.pod, Pod) else isinstance(slot.pod, Unknown)
    return running and isinstance(slot.node, Unknown)


def _unsafe(situation: Situation, slot: Slot) -> str:
    """Return why a working pod may not be restarted now; empty when it may."""
    standing = situation.standing
    if not standing.formed:
        return ""
    mine = {seat.node_id for seat in standing.seats_at(slot.ordinal)}
    others = [seat for seat in standing.seats if seat.voter and seat.node_id not in mine]
    obstacle = waiting_for(situation) or next(filter(None, (_ails(situation, seat) for seat in others)), "")
    if obstacle or quorum.has_quorum(standing.configuration, standing.working - mine):
        return obstacle
    voters = len(standing.configuration.voters)
    if voters > SMALL or situation.desired.spec.replicas > SMALL:
        return "too few voters would be left for a quorum; more must join first"
    return ""


def _ails(situation: Situation, seat: Seat) -> str:
    """Return why a voter cannot be relied on while another is restarted; empty when it can."""
    if not seat.working:
        return f"{seat.name or seat.node_id} must work first"
    if seat.ordinal is None:
        return f"the member {seat.node_id} has no known place"
    slot = situation.observed.slot(seat.ordinal)
    if steady(slot.pod):
        return ""
    return ailment(slot, seat.name, situation.observed.cluster_id) or f"{seat.name} must be ready first"


def _counts(situation: Situation, slot: Slot) -> bool:
    return any(seat.voter and seat.working for seat in situation.standing.seats_at(slot.ordinal))


def _leads(situation: Situation, slot: Slot) -> bool:
    return any(situation.standing.leads(seat.node_id) for seat in situation.standing.seats_at(slot.ordinal))


def _updated_voters(situation: Situation, leader: Slot) -> list[Seat]:
    """Return whom the leader may hand over to: members that need no restart, so that leadership moves once."""
    restarting = {slot.ordinal for slot, _ in _outdated(situation)} | {leader.ordinal}
    return [seat for seat in situation.standing.seats if seat.voter and seat.ordinal not in restarting]


def _order(situation: Situation, slot: Slot, pod: Pod) -> tuple[bool, bool, bool, int, int]:
    """Sort key: the leader last, before it pods that serve, before these learners; then the greatest lag first."""
    seats = situation.standing.seats_at(slot.ordinal)
    lag = max((seat.lag or 0 for seat in seats), default=0)
    return (_leads(situation, slot), steady(pod), any(seat.voter for seat in seats), -lag, -slot.ordinal)
