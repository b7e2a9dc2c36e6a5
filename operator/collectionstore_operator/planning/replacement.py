"""The replacement of a member that works: first copied, then swapped, so that the tolerance never drops. Pure.

For a member that a user asks to replace (`labels.REPLACE` on its pod), or whose claim is being deleted:
1. begun: the victim and an extra ordinal, the first one that the workload does not have, are recorded. The workload
   grows by one pod, which joins as a learner (`workload`, `membership`);
2. swapped: when the extra member has everything, ONE joint change makes it a voter in the victim's place. A victim that
   leads hands over first. The record goes when the victim votes no more;
3. the usual work does the rest: the victim's volume is that of a removed member, so it is retired, and its ordinal
   starts on an empty one and joins; ONE joint change makes it a voter and removes the extra member, whose pod goes.

A victim that fails meanwhile, or that is not to be replaced any more, ends the replacement: the learner is surplus, and
a failed member is replaced by the usual path (`volumes`). So it is where copying first is not possible, or where the
annotation says `in-place`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from collectionstore_operator.model.actions import RecordPlannedWork
from collectionstore_operator.model.assessment import (
    Assessment,
    MemberView,
    change_blocked_by,
    is_serving,
    responding_node,
)
from collectionstore_operator.model.observed import Pod, Slot, Unknown, Volume, Workload
from collectionstore_operator.model.plan import Proposal, postpone, postponed, propose
from collectionstore_operator.model.planned_work import Replacement
from collectionstore_operator.planning.leadership import transfer_leadership
from collectionstore_operator.planning.membership import current_member, joint_change, unfit

STEP: Final = "ReplaceMember"
FAILED_S: Final = 30.0
"""A member without a known failure is restarting for this long."""


def replace(assessment: Assessment) -> Iterator[Proposal]:
    """Propose the next step of a replacement that is under way, or begin the first one that is due."""
    recorded = assessment.observed.planned_work.replacement
    if recorded is not None:
        yield from _proceed(assessment, recorded)
        return
    for ordinal in assessment.desired_ordinals():
        slot = assessment.observed.slot(ordinal)
        victim = _victim(assessment, slot)
        if victim is None or not is_wanted(assessment, slot):
            continue
        name = assessment.name(ordinal)
        work = Replacement(ordinal=ordinal, node_id=victim.node_id, surge=assessment.desired.spec.replicas)
        proposal = _record(assessment, work, f"{_why(slot, name)}: an extra member is to have its data first")
        blocker = _unsettled(assessment)
        yield postponed(proposal, blocker) if blocker else proposal
        return


def copies_first(assessment: Assessment, slot: Slot) -> bool:
    """Return whether a member is replaced here, and so not by retiring its volume first."""
    recorded = assessment.observed.planned_work.replacement
    if recorded is not None and recorded.ordinal == slot.ordinal:
        voter = assessment.view.member(recorded.node_id)
        return voter is not None and voter.voter and not _has_failed(assessment, recorded)
    victim = _victim(assessment, slot)
    return victim is not None and is_wanted(assessment, slot)


def is_wanted(assessment: Assessment, slot: Slot) -> bool:
    """Return whether a member that works is to be replaced."""
    if not isinstance(slot.pod, Pod):
        return False
    automatic = assessment.desired.spec.failed_member.replacement != "Manual"
    endangered = isinstance(slot.volume, Volume) and slot.volume.terminating
    return (slot.pod.replace_requested and not slot.pod.replace_in_place) or (endangered and automatic)


def _victim(assessment: Assessment, slot: Slot) -> MemberView | None:
    """Return the member of an ordinal if it works as a voter and can be copied; None if not."""
    if assessment.observed.planned_work.unreadable or not assessment.view.trusted:
        return None
    node = responding_node(slot, assessment.observed.cluster_id)
    members = assessment.view.members_at(slot.ordinal)
    if node is None or len(members) != 1 or not is_serving(slot.pod):
        return None
    (member,) = members
    return member if member.node_id == node.node_id and member.voter and member.in_sync else None


def _unsettled(assessment: Assessment) -> str:
    """Return why no replacement can begin now; empty if one can: the extra ordinal is free, and no member joins."""
    workload, replicas = assessment.observed.workload, assessment.desired.spec.replicas
    if not isinstance(workload, Workload) or workload.replicas != replicas:
        return f"one change at a time: the workload must have {replicas} pods first"
    if any(not member.voter for member in assessment.view.members):
        return "one change at a time: the learners must have joined or left first"
    return change_blocked_by(assessment)


def _proceed(assessment: Assessment, recorded: Replacement) -> Iterator[Proposal]:
    name, extra = assessment.name(recorded.ordinal), assessment.name(recorded.surge)
    slot, view = assessment.observed.slot(recorded.ordinal), assessment.view
    if view.untrusted_reason:
        yield postpone(STEP, reason=f"{extra} replaces {name}", blocked_by=view.untrusted_reason, subject=name)
        return
    victim = view.member(recorded.node_id)
    if victim is None or not victim.voter:
        yield _record(assessment, None, f"{name} votes no more, {extra} votes in its place")
        return
    if isinstance(slot.pod, Unknown):
        blocked_by = f"the pod {name} cannot be observed: {slot.pod.reason}"
        yield postpone(STEP, reason=f"{extra} replaces {name}", blocked_by=blocked_by, subject=name)
        return
    if recorded.ordinal not in assessment.desired_ordinals() or not is_wanted(assessment, slot):
        yield _record(assessment, None, f"{name} is not to be replaced any more")
        return
    if _has_failed(assessment, recorded):
        yield _record(assessment, None, f"{name} has failed before {extra} had its data")
        return
    yield from _swap(assessment, recorded, victim)


def _has_failed(assessment: Assessment, recorded: Replacement) -> bool:
    """Return whether the victim is down for longer than a restart takes, and the extra member cannot replace it yet.

    Then nothing is gained by a copy first. A moment in which it is not ready ends nothing.
    """
    pod = assessment.observed.slot(recorded.ordinal).pod
    if not isinstance(pod, Pod) or is_serving(pod) or pod.unready_s < FAILED_S:
        return False
    return bool(unfit(current_member(assessment, recorded.surge), ""))


def _swap(assessment: Assessment, recorded: Replacement, victim: MemberView) -> Iterator[Proposal]:
    name, extra = assessment.name(recorded.ordinal), assessment.name(recorded.surge)
    reason = f"{extra} has the data of {name} and replaces it"
    new = current_member(assessment, recorded.surge)
    blocker = unfit(new, extra) or change_blocked_by(assessment)
    if blocker or new is None:
        yield postpone("ChangeVoters", reason=reason, blocked_by=blocker, subject=f"{extra}, {name}")
        return
    # A single voter has no successor: it hands over by leaving.
    if assessment.view.is_leader(victim.node_id) and len(assessment.view.configuration.voters) > 1:
        others = [member for member in assessment.view.members if member.node_id != victim.node_id]
        yield transfer_leadership(assessment, others, reason=f"the leader {name} must be replaced")
        yield postpone("ChangeVoters", reason=reason, blocked_by=f"{name} must transfer leadership first", subject=name)
        return
    yield joint_change(assessment, add=[new.ref()], remove=[victim.ref()], reason=reason)


def _why(slot: Slot, name: str) -> str:
    if isinstance(slot.pod, Pod) and slot.pod.replace_requested:
        return f"replacement of {name} was requested"
    return f"the claim of {name} is being deleted"


def _record(assessment: Assessment, replacement: Replacement | None, reason: str) -> Proposal:
    was = assessment.observed.planned_work
    work = msgspec.structs.replace(was, replacement=replacement)
    subject = assessment.name(replacement.ordinal) if replacement else assessment.desired.name
    return propose(RecordPlannedWork(work=work, was=was, reason=reason), subject=subject)
