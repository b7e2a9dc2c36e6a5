"""Who votes: bootstrap, growth, shrinking, and the swap of a lost incarnation for a new one. Pure.

Every change of voters is ONE joint change, so that no even or smaller set is ever in force on the way. This module
proposes; `plan` lets at most one proposal touch the membership in a round.

Rules that hold for every proposal:
- the leader's word must be free of doubt (`Standing.doubt`), and nothing is changed while a change is running;
- both halves of the joint configuration on the way have a quorum of voters that work now;
- an incarnation that left never returns, and no node with history joins that is not a member.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from collectionstore_operator.model import quorum
from collectionstore_operator.model.actions import (
    AddLearners,
    Bootstrap,
    ChangeVoters,
    MemberRef,
    Proposal,
    RemoveLearners,
    postpone,
    postponed,
    propose,
)
from collectionstore_operator.model.assessment import (
    Seat,
    Situation,
    ailment,
    current,
    replaced_seats,
    rough_lag,
    waiting_for,
)
from collectionstore_operator.model.observed import Absent, NodeStatus, Pod, Slot, Volume
from collectionstore_operator.planning.leadership import hand_over


def bootstrap(situation: Situation) -> tuple[Proposal, ...]:
    """Make member 0 the first voter: once in the life of a cluster, and only when no disk can hold data of it."""
    observed = situation.observed
    if situation.standing.initialized or not observed.cluster_id:
        return ()
    reason = "the cluster is new: its first member forms it alone, the others join it"
    slot, name = observed.slot(0), situation.name(0)
    node = current(slot, observed.cluster_id)
    obstacle = _possible_history(situation) or _lost_attempt(situation, node)
    if obstacle or node is None:
        blocked_by = obstacle or ailment(slot, name, observed.cluster_id) or f"{name} has not answered"
        return (postpone("Bootstrap", reason=reason, blocked_by=blocked_by, subject=name),)
    return (propose(Bootstrap(ordinal=0, node_id=node.node_id, reason=reason), subject=name),)


def _possible_history(situation: Situation) -> str:
    """Return what must be seen before it is certain that no disk holds data of this cluster; empty when it is."""
    cluster_id = situation.observed.cluster_id
    for slot in situation.slots():
        name = situation.name(slot.ordinal)
        if isinstance(slot.node, NodeStatus):
            if slot.node.cluster_id != cluster_id:
                return ailment(slot, name, cluster_id) or f"{name} belongs to another cluster"
        elif not _surely_empty(slot):
            return ailment(slot, name, cluster_id) or f"the disk of {name} may hold data"
    return ""


def _surely_empty(slot: Slot) -> bool:
    volume = slot.volume
    return isinstance(volume, Absent) or (isinstance(volume, Volume) and isinstance(volume.node_id, Absent))


def _lost_attempt(situation: Situation, node: NodeStatus | None) -> str:
    """Return why a bootstrap that was begun may not be begun again on another disk; empty when it may."""
    begun = situation.observed.bootstrap_node
    if not begun or node is None or node.node_id == begun:
        return ""
    return (
        f"it was begun on a disk that is gone (node {begun}) and may have held data; "
        "bring that disk back, or delete the resource and create it anew"
    )


def repair(situation: Situation) -> tuple[Proposal, ...]:
    """Swap incarnations whose disk is gone for those that followed them, in one joint change."""
    if not situation.standing.initialized:
        return ()
    return _held(situation, (*_swap(situation), *_drop_learners(situation)))


def scale(situation: Situation) -> tuple[Proposal, ...]:
    """Bring in the wanted members that do not take part yet, and take out the voters that are not wanted."""
    if not situation.standing.initialized:
        return ()
    return _held(situation, (*_add_learners(situation), *_promote(situation), *_remove(situation)))


def _held(situation: Situation, proposals: Sequence[Proposal]) -> tuple[Proposal, ...]:
    """Hold proposals back while no change can begin; without a leader to trust, that is all there is to say."""
    obstacle = waiting_for(situation)
    if situation.standing.doubt:
        return tuple(Proposal(step=msgspec.structs.replace(one.step, blocked_by=obstacle)) for one in proposals)
    return tuple(postponed(one, obstacle) if obstacle else one for one in proposals)


def _swap(situation: Situation) -> tuple[Proposal, ...]:
    """Propose one joint change for all lost voters whose successors have caught up, and announce the others."""
    waiting: list[Proposal] = []
    add: list[MemberRef] = []
    remove: list[MemberRef] = []
    for ordinal in situation.wanted():
        lost = [seat for seat in replaced_seats(situation, ordinal) if seat.voter]
        if not lost:
            continue
        name = situation.name(ordinal)
        reason = f"the disk of {name} is gone: its new incarnation takes the place of the old one"
        new = _current_seat(situation, ordinal)
        obstacle = f"two incarnations of {name} answer" if any(seat.heard for seat in lost) else _unfit(new, name)
        if obstacle:
            waiting.append(postpone("ChangeVoters", reason=reason, blocked_by=obstacle, subject=name))
            continue
        remove += [seat.ref() for seat in lost]
        if new is not None and not _votes(situation, new):
            add.append(new.ref())
    if not remove:
        return tuple(waiting)
    reason = "new incarnations take the places of members whose disks are gone"
    return (_change(situation, add=add, remove=remove, reason=reason), *waiting)


def _drop_learners(situation: Situation) -> tuple[Proposal, ...]:
    """Propose to take out learners that are no longer wanted, or whose disk is gone."""
    surplus, gone = [], []
    for seat in situation.standing.seats:
        if seat.voter or seat.ordinal is None:
            continue
        if seat.ordinal not in situation.wanted():
            surplus.append(seat)
        elif seat in replaced_seats(situation, seat.ordinal) and not seat.heard:
            gone.append(seat)
    if not surplus and not gone:
        return ()
    reason = "fewer replicas are wanted, they never voted" if surplus else "their disks are gone, they never voted"
    members = tuple(seat.ref() for seat in (*surplus, *gone))
    index = situation.standing.configuration.index
    return (propose(RemoveLearners(members=members, expected_index=index, reason=reason), subject=_subject(members)),)


def _add_learners(situation: Situation) -> tuple[Proposal, ...]:
    """Propose one call for all nodes that can join now, and announce those that cannot yet."""
    joining: list[MemberRef] = []
    waiting: list[Proposal] = []
    reason = "they receive the log without a vote until they have caught up"
    for ordinal in situation.wanted():
        slot, name = situation.observed.slot(ordinal), situation.name(ordinal)
        node = current(slot, situation.observed.cluster_id)
        seats = situation.standing.seats_at(ordinal)
        if node is None:
            if not seats:
                blocked_by = ailment(slot, name, situation.observed.cluster_id) or f"{name} has not answered"
                waiting.append(postpone("AddLearners", reason=reason, blocked_by=blocked_by, subject=name))
        elif situation.standing.seat(node.node_id) is None:
            obstacle = _cannot_join(slot, node, seats, name)
            if obstacle:
                waiting.append(postpone("AddLearners", reason=reason, blocked_by=obstacle, subject=name))
            elif isinstance(slot.pod, Pod):
                addresses = {"address": slot.pod.peer_address, "http_address": slot.pod.http_address}
                joining.append(MemberRef(node_id=node.node_id, name=name, **addresses))
    if not joining:
        return tuple(waiting)
    index = situation.standing.configuration.index
    action = AddLearners(members=tuple(joining), expected_index=index, reason=reason)
    return (propose(action, subject=_subject(joining)), *waiting)


def _cannot_join(slot: Slot, node: NodeStatus, seats: Sequence[Seat], name: str) -> str:
    if node.has_history or (isinstance(slot.volume, Volume) and slot.volume.removed):
        return f"the disk of {name} held a member that left: it needs an empty one"
    if any(seat.heard for seat in seats):
        return f"two incarnations of {name} answer"
    if not isinstance(slot.pod, Pod) or not slot.pod.peer_address:
        return f"the address of {name} is not known"
    return ""


def _promote(situation: Situation) -> tuple[Proposal, ...]:
    """Propose one joint change that gives all new members their votes, once every one has caught up."""
    new = [o for o in situation.wanted() if not any(seat.voter for seat in situation.standing.seats_at(o))]
    if not new:
        return ()
    reason = f"all vote in one step, so that the cluster goes to {situation.desired.spec.replicas} voters at once"
    names = ", ".join(situation.name(ordinal) for ordinal in new)
    fit: list[MemberRef] = []
    for ordinal in new:
        seat = _current_seat(situation, ordinal)
        obstacle = _unfit(seat, situation.name(ordinal))
        if seat is None or obstacle:
            return (postpone("ChangeVoters", reason=reason, blocked_by=obstacle, subject=names),)
        fit.append(seat.ref())
    return (_change(situation, add=fit, remove=(), reason=reason),)


def _remove(situation: Situation) -> tuple[Proposal, ...]:
    """Propose one joint change that takes out all voters above the wanted number; a leader among them goes first."""
    standing = situation.standing
    voters = [seat for seat in standing.seats if _votes(situation, seat)]
    leaving = [seat for seat in voters if seat.ordinal is not None and seat.ordinal not in situation.wanted()]
    staying = [seat for seat in voters if seat not in leaving]
    if not leaving:
        return ()
    wanted = situation.desired.spec.replicas
    reason = f"{wanted} replicas are wanted; all others leave in one step"
    obstacle = _unsafe_to_shrink(staying, wanted)
    if obstacle:
        names = ", ".join(seat.name for seat in leaving)
        return (postpone("ChangeVoters", reason=reason, blocked_by=obstacle, subject=names),)
    if standing.leader is not None and any(standing.leads(seat.node_id) for seat in leaving):
        names = ", ".join(seat.name for seat in leaving)
        then = postpone(
            "ChangeVoters", reason=reason, blocked_by=f"{standing.leader.name} must hand over first", subject=names
        )
        return (hand_over(situation, staying, reason="it leads and is about to leave"), then)
    return (_change(situation, add=(), remove=[seat.ref() for seat in leaving], reason=reason),)


def _unsafe_to_shrink(staying: Sequence[Seat], wanted: int) -> str:
    """Return why the voters that stay cannot carry the cluster; empty when they can, and could lose one more.

    One voter more than a majority must work wherever the wanted number allows to lose any: to shrink onto a member
    that is down would trade a tolerance that exists for one that does not.
    """
    needed = quorum.majority(len(staying)) + min(1, quorum.full_tolerance(wanted))
    working = [seat for seat in staying if seat.working]
    if len(working) >= needed:
        return ""
    down = ", ".join(seat.name for seat in staying if not seat.working)
    text = f"{needed} of the voters that stay must work, {len(working)} do"
    return f"{text}: {down} must recover first" if down else f"{text}: others must join first"


def _change(situation: Situation, *, add: Sequence[MemberRef], remove: Sequence[MemberRef], reason: str) -> Proposal:
    """Propose one joint change, or say why the quorum on the way would not be safe."""
    standing = situation.standing
    added = {member.node_id for member in add}
    working = standing.working | {seat.node_id for seat in standing.seats if seat.node_id in added and seat.working}
    way = quorum.joint(standing.configuration, added, {member.node_id for member in remove})
    subject = _subject((*add, *remove))
    if not quorum.has_quorum(way, working):
        blocked_by = "too few of the voters on the way work for a quorum"
        return postpone("ChangeVoters", reason=reason, blocked_by=blocked_by, subject=subject)
    action = ChangeVoters(
        add=tuple(add), remove=tuple(remove), expected_index=standing.configuration.index, reason=reason
    )
    return propose(action, subject=subject)


def _current_seat(situation: Situation, ordinal: int) -> Seat | None:
    """Return the seat of the incarnation that answers at an ordinal; without an answer, of the only one there is."""
    node = current(situation.observed.slot(ordinal), situation.observed.cluster_id)
    if node is not None:
        return situation.standing.seat(node.node_id)
    seats = situation.standing.seats_at(ordinal)
    return seats[0] if len(seats) == 1 else None


def _unfit(seat: Seat | None, name: str) -> str:
    """Return why a member cannot be given a vote yet; empty when it can."""
    if seat is None:
        return f"{name} must join first"
    if not seat.heard:
        return f"the leader does not hear {name}"
    if not seat.working:
        behind = rough_lag(seat.lag)
        return f"{name} must catch up first" + (f": more than {behind:,} entries behind" if behind else "")
    return ""


def _votes(situation: Situation, seat: Seat) -> bool:
    return seat.node_id in situation.standing.configuration.voters


def _subject(members: Sequence[MemberRef]) -> str:
    return ", ".join(dict.fromkeys(member.name for member in members))
