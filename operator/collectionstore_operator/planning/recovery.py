"""Recovery from the loss of a majority of the disks: frozen, offered, acknowledged, then phase by phase. Pure.

Nothing here happens by itself: without the nonce of this very loss in the spec, the cluster stays frozen as it is. Each
phase is recorded BEFORE it acts (`model.recovery`), and the operator that continues takes the survivor from it.

Invariants:
- a survivor is chosen once; its disk is never set aside, and no other disk is while it is not there;
- no disk of a member is deleted: those of the others are kept, whatever spec.storage.retention says;
- nothing is set aside while anything of the old cluster runs;
- read replicas stop and lose their volumes BEFORE it begins, once it is acknowledged: each is kept, too.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from collectionstore_operator.model import recovery as records
from collectionstore_operator.model.actions import AdoptVolume, EnsureWorkload, RecordRecovery, ReplaceWorkload
from collectionstore_operator.model.assessment import Assessment, assess, responding_node, unhealthy_reason
from collectionstore_operator.model.observed import Absent, NodeStatus, Pod, Unknown, Volume, Workload
from collectionstore_operator.model.plan import RECOVER_QUORUM, Proposal, postpone, propose
from collectionstore_operator.model.quorum_loss import Cause, Disk, Fate, QuorumLoss, examine, offered_at
from collectionstore_operator.model.recovery import RecoveryPhase, RecoveryRecord, new_cluster_id
from collectionstore_operator.model.timestamps import rfc3339
from collectionstore_operator.planning import certificates, objects, read_replicas, workload
from collectionstore_operator.planning.set_aside import set_aside


def concerns(assessment: Assessment) -> bool:
    """Return whether a recovery is under way, or the disks of a majority are gone: no other change is made then."""
    return is_under_way(assessment) or _loss(assessment) is not None


def is_under_way(assessment: Assessment) -> bool:
    """Return whether a recovery has begun and not ended."""
    return records.active(assessment.observed.recovery) is not None


def proceed(assessment: Assessment) -> Iterator[Proposal]:
    """Yield the next step of a recovery, or what it waits for."""
    record = records.active(assessment.observed.recovery)
    if record is None:
        if (loss := _loss(assessment)) is not None:
            yield from _begin(assessment, loss)
        return
    match record.phase:
        case RecoveryPhase.STOPPING:
            yield _stop(assessment, record)
        case RecoveryPhase.SETTING_ASIDE:
            yield from _set_aside(assessment, record)
        case _:
            yield from _form(assessment, record)


def _loss(assessment: Assessment) -> QuorumLoss | None:
    loss = examine(assessment)
    return loss if loss is not None and loss.cause is Cause.DISKS else None


def _begin(assessment: Assessment, loss: QuorumLoss) -> Iterator[Proposal]:
    """Record the survivor, once the read replicas are gone: they would go on with the log of the cluster that ends."""
    name = assessment.desired.name
    blocker = blocked_by(assessment, loss)
    chosen = choose(assessment, loss)
    if blocker or isinstance(chosen, str):
        yield postpone(RECOVER_QUORUM, reason=loss.message, blocked_by=blocker or str(chosen), subject=name)
        return
    doomed = _doomed(assessment.observed.slot(chosen.ordinal or 0).volume, chosen.name)
    if doomed:
        yield postpone(RECOVER_QUORUM, reason=loss.message, blocked_by=doomed, subject=name)
        return
    copies = tuple(read_replicas.leave(assessment, step=RECOVER_QUORUM))
    if copies:
        yield from copies
        return
    cluster_id = assessment.observed.cluster_id
    record = RecoveryRecord(
        nonce=loss.nonce,
        phase=RecoveryPhase.STOPPING,
        survivor=chosen.name,
        ordinal=chosen.ordinal or 0,
        node_id=chosen.node_id,
        volume_uid=chosen.volume_uid,
        from_cluster=cluster_id,
        cluster_id=new_cluster_id(cluster_id, loss.nonce),
        lost=tuple(one.name for one in loss.of(Fate.GONE)),
        revision=chosen.revision,
        last_index=chosen.last_index,
        highest_revision=max(one.revision for one in loss.disks),
        started=assessment.observed.now,
        overdue=records.overdue(assessment.observed.recovery),
    )
    reason = f"spec.recovery acknowledges it: {loss.message}; {chosen.name} is the survivor"
    yield propose(RecordRecovery(record=record, before=None, reason=reason), subject=chosen.name, name=RECOVER_QUORUM)


def blocked_by(assessment: Assessment, loss: QuorumLoss) -> str:
    """Return why a recovery does not begin, apart from the choice of the survivor; empty if it may."""
    due, asked = offered_at(assessment), assessment.desired.spec.recovery
    if not due or assessment.observed.now < due:
        at = f" at {rfc3339(due)}" if due else ""
        return f"a recovery is offered{at}, after spec.failedMember.graceSeconds, unless the disks are found before"
    if asked is None:
        return "nothing is recovered without spec.recovery.nonce, from status.recovery.nonce"
    if asked.nonce != loss.nonce:
        return f"spec.recovery.nonce is {asked.nonce}, of another loss; that of this one is in status.recovery.nonce"
    alone = assess(assessment.desired, msgspec.structs.replace(assessment.observed, reads=None))
    if _loss(alone) is None:
        # Without them nothing would be known to be lost: they would be stopped, and started again, for ever.
        return "only the read replicas, which must stop first, know the configuration: a surviving voter must respond"
    return ""


def _doomed(volume: Volume | Absent | Unknown, name: str) -> str:
    """Return why a member must not be stopped: its running process may be all that keeps its disk."""
    if isinstance(volume, Unknown):
        return f"the volume of {name} cannot be observed: {volume.reason}"
    if isinstance(volume, Absent) or volume.lost or volume.terminating:
        return (
            f"the claim of {name} is gone or being deleted: stopping {name} would delete its disk. Copy its data first"
        )
    return ""


def choose(assessment: Assessment, loss: QuorumLoss) -> Disk | str:
    """Return the survivor, or why there is none: the one that the user names, or the most up-to-date of all."""
    asked = assessment.desired.spec.recovery
    named = asked.survivor if asked is not None else None
    ranked = loss.ranked()
    if not ranked:
        if assessment.observed.objects is None:
            return "no disk survives: csctl restore makes another cluster of a backup"
        return "no disk survives: restore a backup in place, by spec.restore; see status.restore"
    if named is not None:
        found = next((one for one in ranked if one.name == named), None)
        if found is None or found.fate is not Fate.SURVIVES:
            return f"spec.recovery.survivor is {named}, whose disk is not known to survive"
        return found
    unseen = [one for one in ranked if not one.known]
    if unseen:
        names = ", ".join(f"{one.name} ({one.cause})" if one.cause else one.name for one in unseen)
        return f"spec.recovery.survivor must name the survivor: it is not known how up to date the log is of {names}"
    return ranked[0]


def _stop(assessment: Assessment, record: RecoveryRecord) -> Proposal:
    """Stop every member, the survivor too: its data is rewritten while nothing runs on it."""
    observed, found = assessment.observed, assessment.observed.workload
    reason = f"all members stop before {record.survivor} forms the cluster {record.cluster_id}"
    if isinstance(found, Unknown):
        blocker = f"the workload cannot be observed: {found.reason}"
        return postpone(RECOVER_QUORUM, reason=reason, blocked_by=blocker, subject=record.survivor)
    doomed = _doomed(observed.slot(record.ordinal).volume, record.survivor)
    if doomed and not isinstance(observed.slot(record.ordinal).pod, Absent):
        return postpone(RECOVER_QUORUM, reason=reason, blocked_by=doomed, subject=record.survivor)
    running = [assessment.name(slot.ordinal) for slot in observed.slots if not isinstance(slot.pod, Absent)]
    # Without a controller, what a crash has left running after the number was recorded is stopped by another attempt.
    left = observed.objects is None and bool(running)
    if isinstance(found, Workload) and (found.replicas > 0 or left):
        action = EnsureWorkload(replicas=0, revision=found.revision, shrinks=True, reason=reason)
        return propose(action, subject=assessment.desired.name, name=RECOVER_QUORUM)
    if running:
        blocker = f"{', '.join(running)} must terminate first"
        return postpone(RECOVER_QUORUM, reason=reason, blocked_by=blocker, subject=record.survivor)
    following = f"nothing of the cluster {record.from_cluster} runs any more"
    return _advance(record, RecoveryPhase.SETTING_ASIDE, following)


def _set_aside(assessment: Assessment, record: RecoveryRecord) -> Iterator[Proposal]:
    """Detach the volumes of all others, each kept, so that their successors start on empty ones."""
    observed = assessment.observed
    blocker = _survivor_missing(assessment, record) or _running_again(assessment)
    if blocker:
        reason = f"the disks of all but {record.survivor} are set aside"
        yield postpone(RECOVER_QUORUM, reason=reason, blocked_by=blocker, subject=record.survivor)
        return
    others = [slot for slot in observed.slots if slot.ordinal != record.ordinal and not isinstance(slot.volume, Absent)]
    if others:
        yield from set_aside(assessment, others, RECOVER_QUORUM)
        return
    if observed.objects is not None and isinstance(observed.workload, Workload):
        # Its claim template names the old cluster, and cannot be changed.
        reason = "the claims of the new cluster need another template"
        yield propose(ReplaceWorkload(replicas=0, reason=reason), subject=assessment.desired.name, name=RECOVER_QUORUM)
        return
    if not isinstance(observed.workload, Absent | Workload):
        blocker = f"the workload cannot be observed: {observed.workload.reason}"
        yield postpone(RECOVER_QUORUM, reason="the workload is replaced", blocked_by=blocker, subject=record.survivor)
        return
    yield _advance(record, RecoveryPhase.FORMING, f"only the disk of {record.survivor} is left")


def _survivor_missing(assessment: Assessment, record: RecoveryRecord) -> str:
    """Return why the survivor's disk is not the one that was chosen; empty if it is."""
    volume = assessment.observed.slot(record.ordinal).volume
    if isinstance(volume, Unknown):
        return f"the volume of {record.survivor} cannot be observed: {volume.reason}"
    if isinstance(volume, Absent) or volume.lost or volume.terminating or volume.uid != record.volume_uid:
        return f"the disk of the survivor {record.survivor} is not there any more, or about to go"
    # A stamp that is not known yet is no contradiction: the node itself refuses any other incarnation.
    if isinstance(volume.node_id, Absent) or (isinstance(volume.node_id, str) and volume.node_id != record.node_id):
        return f"the disk of {record.survivor} is not that of {record.node_id}, which was chosen"
    return ""


def _running_again(assessment: Assessment) -> str:
    running = [slot.ordinal for slot in assessment.observed.slots if not isinstance(slot.pod, Absent)]
    return f"{', '.join(map(assessment.name, running))} must terminate first" if running else ""


def _form(assessment: Assessment, record: RecoveryRecord) -> Iterator[Proposal]:
    """Start the members of the new cluster, of which the survivor is the only one with data, until it leads."""
    slot = assessment.observed.slot(record.ordinal)
    yield from certificates.issue(assessment)
    yield from certificates.publish_authority(assessment)
    yield from certificates.enrol(assessment)
    yield from certificates.answer(assessment)
    yield from objects.apply(assessment)
    if not isinstance(slot.volume, Volume):
        reason = f"the disk of {record.survivor} is that of the cluster {record.cluster_id} from now on"
        action = AdoptVolume(
            ordinal=record.ordinal,
            name=record.survivor,
            uid=record.volume_uid,
            from_cluster=record.from_cluster,
            cluster_id=record.cluster_id,
            reason=reason,
        )
        yield propose(action, subject=record.survivor, name=RECOVER_QUORUM)
        return
    yield from workload.ensure(assessment)
    node = responding_node(slot, assessment.observed.cluster_id)
    if node is not None and _leads(node):
        formed = msgspec.structs.replace(record, finished=assessment.observed.now)
        yield _advance(formed, RecoveryPhase.FINISHED, _told(record, node))
        return
    reason = f"{record.survivor} forms the cluster {record.cluster_id} from its disk"
    waits = unhealthy_reason(slot, record.survivor, assessment.observed.cluster_id, detailed=True)
    waits = waits or f"{record.survivor} does not lead yet"
    if isinstance(slot.pod, Pod) and slot.pod.detail:
        waits = f"{record.survivor}: {slot.pod.detail}"
    yield postpone(RECOVER_QUORUM, reason=reason, blocked_by=waits, subject=record.survivor)


def _leads(node: NodeStatus) -> bool:
    return node.role == "Leader" and node.configuration.voters == (node.node_id,)


def _told(record: RecoveryRecord, node: NodeStatus) -> str:
    kept = f"its log up to entry {record.last_index}, revision {record.revision}" if record.last_index else "its log"
    behind = max(0, record.highest_revision - record.revision)
    other = f"; another member had {behind} revisions more" if behind else ""
    return (
        f"{record.survivor} leads the cluster {record.cluster_id} with {kept}{other}; what only "
        f"{', '.join(record.lost)} had is lost; revisions go on at {node.revision}"
    )


def _advance(record: RecoveryRecord, phase: RecoveryPhase, reason: str) -> Proposal:
    following = msgspec.structs.replace(record, phase=phase)
    action = RecordRecovery(record=following, before=record.phase, reason=reason)
    return propose(action, subject=record.survivor, name=RECOVER_QUORUM)
