"""Which disks may be used: stale ones are taken away, those of failed members replaced, those left behind marked. Pure.

A disk is data. One is taken away only from an ordinal whose pod was seen, only while the cluster works without it, and
one at a time; it is kept aside unless the resource says otherwise. Nothing is started on a marked disk again.
"""

from __future__ import annotations

from typing import Final

from collectionstore_operator.model import quorum
from collectionstore_operator.model.actions import (
    MarkVolume,
    Proposal,
    RestartPod,
    RetireVolume,
    postpone,
    postponed,
    propose,
)
from collectionstore_operator.model.assessment import Seat, Situation, ailment, current, replaced_seats, waiting_for
from collectionstore_operator.model.observed import Absent, Failure, Pod, Slot, Unknown, Volume, Workload
from collectionstore_operator.planning.leadership import hand_over

SETTLE_S: Final = 5.0
"""A node outside the configuration may just have been added: its disk is judged only after this time unready."""

_NO_CURE: Final = frozenset({Failure.IMAGE, Failure.CONFIGURATION})
"""Failures that a new disk cannot cure."""
_CURED: Final = frozenset({Failure.DISK, Failure.MACHINE, Failure.SCHEDULING})
"""Failures that a new disk, or the move to another machine that comes with it, can cure whatever else is wrong."""


def clear_stale(situation: Situation) -> tuple[Proposal, ...]:
    """Take away disks on which a node was started that left the cluster: it must join as a new incarnation."""
    if not situation.standing.formed:
        return ()
    proposals = []
    for ordinal in situation.wanted():
        slot = situation.observed.slot(ordinal)
        if not _stale(situation, slot) or not isinstance(slot.pod, Pod):
            continue
        reason = f"the disk of {situation.name(ordinal)} held a member that left the cluster"
        obstacle = situation.standing.doubt or ("" if slot.pod.unready_s >= SETTLE_S else "it was started just now")
        proposals.append(_retire(situation, slot, reason=reason, obstacle=obstacle))
    return tuple(proposals)


def _stale(situation: Situation, slot: Slot) -> bool:
    """Whether a started disk is known to be of no member, yet not empty."""
    volume, node = slot.volume, current(slot, situation.observed.cluster_id)
    if not isinstance(volume, Volume):
        return False
    if node is None:
        return volume.removed and not situation.standing.seats_at(slot.ordinal)
    return situation.standing.seat(node.node_id) is None and (node.has_history or volume.removed)


def clear_for_start(situation: Situation, slot: Slot) -> Proposal | None:
    """Return what must be done before a pod may be started at an ordinal; None when nothing must."""
    name = situation.name(slot.ordinal)
    if isinstance(slot.volume, Unknown):
        blocked_by = f"the disk of {name} cannot be seen: {slot.volume.reason}"
        return postpone("EnsureWorkload", reason=f"{name} is to be started", blocked_by=blocked_by, subject=name)
    if not isinstance(slot.volume, Volume) or not slot.volume.removed:
        return None
    reason = f"{name} must start on an empty disk, this one held a member that left the cluster"
    obstacle = "" if isinstance(slot.pod, Absent) else f"{name} is still there"
    return _retire(situation, slot, reason=reason, obstacle=obstacle)


def replace_failed(situation: Situation) -> tuple[Proposal, ...]:
    """Give ordinals that do not come back an empty disk; the new incarnation on it is then swapped in.

    A disk of no member can go as soon as it is due. One of a voter only while the quorum does not need it, and while no
    other is being replaced.
    """
    standing = situation.standing
    if not standing.formed or not standing.trusted:
        return ()
    proposals: list[Proposal] = []
    busy = _being_replaced(situation)
    failed = (slot for slot in map(situation.observed.slot, situation.wanted()) if _failed(situation, slot))
    for slot in failed:
        owner = _owner(situation, slot)
        obstacle = _not_due(situation, slot)
        if owner is not None and owner.voter:
            obstacle = obstacle or waiting_for(situation) or busy or _needed(situation, owner)
            busy = busy or ("" if obstacle else f"one at a time: {owner.name} comes first")
        proposals.append(_replace(situation, slot, owner, obstacle))
    return tuple(proposals)


def _being_replaced(situation: Situation) -> str:
    for ordinal in situation.wanted():
        if any(seat.voter for seat in replaced_seats(situation, ordinal)):
            return f"one at a time: {situation.name(ordinal)} is being replaced"
    return ""


def _failed(situation: Situation, slot: Slot) -> bool:
    """Whether an ordinal does not do its part: a member that is not heard, a pod that fails, or one named by a user."""
    pod, seats = slot.pod, situation.standing.seats_at(slot.ordinal)
    if isinstance(pod, Pod) and pod.replace_requested:
        return True
    if isinstance(pod, Absent) or any(seat.heard for seat in seats):
        return False
    node = current(slot, situation.observed.cluster_id)
    if node is not None:
        # It answers us and not the leader; one that has not joined yet is nobody's failure.
        return situation.standing.seat(node.node_id) is not None
    starting = isinstance(pod, Pod) and pod.failure is Failure.NONE and not seats
    return isinstance(slot.volume, Volume) and not starting


def _owner(situation: Situation, slot: Slot) -> Seat | None:
    """Return the member whose disk lies at an ordinal, None for a disk of no member.

    A disk of unknown content counts as that of the voter of this ordinal, if there is one: the worse case.
    """
    node_id = _recorded(situation, slot)
    if node_id:
        return situation.standing.seat(node_id)
    if isinstance(slot.volume, Volume) and isinstance(slot.volume.node_id, Absent):
        return None
    seats = situation.standing.seats_at(slot.ordinal)
    return max(seats, key=lambda seat: seat.voter, default=None)


def _not_due(situation: Situation, slot: Slot) -> str:
    """Return why the disk of a failed ordinal is not to be replaced now; empty when it is due."""
    pod, policy, name = slot.pod, situation.desired.spec.failed_member, situation.name(slot.ordinal)
    illness = ailment(slot, name, situation.observed.cluster_id) or f"the leader does not hear {name}"
    if not isinstance(pod, Pod):
        return illness
    if pod.replace_requested:
        return ""
    if pod.ready:
        return f"{illness}, yet it says that it serves"
    if pod.failure in _NO_CURE:
        return f"{illness}; a new disk would not help"
    if policy.replacement == "Manual":
        return f"{illness}; spec.failedMember.replacement is Manual"
    if pod.unready_s < policy.grace_seconds:
        return f"{illness}; it has {policy.grace_seconds} s to come back"
    if pod.failure not in _CURED and not _proven(situation, pod):
        return f"{illness}; no other member works with the same settings, so they may be the cause"
    return ""


def _proven(situation: Situation, pod: Pod) -> bool:
    """Whether the settings a pod was started with work for another member."""
    pods = (slot.pod for slot in situation.observed.slots)
    return any(isinstance(one, Pod) and one.ready and one.revision == pod.revision for one in pods)


def _replace(situation: Situation, slot: Slot, owner: Seat | None, obstacle: str) -> Proposal:
    name = situation.name(slot.ordinal)
    asked = isinstance(slot.pod, Pod) and slot.pod.replace_requested
    reason = f"{name} is to be replaced as asked" if asked else f"{name} has not come back in time"
    if isinstance(slot.volume, Unknown):
        obstacle = obstacle or f"the disk of {name} cannot be seen: {slot.volume.reason}"
    if not obstacle and owner is not None and situation.standing.leads(owner.node_id):
        return hand_over(situation, situation.standing.seats, reason=f"{name} leads and is to be replaced")
    node_id = owner.node_id if owner else ""
    return _retire(situation, slot, reason=reason, obstacle=obstacle, node_id=node_id, step="ReplaceMember")


def _needed(situation: Situation, seat: Seat) -> str:
    standing = situation.standing
    if quorum.has_quorum(standing.configuration, standing.working - {seat.node_id}):
        return ""
    return f"there is no quorum without {seat.name}"


def release_stranded(situation: Situation) -> tuple[Proposal, ...]:
    """Forget pods whose machine is lost and whose disk is being taken away, so that others can start in their place.

    What may still run there is an incarnation that the configuration knows, on its own disk, until it is swapped out;
    the next one of its name has an empty disk and another id, so the two are never taken for one another.
    """
    proposals = []
    for slot in situation.observed.slots:
        if not isinstance(slot.pod, Pod) or not slot.pod.stranded:
            continue
        name = situation.name(slot.ordinal)
        reason = f"{name} cannot be heard to stop, its machine is lost; its disk was taken away"
        action = RestartPod(ordinal=slot.ordinal, name=name, uid=slot.pod.uid, stranded=True, reason=reason)
        proposal, obstacle = propose(action, subject=name, name="ReplaceMember"), _may_be_needed(situation, slot)
        proposals.append(postponed(proposal, obstacle) if obstacle else proposal)
    return tuple(proposals)


def _may_be_needed(situation: Situation, slot: Slot) -> str:
    """Return why the member of a pod may still be needed, should its machine come back; empty when it is not."""
    standing = situation.standing
    if not standing.formed:
        return ""
    if standing.doubt:
        return standing.doubt
    voters = [seat for seat in standing.seats_at(slot.ordinal) if seat.voter]
    if any(seat.heard for seat in voters):
        return f"the leader still hears {situation.name(slot.ordinal)}"
    return next(filter(None, (_needed(situation, seat) for seat in voters)), "")


def mark_removed(situation: Situation, ordinals: range) -> tuple[tuple[MarkVolume, ...], str]:
    """Return the marks to set before these ordinals are stopped, and what prevents that, empty if nothing does."""
    marks = []
    for ordinal in ordinals:
        slot = situation.observed.slot(ordinal)
        if isinstance(slot.volume, Unknown):
            return (), f"the disk of {situation.name(ordinal)} cannot be seen: {slot.volume.reason}"
        if isinstance(slot.volume, Volume) and not slot.volume.removed:
            node_id = _recorded(situation, slot)
            reason = f"{situation.name(ordinal)} left the cluster"
            marks.append(MarkVolume(ordinal=ordinal, name=slot.volume.name, node_id=node_id, reason=reason))
    return tuple(marks), ""


def discard_removed(situation: Situation, workload: Workload) -> tuple[Proposal, ...]:
    """Delete marked disks of ordinals that are not in use, where the resource asks for that."""
    if situation.desired.spec.storage.retention != "Delete":
        return ()
    idle = [
        slot
        for slot in situation.observed.slots
        if slot.ordinal >= workload.replicas and isinstance(slot.volume, Volume) and slot.volume.removed
    ]
    reason = "spec.storage.retention is Delete, and its member left the cluster"
    return tuple(_retire(situation, slot, reason=reason, obstacle=_in_use(situation, slot)) for slot in idle)


def _in_use(situation: Situation, slot: Slot) -> str:
    return "" if isinstance(slot.pod, Absent) else f"{situation.name(slot.ordinal)} must stop first"


def _retire(
    situation: Situation, slot: Slot, *, reason: str, obstacle: str, node_id: str = "", step: str = "RetireVolume"
) -> Proposal:
    name = situation.name(slot.ordinal)
    if obstacle or not isinstance(slot.volume, Volume):
        return postpone(step, reason=reason, blocked_by=obstacle or f"{name} has no disk", subject=name)
    keep = situation.desired.spec.storage.retention == "Retain"
    action = RetireVolume(
        ordinal=slot.ordinal,
        name=slot.volume.name,
        uid=slot.pod.uid if isinstance(slot.pod, Pod) else "",
        node_id=node_id or _recorded(situation, slot),
        keep=keep,
        reason=reason,
    )
    return propose(action, subject=name, name=step)


def _recorded(situation: Situation, slot: Slot) -> str:
    """Return whose disk it is: by the node that answers on it, or as recorded; empty when neither is known."""
    node = current(slot, situation.observed.cluster_id)
    if node is not None:
        return node.node_id
    return slot.volume.node_id if isinstance(slot.volume, Volume) and isinstance(slot.volume.node_id, str) else ""
