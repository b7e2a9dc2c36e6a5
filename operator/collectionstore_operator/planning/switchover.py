"""A transfer of leadership that a user requests by annotation: once for each value. Pure.

    collectionstore.io/transfer-leader: "shop-2"          to this member
    collectionstore.io/transfer-leader: "any"             to the voter that is furthest ahead
    collectionstore.io/transfer-leader: "any 2026-11-30"  the same again: what follows a space only makes the value new

In phases, each recorded before the next, so that a killed operator neither forgets nor repeats one:
1. begun: the request and the term in which it begins, TOGETHER with the first attempt;
2. done: the target leads, or for `any` another member does. A later term than the recorded one proves the latter.
An attempt that the leader gives up is repeated. Removing the annotation withdraws a request, and makes room for the
same value again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from collectionstore_operator.model.actions import RecordPlannedWork
from collectionstore_operator.model.assessment import Assessment, MemberView, change_blocked_by, unhealthy_reason
from collectionstore_operator.model.observed import Volume
from collectionstore_operator.model.plan import Proposal, postpone, propose
from collectionstore_operator.model.planned_work import Switchover, request_digest
from collectionstore_operator.planning.leadership import successor, transfer_leadership
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import Desired

ANY: Final = "any"
SHOWN_MAX: Final = 64
"""Characters of an annotation that a message repeats."""
_REASON: Final = f"the annotation {labels.TRANSFER_LEADER} requests it"


def requested(desired: Desired) -> str:
    """Return the digest of the user's request; empty if there is none."""
    return request_digest(desired.annotations, labels.TRANSFER_LEADER)


def transfer(assessment: Assessment) -> Iterator[Proposal]:
    """Propose the next step of a requested transfer; blocked while its target cannot lead."""
    work = assessment.observed.planned_work
    request, recorded = requested(assessment.desired), work.switchover
    if not assessment.view.initialized or (not request and recorded is None):
        return
    if work.unreadable:
        yield postpone("TransferLeadership", reason=_REASON, blocked_by=work.unreadable)
        return
    if not request:
        yield _record(assessment, None, f"the annotation {labels.TRANSFER_LEADER} was removed")
        return
    begun = recorded if recorded is not None and recorded.request == request else None
    if begun is not None and begun.done:
        return
    target = _target(assessment.desired)
    if _is_done(assessment, target, begun):
        leader = assessment.view.leader
        done = Switchover(request=request, term=leader.term if leader else 0, done=True)
        yield _record(assessment, done, f"{leader.name if leader else target} leads, as the annotation requests")
        return
    blocker = _blocker(assessment, target) or change_blocked_by(assessment)
    if blocker:
        yield postpone("TransferLeadership", reason=_REASON, blocked_by=blocker, subject=f"to {target}")
        return
    yield _attempt(assessment, target, begun, request)


def _target(desired: Desired) -> str:
    """Return the first word of the annotation: the name of a member, or `any`."""
    words = desired.annotations.get(labels.TRANSFER_LEADER, "").split(maxsplit=1)
    return words[0][:SHOWN_MAX] if words else ""


def _is_done(assessment: Assessment, target: str, begun: Switchover | None) -> bool:
    view = assessment.view
    if view.leader is None or not view.trusted:
        return False
    if target == ANY:
        return begun is not None and view.leader.term > begun.term
    return view.leader.name == target


def _blocker(assessment: Assessment, target: str) -> str:
    """Return why the target can never lead, or not now; empty if it can."""
    view = assessment.view
    if target == ANY:
        return "" if successor(assessment, _safe(assessment)) else "no other voter is in sync and ready"
    member = next((one for one in view.members if one.name == target), None)
    if member is None or member.ordinal is None:
        voters = ", ".join(one.name for one in view.members if one.voter)
        return f"{target!r} is not a member; allowed: {voters}, {ANY}"
    if not member.voter:
        return f"{target} does not vote yet"
    if not member.in_sync:
        return f"{target} must catch up first"
    slot = assessment.observed.slot(member.ordinal)
    if isinstance(slot.volume, Volume) and slot.volume.terminating:
        return f"the claim of {target} is being deleted"
    if not successor(assessment, [member]):
        unhealthy = unhealthy_reason(slot, target, assessment.observed.cluster_id)
        return unhealthy or f"{target} leaves the voters"
    return ""


def _safe(assessment: Assessment) -> list[MemberView]:
    """Return the members whose volume is not about to go with the next restart of their pod."""
    return [
        member
        for member in assessment.view.members
        if member.ordinal is not None
        and not (isinstance(volume := assessment.observed.slot(member.ordinal).volume, Volume) and volume.terminating)
    ]


def _attempt(assessment: Assessment, target: str, begun: Switchover | None, request: str) -> Proposal:
    leader = assessment.view.leader
    candidates = _safe(assessment) if target == ANY else [m for m in assessment.view.members if m.name == target]
    proposal = transfer_leadership(assessment, candidates, reason=_REASON)
    if leader is None or begun is not None:
        return proposal
    # BEFORE the attempt, in the same round: the term tells afterwards whether `any` has been carried out.
    record = _record(assessment, Switchover(request=request, term=leader.term), _REASON)
    return Proposal(step=proposal.step, actions=(*record.actions, *proposal.actions))


def _record(assessment: Assessment, switchover: Switchover | None, reason: str) -> Proposal:
    was = assessment.observed.planned_work
    work = msgspec.structs.replace(was, switchover=switchover)
    return propose(RecordPlannedWork(work=work, was=was, reason=reason), subject=assessment.desired.name)
