"""Membership changes: bootstrap, scaling, and replacement of a lost incarnation by a new one. Pure.

Every change of voters is ONE joint change, so that no intermediate configuration with an even or smaller number of
voters is ever active. This module proposes; `plan` admits at most one membership change per round.

Invariants of every proposal:
- the leader's report must be trusted (`ClusterView.untrusted_reason` is empty), and no other change may be in progress;
- both halves of the joint configuration have a quorum of voters that are in sync now;
- a removed incarnation never returns: a node that is not a member joins only if its volume is empty.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from collectionstore_operator.model import quorum
from collectionstore_operator.model.actions import AddLearners, Bootstrap, ChangeVoters, MemberRef, RemoveLearners
from collectionstore_operator.model.assessment import (
    Assessment,
    MemberView,
    change_blocked_by,
    coarse_lag,
    replaced_members,
    responding_node,
    unhealthy_reason,
)
from collectionstore_operator.model.observed import Absent, NodeStatus, Pod, Slot, Volume
from collectionstore_operator.model.plan import Proposal, postpone, postponed, propose
from collectionstore_operator.model.restore import restoring
from collectionstore_operator.planning.leadership import transfer_leadership


def bootstrap(assessment: Assessment) -> tuple[Proposal, ...]:
    """Make member 0 the first voter: once in the lifetime of a cluster, and only if no volume can hold its data."""
    observed = assessment.observed
    if assessment.view.initialized or not observed.cluster_id:
        return ()
    if restoring(observed) is not None or assessment.desired.spec.beginning is not None:
        return ()  # its first member is made of a backup (`restore`)
    reason = "the cluster is new: the first member bootstraps it, the others join"
    slot, name = observed.slot(0), assessment.name(0)
    node = responding_node(slot, observed.cluster_id)
    blocker = _possible_history(assessment) or _lost_attempt(assessment, node)
    if blocker or node is None:
        blocked_by = blocker or unhealthy_reason(slot, name, observed.cluster_id) or f"{name} has not responded"
        return (postpone("Bootstrap", reason=reason, blocked_by=blocked_by, subject=name),)
    return (propose(Bootstrap(ordinal=0, node_id=node.node_id, reason=reason), subject=name),)


def _possible_history(assessment: Assessment) -> str:
    """Return why a volume may hold data of this cluster; empty if all are proved to be empty."""
    cluster_id = assessment.observed.cluster_id
    for slot in assessment.slots():
        name = assessment.name(slot.ordinal)
        if isinstance(slot.node, NodeStatus):
            if slot.node.cluster_id != cluster_id:
                return unhealthy_reason(slot, name, cluster_id) or f"{name} belongs to another cluster"
        # No response proves nothing: the volume must be absent, or its node must have reported it as empty.
        elif not _surely_empty(slot):
            return unhealthy_reason(slot, name, cluster_id) or f"the volume of {name} may hold data"
    return ""


def _surely_empty(slot: Slot) -> bool:
    volume = slot.volume
    return isinstance(volume, Absent) or (isinstance(volume, Volume) and isinstance(volume.node_id, Absent))


def _lost_attempt(assessment: Assessment, node: NodeStatus | None) -> str:
    """Return why a bootstrap that was started must not be repeated on another volume; empty if it may."""
    # `bootstrap_node` is stored BEFORE the call, so a crash in between leaves the outcome unknown. The same node may be
    # asked again, since the call is idempotent; on another volume it would create a second, empty history.
    begun = assessment.observed.bootstrap_node
    if not begun or node is None or node.node_id == begun:
        return ""
    return (
        f"bootstrap was started on a volume that is lost (node {begun}) and may have held data; "
        "restore that volume, or delete and recreate the resource"
    )


def repair(assessment: Assessment) -> tuple[Proposal, ...]:
    """Replace incarnations whose volume is lost by their successors, in one joint change."""
    if not assessment.view.initialized:
        return ()
    return held(assessment, (*_swap(assessment), *drop_learners(assessment)))


def scale(assessment: Assessment) -> tuple[Proposal, ...]:
    """Add the desired members that are not in the configuration, and remove the voters that are surplus."""
    if not assessment.view.initialized:
        return ()
    return held(assessment, (*add_learners(assessment), *_promote(assessment), *_remove(assessment)))


def held(assessment: Assessment, proposals: Sequence[Proposal]) -> tuple[Proposal, ...]:
    """Block proposals while no membership change can start; an untrusted leader overrides every other cause."""
    blocker = change_blocked_by(assessment)
    if assessment.view.untrusted_reason:
        return tuple(Proposal(step=msgspec.structs.replace(one.step, blocked_by=blocker)) for one in proposals)
    return tuple(postponed(one, blocker) if blocker else one for one in proposals)


def _swap(assessment: Assessment) -> tuple[Proposal, ...]:
    """Propose one joint change for all lost voters whose successors have caught up; the others are blocked."""
    waiting: list[Proposal] = []
    add: list[MemberRef] = []
    remove: list[MemberRef] = []
    for ordinal in assessment.desired_ordinals():
        name = assessment.name(ordinal)
        reason = f"the volume of {name} was lost: its new incarnation replaces the old one"
        if _awaits_successor(assessment, ordinal):
            slot, cluster_id = assessment.observed.slot(ordinal), assessment.observed.cluster_id
            blocker = unhealthy_reason(slot, name, cluster_id) or f"{name} has not responded"
            waiting.append(postpone("ChangeVoters", reason=reason, blocked_by=blocker, subject=name))
            continue
        lost = [member for member in replaced_members(assessment, ordinal) if member.voter]
        if not lost:
            continue
        new = current_member(assessment, ordinal)
        # While the leader hears from the old incarnation, its volume exists, and replacing it would not be a repair.
        both_active = any(member.recently_active for member in lost)
        blocker = f"two incarnations of {name} are active" if both_active else unfit(new, name)
        if blocker:
            waiting.append(postpone("ChangeVoters", reason=reason, blocked_by=blocker, subject=name))
            continue
        remove += [member.ref() for member in lost]
        if new is not None and not _votes(assessment, new):
            add.append(new.ref())
    if not remove:
        return tuple(waiting)
    reason = "new incarnations replace members whose volumes were lost"
    return (joint_change(assessment, add=add, remove=remove, reason=reason), *waiting)


def _awaits_successor(assessment: Assessment, ordinal: int) -> bool:
    """Return whether a voter's volume is lost while the successor does not respond: the swap is due once it does.

    Without this step the plan would be empty for as long as the successor restarts, and the cluster be called settled.
    """
    slot, members = assessment.observed.slot(ordinal), assessment.view.members_at(ordinal)
    if not any(member.voter for member in members):
        return False  # `scale` waits for those that have yet to vote
    if responding_node(slot, assessment.observed.cluster_id) is not None:
        return False
    volume = slot.volume
    recorded = volume.node_id if isinstance(volume, Volume) and isinstance(volume.node_id, str) else ""
    others = bool(recorded) and all(member.node_id != recorded for member in members)
    return len(members) > 1 or others or (isinstance(volume, Volume) and isinstance(volume.node_id, Absent))


def drop_learners(assessment: Assessment) -> tuple[Proposal, ...]:
    """Propose to remove learners that are surplus, or whose volume is lost."""
    surplus, gone = [], []
    for member in assessment.view.members:
        if member.voter or member.ordinal is None:
            continue
        if member.ordinal not in assessment.joining_ordinals():
            surplus.append(member)
        elif member in replaced_members(assessment, member.ordinal) and not member.recently_active:
            gone.append(member)
    if not surplus and not gone:
        return ()
    field = "spec.replicas" if assessment.desired.group == "voters" else "the number of read replicas"
    reason = (
        f"{field} is lower, and learners have no vote"
        if surplus
        else "their volumes were lost, and learners have no vote"
    )
    members = tuple(member.ref() for member in (*surplus, *gone))
    index = assessment.view.configuration.index
    return (propose(RemoveLearners(members=members, expected_index=index, reason=reason), subject=_subject(members)),)


def add_learners(assessment: Assessment) -> tuple[Proposal, ...]:
    """Propose one request for all nodes that can join now; the others are blocked."""
    joining: list[MemberRef] = []
    waiting: list[Proposal] = []
    if assessment.desired.group == "reads":
        reason = "read replicas replicate the log and have no vote"
    else:
        reason = "new members replicate the log as learners until they have caught up"
    for ordinal in assessment.joining_ordinals():
        slot, name = assessment.observed.slot(ordinal), assessment.name(ordinal)
        node = responding_node(slot, assessment.observed.cluster_id)
        members = assessment.view.members_at(ordinal)
        if node is None:
            if not members:
                blocked_by = unhealthy_reason(slot, name, assessment.observed.cluster_id) or f"{name} has not responded"
                waiting.append(postpone("AddLearners", reason=reason, blocked_by=blocked_by, subject=name))
        elif assessment.view.member(node.node_id) is None:
            blocker = _cannot_join(slot, node, members, name)
            if blocker:
                waiting.append(postpone("AddLearners", reason=reason, blocked_by=blocker, subject=name))
            elif isinstance(slot.pod, Pod):
                addresses = {"address": slot.pod.peer_address, "http_address": slot.pod.http_address}
                joining.append(MemberRef(node_id=node.node_id, name=name, **addresses))
    if not joining:
        return tuple(waiting)
    index = assessment.view.configuration.index
    action = AddLearners(members=tuple(joining), expected_index=index, reason=reason)
    return (propose(action, subject=_subject(joining)), *waiting)


def _cannot_join(slot: Slot, node: NodeStatus, members: Sequence[MemberView], name: str) -> str:
    # A removed member keeps its log, term and vote, which the cluster no longer accounts for. It must not count again;
    # a new incarnation on an empty volume starts with none of them.
    if node.has_history or (isinstance(slot.volume, Volume) and slot.volume.removed):
        return f"the volume of {name} belonged to a removed member: {name} needs an empty one"
    if any(member.recently_active for member in members):
        return f"two incarnations of {name} are active"
    if not isinstance(slot.pod, Pod) or not slot.pod.peer_address:
        return f"the address of {name} is not known"
    return ""


def _promote(assessment: Assessment) -> tuple[Proposal, ...]:
    """Propose one joint change that promotes all new members, once every one has caught up."""
    new = [
        o for o in assessment.desired_ordinals() if not any(member.voter for member in assessment.view.members_at(o))
    ]
    if not new:
        return ()
    # All or none: promoting one learner at a time would pass through even sizes, which tolerate no more failures but
    # need a larger majority.
    reason = (
        f"all learners are promoted together, so that the cluster has {assessment.desired.spec.replicas} voters at once"
    )
    names = ", ".join(assessment.name(ordinal) for ordinal in new)
    fit: list[MemberRef] = []
    for ordinal in new:
        member = current_member(assessment, ordinal)
        blocker = unfit(member, assessment.name(ordinal))
        if member is None or blocker:
            return (postpone("ChangeVoters", reason=reason, blocked_by=blocker, subject=names),)
        fit.append(member.ref())
    leaving = _surplus_voters(assessment)
    if not leaving:
        return (joint_change(assessment, add=fit, remove=(), reason=reason),)
    # The extra voter of a replacement leaves in the same change: there is never an even number of voters.
    reason = f"{names} votes again, and the extra member leaves"
    return _removal(assessment, leaving, add=fit, reason=reason)


def _remove(assessment: Assessment) -> tuple[Proposal, ...]:
    """Propose one joint change that removes all surplus voters; a leader among them transfers leadership first."""
    leaving = _surplus_voters(assessment)
    staying = [member for member in assessment.view.members if _votes(assessment, member) and member not in leaving]
    if not leaving:
        return ()
    replicas = assessment.desired.spec.replicas
    reason = f"spec.replicas is {replicas}; all surplus voters are removed together"
    blocker = _unsafe_to_shrink(staying, replicas)
    if blocker:
        names = ", ".join(member.name for member in leaving)
        return (postpone("ChangeVoters", reason=reason, blocked_by=blocker, subject=names),)
    return _removal(assessment, leaving, add=(), reason=reason)


def _surplus_voters(assessment: Assessment) -> list[MemberView]:
    """Return the voters of ordinals that are not desired."""
    return [
        member
        for member in assessment.view.members
        if _votes(assessment, member)
        and member.ordinal is not None
        and member.ordinal not in assessment.desired_ordinals()
    ]


def _removal(
    assessment: Assessment, leaving: Sequence[MemberView], *, add: Sequence[MemberRef], reason: str
) -> tuple[Proposal, ...]:
    """Propose the joint change that removes voters and promotes `add`; a leader among them hands over first."""
    view = assessment.view
    # Leader last: a leader that removes itself steps down after the commit, and clients wait for an election timeout. A
    # transfer before the change avoids that.
    leads = view.leader is not None and any(view.is_leader(member.node_id) for member in leaving)
    # A single voter has no successor: it hands over by leaving.
    if view.leader is not None and leads and len(view.configuration.voters) > 1:
        names = ", ".join(member.name for member in leaving)
        then = postpone(
            "ChangeVoters",
            reason=reason,
            blocked_by=f"{view.leader.name} must transfer leadership first",
            subject=names,
        )
        staying = [member for member in view.members if _votes(assessment, member) and member not in leaving]
        return (transfer_leadership(assessment, staying, reason="the leader is about to be removed"), then)
    return (joint_change(assessment, add=add, remove=[member.ref() for member in leaving], reason=reason),)


def _unsafe_to_shrink(staying: Sequence[MemberView], replicas: int) -> str:
    """Return why the remaining voters cannot form the cluster; empty if they can and tolerate one more failure.

    One voter more than a majority must be in sync, unless the desired size tolerates no failure at all: scaling down
    onto a failed member would replace an existing fault tolerance by a nominal one.
    """
    if len(staying) < replicas:
        # The extra member of a replacement: without it there would be fewer voters than desired.
        return f"{replicas} other voters are desired, {len(staying)} vote: others must join first"
    # At desired sizes 1 and 2 full_tolerance is 0: no spare voter can be required.
    needed = quorum.majority(len(staying)) + min(1, quorum.full_tolerance(replicas))
    in_sync = [member for member in staying if member.in_sync]
    if len(in_sync) >= needed:
        return ""
    down = ", ".join(member.name for member in staying if not member.in_sync)
    text = f"{needed} of the remaining voters must be in sync, {len(in_sync)} are"
    return f"{text}: {down} must recover first" if down else f"{text}: others must join first"


def joint_change(
    assessment: Assessment, *, add: Sequence[MemberRef], remove: Sequence[MemberRef], reason: str
) -> Proposal:
    """Propose one joint change; blocked if the joint configuration would have no quorum.

    Those that call it ask for more than that. It is checked here again, where every change of voters passes: no later
    caller can enter a joint configuration that cannot be left.
    """
    view = assessment.view
    # A learner that is promoted counts: it votes in the incoming half as soon as the joint configuration is appended.
    added = {member.node_id for member in add}
    in_sync = view.in_sync_voters | {
        member.node_id for member in view.members if member.node_id in added and member.in_sync
    }
    joint = quorum.joint(view.configuration, added, {member.node_id for member in remove})
    subject = _subject((*add, *remove))
    if not quorum.has_quorum(joint, in_sync):
        blocked_by = "the joint configuration would have no quorum of in-sync voters"
        return postpone("ChangeVoters", reason=reason, blocked_by=blocked_by, subject=subject)
    action = ChangeVoters(add=tuple(add), remove=tuple(remove), expected_index=view.configuration.index, reason=reason)
    return propose(action, subject=subject)


def current_member(assessment: Assessment, ordinal: int) -> MemberView | None:
    """Return the member that responds at an ordinal; without a response, the only member of that ordinal."""
    node = responding_node(assessment.observed.slot(ordinal), assessment.observed.cluster_id)
    if node is not None:
        return assessment.view.member(node.node_id)
    members = assessment.view.members_at(ordinal)
    return members[0] if len(members) == 1 else None


def unfit(member: MemberView | None, name: str) -> str:
    """Return why a member cannot be promoted yet; empty if it can."""
    if member is None:
        return f"{name} must join first"
    if not member.recently_active:
        return f"the leader has not heard from {name} recently"
    if not member.in_sync:
        behind = coarse_lag(member.lag)
        return f"{name} must catch up first" + (f": more than {behind:,} entries behind" if behind else "")
    return ""


def _votes(assessment: Assessment, member: MemberView) -> bool:
    return member.node_id in assessment.view.configuration.voters


def _subject(members: Sequence[MemberRef]) -> str:
    return ", ".join(dict.fromkeys(member.name for member in members))
