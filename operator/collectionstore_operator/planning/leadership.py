"""Leadership transfer before the leader is removed or restarted. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from collectionstore_operator.model.actions import MemberRef, TransferLeadership
from collectionstore_operator.model.assessment import Assessment, MemberView, change_blocked_by, is_serving
from collectionstore_operator.model.plan import AWAIT_LEADER, Proposal, postpone, propose


def transfer_leadership(assessment: Assessment, candidates: Iterable[MemberView], *, reason: str) -> Proposal:
    """Propose a leadership transfer to the best of `candidates`; blocked if none is eligible."""
    leader = assessment.view.leader
    to = successor(assessment, candidates)
    if leader is None or to is None:
        subject = leader.name if leader else ""
        blocked_by = "no other voter is eligible to become leader"
        return postpone("TransferLeadership", reason=reason, blocked_by=blocked_by, subject=subject)
    action = TransferLeadership(leader=MemberRef(node_id=leader.node_id, name=leader.name), to=to.ref(), reason=reason)
    return propose(action, subject=leader.name)


def successor(assessment: Assessment, candidates: Iterable[MemberView]) -> MemberView | None:
    """Return the best successor among `candidates`: an in-sync voter whose pod is ready, with the smallest lag."""
    # Only voters of the incoming configuration: a leader that is outgoing would have to step down again. A ready pod is
    # required: leadership on a member that is unready or terminating would soon move again.
    eligible = [
        member
        for member in candidates
        if member.in_sync
        and member.node_id in assessment.view.configuration.voters
        and not assessment.view.is_leader(member.node_id)
        and member.ordinal is not None
        and is_serving(assessment.observed.slot(member.ordinal).pod)
    ]
    return min(eligible, key=lambda member: (member.lag or 0, member.ordinal or 0), default=None)


def await_leader(assessment: Assessment) -> Iterator[Proposal]:
    """Yield what the cluster must do automatically before it can be changed."""
    view = assessment.view
    blocker = change_blocked_by(assessment)
    if not view.initialized or not blocker:
        return
    if view.untrusted_reason:
        reason = "membership changes and restarts require a leader that no member contradicts"
        yield postpone(AWAIT_LEADER, reason=reason, blocked_by=blocker)
    elif view.configuration.joint:
        yield postpone("LeaveJoint", reason="a change of voters is in progress", blocked_by=blocker)
    else:
        yield postpone(AWAIT_LEADER, reason="another member is about to become leader", blocked_by=blocker)
