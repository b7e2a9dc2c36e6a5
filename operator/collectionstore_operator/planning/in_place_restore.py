"""A backup in place of what a cluster has: offered, acknowledged, then phase by phase; under another cluster ID. Pure.

Nothing here happens by itself: without the nonce of this very cluster and this very backup in the spec, status.restore
shows what would be lost, and nothing else. Each phase is recorded BEFORE it acts (`model.recovery`). It needs no member
that answers, and no disk: it is also what remains when no disk survives.

Invariants:
- once it has begun, nothing but it changes the cluster until the restored member leads;
- nothing is set aside while anything of the old cluster runs, and nothing is restored while an old claim is there;
- no volume is deleted before the restored cluster is whole, and then only if the user said so;
- a backup is restored on one claim alone, which is recorded before its pod may start;
- no revision is given twice: they go on above all that the cluster is known to have had.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from collectionstore_operator.model.actions import (
    Action,
    EnsureWorkload,
    RecordRecovery,
    ReplaceWorkload,
    SetReclaimPolicy,
)
from collectionstore_operator.model.assessment import Assessment, responding_node, unhealthy_reason
from collectionstore_operator.model.observed import Absent, NodeStatus, Observed, Unknown, Volume, Workload
from collectionstore_operator.model.plan import RESTORE_IN_PLACE, Proposal, postpone, postponed, propose
from collectionstore_operator.model.recovery import OldVolume, RecoveryPhase, RecoveryRecord, new_cluster_id, overdue
from collectionstore_operator.model.restore import (
    failure_of,
    highest_revision,
    in_place,
    revision_above,
    shown_restore,
    written,
)
from collectionstore_operator.model.restore_request import acknowledged, blocked_by, lost_claim
from collectionstore_operator.planning import certificates, objects, old_volumes, read_replicas, restore, workload
from collectionstore_operator.planning.set_aside import set_aside
from collectionstore_operator.resource.bootstrap import BUMP_MAX
from collectionstore_operator.resource.restore import InPlaceRestore

NOTABLE = 100_000
"""Revisions that members have written since what is recorded, before they are stopped, are recorded from this on."""


def concerns(assessment: Assessment) -> bool:
    """Return whether a restore is under way, or may begin: no other change is made then."""
    return in_place(assessment.observed) is not None or (
        acknowledged(assessment) is not None and not blocked_by(assessment)
    )


def held_back(assessment: Assessment) -> Iterator[Proposal]:
    """Show why a restore that was acknowledged does not begin; the cluster works on meanwhile."""
    asked = acknowledged(assessment)
    blocker = blocked_by(assessment) if asked is not None else ""
    if asked is not None and blocker:
        yield postpone(RESTORE_IN_PLACE, reason=_reason(asked), blocked_by=blocker, subject=assessment.desired.name)


def proceed(assessment: Assessment) -> Iterator[Proposal]:
    """Yield the next step of a restore, or what it waits for."""
    record, asked = in_place(assessment.observed), acknowledged(assessment)
    if asked is not None and not blocked_by(assessment):
        yield from _begin(assessment, asked)
    elif record is not None:
        match record.phase:
            case RecoveryPhase.HALTING:
                yield from _halt(assessment, record)
            case RecoveryPhase.EMPTYING:
                yield from _empty(assessment, record)
            case _:
                yield from _restore(assessment, record)


def discard_old(assessment: Assessment) -> Iterator[Proposal]:
    """Propose to delete what a restore has set aside, once every voter of the restored cluster is in sync."""
    record, view = assessment.observed.recovery, assessment.view
    if record is None or record.active or not record.to_discard:
        return
    if record.cluster_id != assessment.observed.cluster_id:
        return
    whole = len(view.in_sync_voters) >= assessment.desired.spec.replicas and not view.configuration.joint
    proposal = old_volumes.discard(record, f"the cluster {record.cluster_id} works")
    if not view.trusted or not whole:
        waits = view.untrusted_reason or "every voter of the restored cluster must be in sync first"
        proposal = postponed(proposal, waits)
    yield proposal


def _begin(assessment: Assessment, asked: InPlaceRestore) -> Iterator[Proposal]:
    """Record what is restored, once the read replicas are gone: they would go on with the cluster that ends."""
    copies = tuple(read_replicas.leave(assessment, step=RESTORE_IN_PLACE))
    if copies:
        yield from copies
        return
    observed, nonce, before = assessment.observed, asked.nonce or "", in_place(assessment.observed)
    record = RecoveryRecord(
        nonce=nonce,
        phase=RecoveryPhase.HALTING,
        survivor=assessment.name(0),
        ordinal=0,
        node_id="",
        from_cluster=observed.cluster_id,
        cluster_id=new_cluster_id(observed.cluster_id, nonce),
        highest_revision=highest_revision(observed),
        started=observed.now,
        restored_from=written(asked.source),
        delete_old=asked.deletes,
        # Of a restore that formed nothing: what it has set aside is still all that there was.
        old_volumes=before.old_volumes if before is not None else (),
        overdue=overdue(observed.recovery),
    )
    action = RecordRecovery(record=record, before=None, reason=_reason(asked))
    yield propose(action, subject=assessment.desired.name, name=RESTORE_IN_PLACE)


def _reason(asked: InPlaceRestore) -> str:
    return f"spec.restore acknowledges it: {shown_restore(asked)} replaces what the cluster has"


def _halt(assessment: Assessment, record: RecoveryRecord) -> Iterator[Proposal]:
    """Keep every volume, and stop every member."""
    observed, found, name = assessment.observed, assessment.observed.workload, assessment.desired.name
    reason = f"all members stop before {_what(record)} is restored"
    highest = highest_revision(observed)
    if highest > record.highest_revision + NOTABLE:
        # They may have written for hours, if the operator that recorded it was gone for so long.
        further = msgspec.structs.replace(record, highest_revision=highest)
        more = f"revision {highest} was reached since, and revisions go on above it"
        yield propose(
            RecordRecovery(record=further, before=record.phase, reason=more), subject=name, name=RESTORE_IN_PLACE
        )
        return
    if isinstance(found, Unknown):
        blocker = f"the workload cannot be observed: {found.reason}"
        yield postpone(RESTORE_IN_PLACE, reason=reason, blocked_by=blocker, subject=name)
        return
    doomed = [(slot, one) for slot in observed.slots if isinstance(one := slot.volume, Volume) and _would_go(one)]
    for slot, volume in doomed:
        # BEFORE its pod stops, which may be all that keeps a claim that is being deleted.
        action = SetReclaimPolicy(
            ordinal=slot.ordinal,
            name=volume.name,
            volume=volume.persistent_volume,
            policy="Retain",
            reason="nothing is deleted before the restored cluster works",
        )
        yield propose(action, subject=volume.name, name=RESTORE_IN_PLACE)
    if doomed:
        return
    kept = _with_volumes(record, observed)
    if kept != record:
        # BEFORE the pods stop, too: a claim that is being deleted goes with its pod, and then names no volume any more.
        reason = "which volumes are set aside is recorded first"
        yield propose(
            RecordRecovery(record=kept, before=record.phase, reason=reason), subject=name, name=RESTORE_IN_PLACE
        )
        return
    running = [assessment.name(slot.ordinal) for slot in observed.slots if not isinstance(slot.pod, Absent)]
    if isinstance(found, Workload) and found.replicas > 0:
        stop = EnsureWorkload(replicas=0, revision=found.revision, shrinks=True, reason=reason)
        yield propose(stop, subject=name, name=RESTORE_IN_PLACE)
        return
    unseen = [slot.volume.reason for slot in observed.slots if isinstance(slot.volume, Unknown)]
    if running or unseen:
        waits = f"{', '.join(running)} must terminate first" if running else f"a volume cannot be observed: {unseen[0]}"
        yield postpone(RESTORE_IN_PLACE, reason=reason, blocked_by=waits, subject=name)
        return
    yield _advance(record, RecoveryPhase.EMPTYING, f"nothing of the cluster {record.from_cluster} runs any more")


def _with_volumes(record: RecoveryRecord, observed: Observed) -> RecoveryRecord:
    """Return the record with the volumes of all members; those of removed ones stay what they are, and are kept."""
    volumes = (slot.volume for slot in observed.slots)
    found = (one for one in volumes if isinstance(one, Volume) and one.persistent_volume and not one.removed)
    old = (OldVolume(name=one.persistent_volume, claim_uid=one.uid) for one in found)
    return msgspec.structs.replace(record, old_volumes=tuple(dict.fromkeys((*record.old_volumes, *old))))


def _would_go(volume: Volume) -> bool:
    return bool(volume.persistent_volume) and volume.reclaim_policy not in ("", "Retain") and not volume.lost


def _empty(assessment: Assessment, record: RecoveryRecord) -> Iterator[Proposal]:
    """Detach the volumes of all members, each kept, and the workload, whose claims would name the old cluster."""
    observed, name = assessment.observed, assessment.desired.name
    running = [assessment.name(slot.ordinal) for slot in observed.slots if not isinstance(slot.pod, Absent)]
    if running:
        waits = f"{', '.join(running)} must terminate first"
        yield postpone(
            RESTORE_IN_PLACE, reason="the disks of all members are set aside", blocked_by=waits, subject=name
        )
        return
    held = [slot for slot in observed.slots if not isinstance(slot.volume, Absent)]
    if held:
        yield from set_aside(assessment, held, RESTORE_IN_PLACE)
        return
    if isinstance(observed.workload, Workload):
        reason = "the claims of the new cluster need another template"
        yield propose(ReplaceWorkload(replicas=0, reason=reason), subject=name, name=RESTORE_IN_PLACE)
        return
    if not isinstance(observed.workload, Absent):
        blocker = f"the workload cannot be observed: {observed.workload.reason}"
        yield postpone(RESTORE_IN_PLACE, reason="the workload is replaced", blocked_by=blocker, subject=name)
        return
    yield _advance(_raised(assessment, record), RecoveryPhase.RESTORING, "no claim of the old cluster is left")


def _raised(assessment: Assessment, record: RecoveryRecord) -> RecoveryRecord:
    """Return the record with what is added to the revision of the backup: fixed before anything is restored."""
    if record.restore is None:
        return record
    raised = min(revision_above(assessment.observed, record.highest_revision, record.restore), BUMP_MAX)
    return msgspec.structs.replace(
        record, restored_from=written(msgspec.structs.replace(record.restore, bump_revision=raised))
    )


def _restore(assessment: Assessment, record: RecoveryRecord) -> Iterator[Proposal]:
    """Start the first member alone, on an empty disk that is made of the backup, until it leads the new cluster."""
    slot, cluster_id = assessment.observed.slot(record.ordinal), assessment.observed.cluster_id
    yield from certificates.issue(assessment)
    yield from certificates.publish_authority(assessment)
    yield from certificates.enrol(assessment)
    yield from certificates.answer(assessment)
    yield from objects.apply(assessment)
    yield from workload.ensure(assessment)

    def claim(uid: str, reason: str) -> Action:
        chosen = msgspec.structs.replace(record, volume_uid=uid)
        return RecordRecovery(record=chosen, before=record.phase, reason=reason)

    yield from restore.release_on(assessment, claim)
    node = responding_node(slot, cluster_id)
    lost = lost_claim(assessment)
    if node is not None and _leads(node) and not lost:
        formed = msgspec.structs.replace(record, finished=assessment.observed.now)
        reason = (
            f"{record.survivor} leads the cluster {record.cluster_id} with {_what(record)}; revisions go on at "
            f"{node.revision}"
        )
        yield _advance(formed, RecoveryPhase.FINISHED, reason)
        return
    again = "; another restore can be begun with the nonce that status.restore offers"
    failure = failure_of(slot)
    waits = (
        (f"{lost}{again}" if lost else "")
        or (f"{failure}; it is tried again{again}" if failure else "")
        or unhealthy_reason(slot, record.survivor, cluster_id, detailed=True)
        or f"{record.survivor} does not lead yet"
    )
    reason = f"{record.survivor} is made of {_what(record)}"
    yield postpone(RESTORE_IN_PLACE, reason=reason, blocked_by=waits, subject=record.survivor)


def _leads(node: NodeStatus) -> bool:
    return node.role == "Leader" and node.configuration.voters == (node.node_id,)


def _what(record: RecoveryRecord) -> str:
    return "the backup" if record.restore is None else shown_restore(record.restore)


def _advance(record: RecoveryRecord, phase: RecoveryPhase, reason: str) -> Proposal:
    following = msgspec.structs.replace(record, phase=phase)
    action = RecordRecovery(record=following, before=record.phase, reason=reason)
    return propose(action, subject=record.survivor, name=RESTORE_IN_PLACE)
