"""Whether a quorum is lost for good: which voters' disks are gone, and what is known of those that survive. Pure.

A disk is gone only if that is proved: its claim does not exist, its volume is lost, or another incarnation was found
where it was, since a node ID is drawn once per data directory. What cannot be observed, and a member that does not
respond, may come back, and counts as surviving.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Iterable

import msgspec

from collectionstore_operator.model import quorum
from collectionstore_operator.model.assessment import Assessment, MemberView, responding_node, unhealthy_reason
from collectionstore_operator.model.observed import Absent, NodeId, NodeStatus, Slot, Unknown, Volume
from collectionstore_operator.model.recovery import NONCE_LENGTH


class Fate(enum.Enum):
    """What is known of a voter's disk."""

    SURVIVES = "Survives"
    GONE = "Gone"
    UNKNOWN = "Unknown"
    """It cannot be observed, so it may survive."""


class Disk(msgspec.Struct, frozen=True, kw_only=True):
    """The disk of one voter. The position in the log is 0 where it is not known, since its node does not respond."""

    name: str
    ordinal: int | None
    node_id: NodeId
    fate: Fate
    cause: str = ""
    """Why it is gone or unknown; of one that survives, why its node does not respond."""
    volume_uid: str = ""
    last_log_term: int = 0
    last_index: int = 0
    commit_index: int = 0
    revision: int = 0

    @property
    def known(self) -> bool:
        """Whether its position in the log is known."""
        return self.last_log_term > 0

    @property
    def position(self) -> tuple[int, int]:
        """How up to date its log is. Source: Raft 5.4.1."""
        return self.last_log_term, self.last_index


class Cause(enum.Enum):
    """Why there is no quorum."""

    DISKS = "DisksGone"
    PODS = "PodsCannotStart"


class QuorumLoss(msgspec.Struct, frozen=True, kw_only=True):
    """A quorum that does not exist."""

    cause: Cause
    disks: tuple[Disk, ...]
    """Of every voter, by ordinal."""
    message: str
    nonce: str = ""
    """Identifies this very loss of disks; empty for another cause."""

    def of(self, fate: Fate) -> tuple[Disk, ...]:
        """Return the disks of one fate."""
        return tuple(one for one in self.disks if one.fate is fate)

    def ranked(self) -> tuple[Disk, ...]:
        """Return the disks that may survive, the most up-to-date log first, those of unknown position last."""
        candidates = (one for one in self.disks if one.fate is not Fate.GONE)
        return tuple(sorted(candidates, key=lambda one: one.position, reverse=True))


def examine(assessment: Assessment) -> QuorumLoss | None:
    """Return why the cluster has no quorum; None if it has one, elects a leader, or too little is known."""
    view, cluster_id = assessment.view, assessment.observed.cluster_id
    if not view.initialized or view.trusted or not cluster_id:
        return None
    disks = tuple(_disk(assessment, member) for member in view.members if member.voter)
    configuration = view.configuration
    if not disks:
        return _all_gone(assessment)
    surviving = {one.node_id for one in disks if one.fate is not Fate.GONE}
    if not quorum.has_quorum(configuration, surviving):
        nonce = _nonce(cluster_id, configuration.index, disks)
        return QuorumLoss(cause=Cause.DISKS, disks=disks, message=_disks_message(disks), nonce=nonce)
    running = {one.node_id for one in disks if one.known or _responds(assessment, one)}
    if quorum.has_quorum(configuration, running):
        return None
    down = [one for one in disks if one.node_id not in running]
    causes = "; ".join(f"{one.cause or f'{one.name} does not respond'}" for one in down)
    message = f"{len(down)} of {len(disks)} pods cannot start: {causes}; their disks are not known to be gone"
    return QuorumLoss(cause=Cause.PODS, disks=disks, message=message)


def offered_at(assessment: Assessment) -> float:
    """Return from when on a recovery is offered, in Unix seconds; 0 before the status says that the quorum is lost."""
    since = assessment.observed.quorum_lost_since
    return since + assessment.desired.spec.failed_member.grace_seconds if since else 0.0


def _all_gone(assessment: Assessment) -> QuorumLoss | None:
    """Return the loss of every disk, if no member responds and each of them is proved to be gone or empty."""
    slots = assessment.slots()
    disks = tuple(_disk_without_member(assessment, slot) for slot in slots)
    if not disks or any(one.fate is not Fate.GONE for one in disks):
        return None
    nonce = _nonce(assessment.observed.cluster_id, 0, disks)
    return QuorumLoss(cause=Cause.DISKS, disks=disks, message=_disks_message(disks), nonce=nonce)


def _disk(assessment: Assessment, member: MemberView) -> Disk:
    name = member.name or member.node_id
    base = Disk(name=name, ordinal=member.ordinal, node_id=member.node_id, fate=Fate.UNKNOWN)
    if member.ordinal is None:
        return msgspec.structs.replace(base, cause=f"the pod of member {name} is not known")
    slot = assessment.observed.slot(member.ordinal)
    node = responding_node(slot, assessment.observed.cluster_id)
    if node is not None and node.node_id == member.node_id:
        return _running(base, slot, node)
    fate, cause = _fate(slot, member.node_id, node)
    uid = slot.volume.uid if isinstance(slot.volume, Volume) else ""
    if fate is not Fate.GONE:
        cause = cause or unhealthy_reason(slot, name, assessment.observed.cluster_id)
    return msgspec.structs.replace(base, fate=fate, cause=cause, volume_uid=uid)


def _running(base: Disk, slot: Slot, node: NodeStatus) -> Disk:
    return msgspec.structs.replace(
        base,
        fate=Fate.SURVIVES,
        volume_uid=slot.volume.uid if isinstance(slot.volume, Volume) else "",
        last_log_term=node.last_log_term,
        last_index=node.last_index,
        commit_index=node.commit_index,
        revision=node.revision,
    )


def _fate(slot: Slot, node_id: NodeId, node: NodeStatus | None) -> tuple[Fate, str]:
    """Return what is proved of the disk of an incarnation, and how."""
    volume = slot.volume
    if isinstance(volume, Unknown):
        return Fate.UNKNOWN, f"its volume cannot be observed: {volume.reason}"
    if isinstance(volume, Absent):
        # A pod that is there holds its claim: one without is seen while the two are read.
        return (Fate.GONE, "claim deleted") if not isinstance(slot.pod, Unknown) else (Fate.UNKNOWN, slot.pod.reason)
    if volume.lost:
        return Fate.GONE, "claim lost"
    if node is not None or isinstance(volume.node_id, Absent):
        return Fate.GONE, "claim deleted, and the new one is empty"
    if isinstance(volume.node_id, str):
        if volume.node_id == node_id:
            return Fate.SURVIVES, ""
        # It may have taken the place of this one in a newer configuration, which no member that responds knows.
        return Fate.UNKNOWN, f"its volume holds the incarnation {volume.node_id}, which does not respond"
    return Fate.UNKNOWN, f"it is not known whose data its volume holds: {volume.node_id.reason}"


def _disk_without_member(assessment: Assessment, slot: Slot) -> Disk:
    name, node = assessment.name(slot.ordinal), responding_node(slot, assessment.observed.cluster_id)
    empty = node is not None and not node.has_history
    fate, cause = _fate(slot, "", node if empty else None)
    if isinstance(slot.volume, Volume) and isinstance(slot.volume.node_id, str) and not empty and not slot.volume.lost:
        fate, cause = Fate.SURVIVES, unhealthy_reason(slot, name, assessment.observed.cluster_id)
    return Disk(name=name, ordinal=slot.ordinal, node_id="", fate=fate, cause=cause)


def _responds(assessment: Assessment, disk: Disk) -> bool:
    """Return whether the node of a disk responds; one of an older version does not tell its position."""
    if disk.ordinal is None:
        return False
    node = responding_node(assessment.observed.slot(disk.ordinal), assessment.observed.cluster_id)
    return node is not None and node.node_id == disk.node_id


def _disks_message(disks: Iterable[Disk]) -> str:
    every = tuple(disks)
    gone = [one for one in every if one.fate is Fate.GONE]
    unknown = [one for one in every if one.fate is Fate.UNKNOWN]
    named = ", ".join(f"{one.name} ({one.cause})" for one in gone)
    survive = len(every) - len(gone) - len(unknown)
    text = f"{len(gone)} of {len(every)} disks are gone: {named}; {survive} {'survives' if survive == 1 else 'survive'}"
    return text + "".join(f"; of {one.name} it is not known: {one.cause}" for one in unknown)


def _nonce(cluster_id: str, index: int, disks: Iterable[Disk]) -> str:
    # Of what is lost and of what is left, not of what responds just now: it stays while a survivor restarts, and
    # changes when another disk is gone or one is found again.
    facts = [cluster_id, str(index), *(f"{one.name} {one.node_id} {one.fate.value}" for one in disks)]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:NONCE_LENGTH]
