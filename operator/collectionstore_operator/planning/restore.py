"""A new cluster that begins with a backup or a snapshot: one member is made of it, and the others join it. Pure.

recorded     what is restored is in the record BEFORE a pod can begin with it, and from then on nothing is
             bootstrapped, whatever becomes of the spec: an empty cluster of the same ID beside the restored data
             would be a second history
prepared     of a snapshot: the claim of the first member, whose volume the storage system makes of it
restoring    the workload has one pod, whose init container makes its data directory; it waits at a gate until the
             uid of its claim is recorded, and every other pod of that template does so for ever: what is restored a
             second time, on another volume, gives the same revisions twice
initialized  its node has responded with data; the template is the ordinary one, and the others join
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from collectionstore_operator.manifests.statefulset import DATA_VOLUME
from collectionstore_operator.model.actions import (
    Action,
    CreateClaim,
    RecordRestore,
    RecordRestoreClaim,
    ReleasePod,
    RestartPod,
)
from collectionstore_operator.model.assessment import Assessment, unhealthy_reason
from collectionstore_operator.model.observed import Absent, Pod, Unknown, Volume, Workload
from collectionstore_operator.model.plan import Proposal, postpone, propose
from collectionstore_operator.model.restore import claim_of, failure_of, restoring, shown_restore, written
from collectionstore_operator.model.restore_request import lost_claim
from collectionstore_operator.model.source_snapshot import obstacle
from collectionstore_operator.resource.bootstrap import SnapshotRestore, Source

RESTORE = "Restore"


def requested(assessment: Assessment) -> Source | None:
    """Return what the spec wants restored and is not recorded yet; None once the cluster has had data."""
    wanted = assessment.desired.spec.beginning
    recorded = assessment.observed.restore
    if assessment.view.initialized or (recorded is not None and recorded.source == wanted):
        return None
    return wanted


def record(assessment: Assessment) -> Proposal | None:
    """Propose to record what is restored, or say why the cluster is not restored. None if nothing is to be recorded."""
    wanted, name = requested(assessment), assessment.desired.name
    if wanted is None:
        return None
    reason = f"the cluster is new, and begins with {shown_restore(wanted)}"
    blocker = _not_new(assessment)
    if not blocker and isinstance(wanted, SnapshotRestore):
        blocker = _not_to_be_made(assessment, wanted)
    if blocker:
        return postpone(RESTORE, reason=reason, blocked_by=blocker, subject=name)
    return propose(RecordRestore(restore=written(wanted), reason=reason), subject=name, name=RESTORE)


def prepare(assessment: Assessment) -> Iterator[Proposal]:
    """Propose to create the claim of the first member, of the snapshot that the cluster begins with."""
    source, slot = restoring(assessment.observed), assessment.observed.slot(0)
    if not isinstance(source, SnapshotRestore) or assessment.view.initialized or claim_of(assessment.observed):
        return
    if isinstance(slot.volume, Absent) and obstacle(assessment, source) is None:
        name, snapshot = f"{DATA_VOLUME}-{assessment.name(0)}", source.volume_snapshot.name
        reason = f"the volume of {assessment.name(0)} is made of {shown_restore(source)}"
        yield propose(CreateClaim(name=name, snapshot=snapshot, reason=reason), subject=name, name=RESTORE)


def workload_waits(assessment: Assessment) -> str:
    """Return why the workload must not be created yet: it would make an empty volume. Empty if it may be."""
    source, observed = restoring(assessment.observed), assessment.observed
    if not isinstance(source, SnapshotRestore) or not isinstance(observed.workload, Absent):
        return ""
    if isinstance(observed.slot(0).volume, Volume) or claim_of(observed):
        return ""
    return f"the claim of {assessment.name(0)} must be made of {shown_restore(source)} first"


def wait(assessment: Assessment) -> tuple[Proposal, ...]:
    """Show what a restore that has begun waits for."""
    restore = restoring(assessment.observed)
    if restore is None or assessment.view.initialized:
        return ()
    slot, name = assessment.observed.slot(0), assessment.name(0)
    blocked_by = (
        lost_claim(assessment)
        or _of_another(assessment, restore)
        or _obstructed(assessment, restore)
        or failure_of(slot)
        or unhealthy_reason(slot, name, assessment.observed.cluster_id)
        or f"{name} has not responded with the restored data"
    )
    reason = f"the first member is made of {shown_restore(restore)}"
    return (postpone(RESTORE, reason=reason, blocked_by=blocked_by, subject=name),)


def release(assessment: Assessment) -> Iterator[Proposal]:
    """Propose to record the claim of the pod of a new cluster that makes its data of a backup, and to let it start."""
    if restoring(assessment.observed) is not None and not assessment.view.initialized:
        yield from release_on(assessment, lambda uid, reason: RecordRestoreClaim(uid=uid, reason=reason))


def release_on(assessment: Assessment, record: Callable[[str, str], Action]) -> Iterator[Proposal]:
    """Propose to record, by `record`, the claim on which the first pod may make its data, and to let that pod start."""
    slot, name, recorded = assessment.observed.slot(0), assessment.name(0), claim_of(assessment.observed)
    if isinstance(slot.pod, Absent | Unknown) or not isinstance(slot.volume, Volume) or not slot.volume.uid:
        return
    source = restoring(assessment.observed)
    if _of_another(assessment, source):
        return
    if not recorded:
        if not slot.volume.terminating:
            made_of = "a backup" if source is None else shown_restore(source)
            reason = f"{name} is made of {made_of} on this claim of {slot.volume.name}, and on no other"
            yield propose(record(slot.volume.uid, reason), subject=slot.volume.name, name=RESTORE)
        return
    waits = slot.pod.awaits_restore and not slot.pod.terminating
    if waits and slot.volume.uid == recorded and not slot.volume.terminating:
        reason = "it is recorded that it is restored on this claim"
        action = ReleasePod(ordinal=0, name=name, uid=slot.pod.uid, claim_uid=recorded, reason=reason)
        yield propose(action, subject=name)


def renew(assessment: Assessment) -> Iterator[Proposal]:
    """Propose to replace a pod that waits to be restored and never will be: the next one starts from the new template.

    Its cluster has data, so what was restored was not on its volume, or it is restored already.
    """
    workload = assessment.observed.workload
    if restoring(assessment.observed) is not None or not assessment.view.initialized:
        return
    for slot in assessment.observed.slots:
        pod, name = slot.pod, assessment.name(slot.ordinal)
        if not isinstance(pod, Pod) or not pod.awaits_restore or pod.terminating:
            continue
        reason = "it waits to be restored, and the cluster has its data"
        if isinstance(workload, Workload) and not workload.settled:
            waits = "the controller of the pods must have seen the new template first"
            yield postpone("RestartPod", reason=reason, blocked_by=waits, subject=name)
        else:
            yield propose(RestartPod(ordinal=slot.ordinal, name=name, uid=pod.uid, reason=reason), subject=name)


def _not_new(assessment: Assessment) -> str:
    """Return why nothing can be restored into this cluster; empty if it is new."""
    observed = assessment.observed
    if not isinstance(observed.workload, Absent):
        return "the workload exists already; delete the resource, and create it again"
    if observed.bootstrap_node:
        return "a bootstrap was begun already; delete the resource, and create it again"
    for slot in observed.slots:
        name = assessment.name(slot.ordinal)
        if not isinstance(slot.pod, Absent):
            return f"the pod {name} exists"
        # The first volume may hold an interrupted restore: the program itself refuses what is none.
        stamped = isinstance(slot.volume, Volume) and isinstance(slot.volume.node_id, str)
        if stamped or (slot.ordinal > 0 and not _empty(slot.volume)):
            return f"the volume of {name} may hold data; delete its claim, or give the cluster another name"
    return ""


def _not_to_be_made(assessment: Assessment, source: SnapshotRestore) -> str:
    """Return why the claim of the first member cannot be made of the snapshot; empty if it can."""
    volume = assessment.observed.slot(0).volume
    if not isinstance(volume, Absent):
        name = volume.name if isinstance(volume, Volume) else f"{DATA_VOLUME}-{assessment.name(0)}"
        return f"the claim {name} exists already, and a snapshot needs a new one; delete it"
    return _obstructed(assessment, source)


def _obstructed(assessment: Assessment, source: Source) -> str:
    found = obstacle(assessment, source) if isinstance(source, SnapshotRestore) else None
    return found.message if found is not None else ""


def _of_another(assessment: Assessment, source: Source | None) -> str:
    """Return why the claim of the first member is not the one to restore on; empty if it is, or is not there."""
    volume = assessment.observed.slot(0).volume
    if not isinstance(source, SnapshotRestore) or not isinstance(volume, Volume):
        return ""
    if volume.made_of == source.volume_snapshot.name:
        return ""
    return f"the claim {volume.name} is not made of {shown_restore(source)}; delete the resource and the claim"


def _empty(volume: object) -> bool:
    return isinstance(volume, Absent) or (isinstance(volume, Volume) and isinstance(volume.node_id, Absent))
