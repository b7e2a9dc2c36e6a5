"""A new cluster that begins with a backup: one member is made of it, leads alone, and the others join it. Pure.

recorded     what is restored is in the record BEFORE a pod can begin with it, and from then on nothing is
             bootstrapped, whatever becomes of the spec: an empty cluster of the same ID beside the restored data
             would be a second history
restoring    the workload has one pod, whose init container makes its data directory
initialized  its node has responded with data; the template is the ordinary one, and the others join
"""

from __future__ import annotations

from collectionstore_operator.model.actions import Proposal, RecordRestore, postpone, propose
from collectionstore_operator.model.assessment import Assessment, unhealthy_reason
from collectionstore_operator.model.observed import Absent, Volume
from collectionstore_operator.model.restore import failure_of, restoring, written
from collectionstore_operator.resource.bootstrap import Restore

RESTORE = "Restore"


def requested(assessment: Assessment) -> Restore | None:
    """Return what the spec wants restored and is not recorded yet; None once the cluster has had data."""
    wanted = assessment.desired.spec.restore
    if assessment.view.initialized or wanted is None or wanted == assessment.observed.restore:
        return None
    return wanted


def record(assessment: Assessment) -> Proposal | None:
    """Propose to record what is restored, or say why the cluster is not restored. None if nothing is to be recorded."""
    wanted, name = requested(assessment), assessment.desired.name
    if wanted is None:
        return None
    reason = f"the cluster is new, and begins with the backup {wanted.backup} of {wanted.repository.url}"
    blocker = _not_new(assessment)
    if blocker:
        return postpone(RESTORE, reason=reason, blocked_by=blocker, subject=name)
    return propose(RecordRestore(restore=written(wanted), reason=reason), subject=name, name=RESTORE)


def wait(assessment: Assessment) -> tuple[Proposal, ...]:
    """Show what a restore that has begun waits for."""
    restore = restoring(assessment.observed)
    if restore is None or assessment.view.initialized:
        return ()
    slot, name = assessment.observed.slot(0), assessment.name(0)
    blocked_by = (
        failure_of(slot)
        or unhealthy_reason(slot, name, assessment.observed.cluster_id)
        or f"{name} has not responded with the restored data"
    )
    reason = f"the first member is made of the backup {restore.backup} of {restore.repository.url}"
    return (postpone(RESTORE, reason=reason, blocked_by=blocked_by, subject=name),)


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


def _empty(volume: object) -> bool:
    return isinstance(volume, Absent) or (isinstance(volume, Volume) and isinstance(volume.node_id, Absent))
