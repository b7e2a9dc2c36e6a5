"""Volume lifecycle: retire stale volumes, replace those of failed members, mark those of removed members. Pure.

A volume is data. It is retired only if the pod of its ordinal was observed, only while the cluster has a quorum
without it, and one at a time; it is retained unless spec.storage.retention is Delete. No member starts on a marked
volume again.
"""

from __future__ import annotations

from typing import Final

from collectionstore_operator.model import quorum
from collectionstore_operator.model.actions import MarkVolume, RestartPod, RetireVolume
from collectionstore_operator.model.assessment import (
    Assessment,
    MemberView,
    change_blocked_by,
    replaced_members,
    responding_node,
    unhealthy_reason,
)
from collectionstore_operator.model.observed import Absent, Failure, Pod, Slot, Unknown, Volume, Workload
from collectionstore_operator.model.plan import Proposal, postpone, postponed, propose
from collectionstore_operator.model.timestamps import rfc3339
from collectionstore_operator.planning.leadership import transfer_leadership
from collectionstore_operator.planning.replacement import copies_first
from collectionstore_operator.planning.retention import retains

SETTLE_S: Final = 5.0
"""A node outside the configuration may just have been added: its volume is retired only after this time unready."""
RESTARTING_S: Final = 30.0
"""A member without a known failure is restarting for this long, and is not a candidate for a replacement."""

_NOT_REMEDIED: Final = frozenset({Failure.IMAGE, Failure.CONFIGURATION, Failure.DOWNGRADED})
"""Failures that a new volume cannot remedy."""
_REMEDIED: Final = frozenset({Failure.DISK, Failure.DAMAGED, Failure.MACHINE, Failure.SCHEDULING})
"""Failures that a new volume, or the Kubernetes node that its pod moves to, can remedy."""


def clear_stale(assessment: Assessment) -> tuple[Proposal, ...]:
    """Retire volumes on which a removed member was started: it must join as a new incarnation."""
    if not assessment.view.maybe_initialized:
        return ()
    proposals = []
    for ordinal in assessment.desired_ordinals():
        slot = assessment.observed.slot(ordinal)
        if not _stale(assessment, slot) or not isinstance(slot.pod, Pod):
            continue
        reason = f"the volume of {assessment.name(ordinal)} belonged to a removed member"
        old_enough = slot.pod.unready_s >= SETTLE_S
        blocker = assessment.view.untrusted_reason or ("" if old_enough else "the pod was started just now")
        proposals.append(retire(assessment, slot, reason=reason, blocker=blocker))
    return tuple(proposals)


def _stale(assessment: Assessment, slot: Slot) -> bool:
    """Return whether a volume in use is proved to belong to no member and not to be empty."""
    volume, node = slot.volume, responding_node(slot, assessment.observed.cluster_id)
    if not isinstance(volume, Volume):
        return False
    if node is None:
        return volume.removed and not assessment.view.members_at(slot.ordinal)
    return assessment.view.member(node.node_id) is None and (node.has_history or volume.removed)


def clear_for_start(assessment: Assessment, slot: Slot) -> Proposal | None:
    """Return the step that is required before a pod may start at an ordinal; None if there is none."""
    name = assessment.name(slot.ordinal)
    if isinstance(slot.volume, Unknown):
        blocked_by = f"the volume of {name} cannot be observed: {slot.volume.reason}"
        return postpone("EnsureWorkload", reason=f"{name} must be started", blocked_by=blocked_by, subject=name)
    if not isinstance(slot.volume, Volume) or not slot.volume.removed:
        return None
    reason = f"{name} must start on an empty volume, this one belonged to a removed member"
    blocker = "" if isinstance(slot.pod, Absent) else f"the pod {name} still exists"
    return retire(assessment, slot, reason=reason, blocker=blocker)


def replace_failed(assessment: Assessment) -> tuple[Proposal, ...]:
    """Replace failed members: retire the volume, so that a new incarnation starts on an empty one.

    A volume of no member is retired as soon as it is due. That of a voter only if the quorum does not need it, and
    while no other voter is being replaced.
    """
    view = assessment.view
    if not view.maybe_initialized or not view.trusted:
        return ()
    proposals: list[Proposal] = []
    # One voter at a time: until its successor votes, the cluster has one voter less. A second replacement could retire
    # the majority that stores an acknowledged entry.
    busy = _being_replaced(assessment)
    failed = (
        slot
        for slot in map(assessment.observed.slot, assessment.desired_ordinals())
        if _failed(assessment, slot) and not copies_first(assessment, slot)
    )
    for slot in failed:
        owner = _owner(assessment, slot)
        blocker = _not_due(assessment, slot)
        if owner is not None and owner.voter:
            blocker = blocker or change_blocked_by(assessment) or busy or _needed(assessment, owner)
            busy = busy or ("" if blocker else f"one at a time, after {owner.name}")
        proposals.append(_replace(assessment, slot, owner, blocker))
    return tuple(proposals)


def _being_replaced(assessment: Assessment) -> str:
    for ordinal in assessment.desired_ordinals():
        if any(member.voter for member in replaced_members(assessment, ordinal)):
            return f"one at a time: {assessment.name(ordinal)} is being replaced"
    return ""


def _failed(assessment: Assessment, slot: Slot) -> bool:
    """Return whether an ordinal has failed: an inactive member, a failing pod, or one that a user asked to replace."""
    pod, members = slot.pod, assessment.view.members_at(slot.ordinal)
    if isinstance(pod, Pod) and pod.replace_requested:
        return True
    if isinstance(pod, Pod) and pod.gated:
        return False  # fenced, and its volume is to be kept for when it is not any more
    if isinstance(pod, Absent) or any(member.recently_active for member in members):
        return False
    node = responding_node(slot, assessment.observed.cluster_id)
    if node is not None:
        # It responds to the operator and not to the leader. Outside the configuration that is no failure: it has yet to
        # join.
        return assessment.view.member(node.node_id) is not None
    healthy = isinstance(pod, Pod) and pod.failure is Failure.NONE
    # An ordinary restart, and a pod that has yet to become a member: nothing has failed.
    patience_s = min(RESTARTING_S, assessment.desired.spec.failed_member.grace_seconds)
    starting = isinstance(pod, Pod) and healthy and (not members or pod.unready_s < patience_s)
    return isinstance(slot.volume, Volume) and not starting


def _owner(assessment: Assessment, slot: Slot) -> MemberView | None:
    """Return the member that owns the volume of an ordinal; None for a volume of no member.

    A volume of unknown content counts as that of the voter of this ordinal, if there is one: the worst case.
    """
    node_id = _recorded(assessment, slot)
    if node_id:
        return assessment.view.member(node_id)
    if isinstance(slot.volume, Volume) and isinstance(slot.volume.node_id, Absent):
        return None
    members = assessment.view.members_at(slot.ordinal)
    return max(members, key=lambda member: member.voter, default=None)


def _not_due(assessment: Assessment, slot: Slot) -> str:
    """Return why the volume of a failed ordinal must not be replaced now; empty if it is due."""
    pod, policy, name = slot.pod, assessment.desired.spec.failed_member, assessment.name(slot.ordinal)
    reason = (
        unhealthy_reason(slot, name, assessment.observed.cluster_id) or f"the leader has not heard from {name} recently"
    )
    if not isinstance(pod, Pod):
        return reason
    if pod.replace_requested:
        return ""
    if pod.ready:
        return f"{reason}, but its pod is ready"
    if pod.failure in _NOT_REMEDIED:
        return f"{reason}; a new volume would not help"
    if policy.replacement == "Manual":
        return f"{reason}; spec.failedMember.replacement is Manual"
    if pod.unready_s < policy.grace_seconds and not _never_heals(assessment, pod):
        due = rfc3339(assessment.observed.now - pod.unready_s + policy.grace_seconds)
        return f"{reason}; it is replaced at {due} unless it recovers before"
    # A bad setting would fail on the new volume, too, and cost one volume after the other. Another ready member at the
    # same revision proves that the settings are not the cause.
    if pod.failure not in _REMEDIED and not _settings_proven(assessment, pod):
        return f"{reason}; no other member is ready at the same revision, so the settings may be the cause"
    return ""


def _never_heals(assessment: Assessment, pod: Pod) -> bool:
    """Return whether waiting is in vain: its node refuses its data, and that of another member works as it is set.

    Without such another member the version or a setting may be the cause, and a former one may read the data again.
    """
    return pod.failure is Failure.DAMAGED and _settings_proven(assessment, pod)


def _settings_proven(assessment: Assessment, pod: Pod) -> bool:
    """Return whether another member is ready at the same revision."""
    pods = (slot.pod for slot in assessment.observed.slots)
    return any(isinstance(one, Pod) and one.ready and one.revision == pod.revision for one in pods)


def _replace(assessment: Assessment, slot: Slot, owner: MemberView | None, blocker: str) -> Proposal:
    name = assessment.name(slot.ordinal)
    asked = isinstance(slot.pod, Pod) and slot.pod.replace_requested
    reason = f"replacement of {name} was requested" if asked else f"{name} is down"
    if isinstance(slot.volume, Unknown):
        blocker = blocker or f"the volume of {name} cannot be observed: {slot.volume.reason}"
    if not blocker and owner is not None and assessment.view.is_leader(owner.node_id):
        return transfer_leadership(assessment, assessment.view.members, reason=f"the leader {name} must be replaced")
    node_id = owner.node_id if owner else ""
    return retire(assessment, slot, reason=reason, blocker=blocker, node_id=node_id, step="ReplaceMember")


def _needed(assessment: Assessment, member: MemberView) -> str:
    view = assessment.view
    if quorum.has_quorum(view.configuration, view.in_sync_voters - {member.node_id}):
        return ""
    return f"there is no quorum without {member.name}"


def force_delete_stuck(assessment: Assessment) -> tuple[Proposal, ...]:
    """Force-delete pods that are stuck terminating on a lost Kubernetes node, so that their successors can start.

    The process may still run there. That is safe: it is an incarnation that the configuration knows, on its own volume,
    until it is replaced. Its successor has an empty volume and another node ID, so the two are never confused.
    """
    proposals = []
    for slot in assessment.observed.slots:
        if not isinstance(slot.pod, Pod) or not slot.pod.stuck_terminating:
            continue
        name = assessment.name(slot.ordinal)
        reason = (
            f"the termination of {name} cannot be confirmed: its Kubernetes node is lost; its volume is being deleted"
        )
        action = RestartPod(ordinal=slot.ordinal, name=name, uid=slot.pod.uid, force=True, reason=reason)
        proposal, blocker = propose(action, subject=name, name="ReplaceMember"), _may_be_needed(assessment, slot)
        proposals.append(postponed(proposal, blocker) if blocker else proposal)
    return tuple(proposals)


def _may_be_needed(assessment: Assessment, slot: Slot) -> str:
    """Return why the member of a pod may still be needed if its Kubernetes node returns; empty if it is not."""
    view = assessment.view
    if not view.maybe_initialized:
        return ""
    if view.untrusted_reason:
        return view.untrusted_reason
    voters = [member for member in view.members_at(slot.ordinal) if member.voter]
    if any(member.recently_active for member in voters):
        return f"the leader is still in contact with {assessment.name(slot.ordinal)}"
    return next(filter(None, (_needed(assessment, member) for member in voters)), "")


def mark_removed(assessment: Assessment, ordinals: range) -> tuple[tuple[MarkVolume, ...], str]:
    """Return the marks to set before these ordinals are scaled down, and what blocks that; empty if nothing does."""
    # BEFORE the pods terminate: a later scale-up would otherwise start a removed member on its old log. One volume of
    # unknown state blocks all, since it would stay unmarked.
    marks = []
    for ordinal in ordinals:
        slot = assessment.observed.slot(ordinal)
        if isinstance(slot.volume, Unknown):
            return (), f"the volume of {assessment.name(ordinal)} cannot be observed: {slot.volume.reason}"
        if isinstance(slot.volume, Volume) and not slot.volume.removed:
            node_id = _recorded(assessment, slot)
            reason = f"{assessment.name(ordinal)} was removed from the cluster"
            marks.append(MarkVolume(ordinal=ordinal, name=slot.volume.name, node_id=node_id, reason=reason))
    return tuple(marks), ""


def discard_removed(assessment: Assessment, workload: Workload) -> tuple[Proposal, ...]:
    """Delete marked volumes of ordinals that are not in use, if spec.storage.retention is Delete."""
    if retains(assessment):
        return ()
    idle = [
        slot
        for slot in assessment.observed.slots
        if slot.ordinal >= workload.replicas and isinstance(slot.volume, Volume) and slot.volume.removed
    ]
    reason = "spec.storage.retention is Delete, and its member was removed"
    return tuple(retire(assessment, slot, reason=reason, blocker=_in_use(assessment, slot)) for slot in idle)


def _in_use(assessment: Assessment, slot: Slot) -> str:
    return "" if isinstance(slot.pod, Absent) else f"{assessment.name(slot.ordinal)} must terminate first"


def retire(
    assessment: Assessment, slot: Slot, *, reason: str, blocker: str, node_id: str = "", step: str = "RetireVolume"
) -> Proposal:
    """Propose to detach the volume of an ordinal, kept or deleted as the resource says; blocked by `blocker`."""
    name = assessment.name(slot.ordinal)
    if blocker or not isinstance(slot.volume, Volume):
        return postpone(step, reason=reason, blocked_by=blocker or f"{name} has no volume", subject=name)
    keep = retains(assessment)
    action = RetireVolume(
        ordinal=slot.ordinal,
        name=slot.volume.name,
        uid=slot.pod.uid if isinstance(slot.pod, Pod) else "",
        node_id=node_id or _recorded(assessment, slot),
        keep=keep,
        reason=reason,
    )
    return propose(action, subject=name, name=step)


def _recorded(assessment: Assessment, slot: Slot) -> str:
    """Return the node ID of a volume, from the node that responds on it or as recorded; empty if unknown."""
    node = responding_node(slot, assessment.observed.cluster_id)
    if node is not None:
        return node.node_id
    return slot.volume.node_id if isinstance(slot.volume, Volume) and isinstance(slot.volume.node_id, str) else ""
