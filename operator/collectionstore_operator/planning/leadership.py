"""Who should lead when the leader is about to leave or restart. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from collectionstore_operator.model.actions import MemberRef, Proposal, TransferLeadership, postpone, propose
from collectionstore_operator.model.assessment import Seat, Situation, steady


def hand_over(situation: Situation, candidates: Iterable[Seat], *, reason: str) -> Proposal:
    """Propose that the leader hands over to the best of `candidates`, or say that none of them is ready."""
    leader = situation.standing.leader
    to = successor(situation, candidates)
    if leader is None or to is None:
        subject = leader.name if leader else ""
        blocked_by = "no other voter is ready to lead"
        return postpone("TransferLeadership", reason=reason, blocked_by=blocked_by, subject=subject)
    action = TransferLeadership(leader=MemberRef(node_id=leader.node_id, name=leader.name), to=to.ref(), reason=reason)
    return propose(action, subject=leader.name)


def successor(situation: Situation, candidates: Iterable[Seat]) -> Seat | None:
    """Return the best next leader among `candidates`: a working voter whose pod serves, with the least lag."""
    fit = [
        seat
        for seat in candidates
        if seat.working
        and seat.node_id in situation.standing.configuration.voters
        and not situation.standing.leads(seat.node_id)
        and seat.ordinal is not None
        and steady(situation.observed.slot(seat.ordinal).pod)
    ]
    return min(fit, key=lambda seat: (seat.lag or 0, seat.ordinal or 0), default=None)
