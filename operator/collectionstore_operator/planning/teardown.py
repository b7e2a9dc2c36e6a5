"""What is removed of a cluster whose resource is being deleted, in which order. Pure.

No member leaves the configuration: all pods stop together. Volumes are removed AFTER the pods, and only where the
resource says so; they hold data.
"""

from __future__ import annotations

from collections.abc import Iterator

from collectionstore_operator.model.actions import EnsureWorkload, RetireVolume
from collectionstore_operator.model.assessment import Assessment
from collectionstore_operator.model.observed import Absent, Unknown, Volume, Workload
from collectionstore_operator.model.plan import Proposal, postpone, propose
from collectionstore_operator.planning import final_backup, old_volumes, retention
from collectionstore_operator.planning.ownership import holds_claim, holds_pod, holds_workload


def due(assessment: Assessment) -> bool:
    """Return whether the cluster is to be torn down."""
    desired = assessment.desired
    return desired.deleting and not desired.spec.deletion_protection and not final_backup.awaited(assessment)


def tear_down(assessment: Assessment) -> Iterator[Proposal]:
    """Stop all pods, then delete the volumes if the resource says so."""
    observed, reason = assessment.observed, "the resource is being deleted"
    # A StatefulSet of another owner is none of ours: it stays, and this resource has none to stop.
    if isinstance(observed.workload, Unknown) and not holds_workload(observed):
        yield postpone(
            "EnsureWorkload", reason=reason, blocked_by=f"the workload cannot be observed: {observed.workload.reason}"
        )
        return
    if isinstance(observed.workload, Workload) and observed.workload.replicas > 0:
        revision = observed.workload.revision
        yield propose(EnsureWorkload(replicas=0, revision=revision, shrinks=True, reason=reason))
        return
    # A pod that still runs writes to its disk: volumes wait until the last one is gone.
    remaining = [
        slot.ordinal
        for slot in observed.slots
        if not isinstance(slot.pod, Absent) and not holds_pod(observed, assessment.name(slot.ordinal))
    ]
    if remaining:
        names = ", ".join(assessment.name(ordinal) for ordinal in remaining)
        yield postpone("EnsureWorkload", reason=reason, blocked_by=f"{names} must terminate first")
        return
    if not retention.retains(assessment):
        # BEFORE the claims: a volume that we had set to Retain would otherwise stay without one.
        yield from retention.release(assessment)
        yield from _delete_volumes(assessment)
        record = observed.recovery
        if record is not None and not record.active and record.to_discard:
            # The record goes with the last volume, and nothing would name them any more.
            yield old_volumes.discard(record, reason)


def _delete_volumes(assessment: Assessment) -> Iterator[Proposal]:
    reason = "the resource is being deleted, and spec.storage.retention is Delete"
    for slot in assessment.observed.slots:
        name = assessment.name(slot.ordinal)
        if isinstance(slot.volume, Unknown) and holds_claim(assessment.observed, name):
            continue  # of another owner: nothing of this cluster remains in it
        if isinstance(slot.volume, Unknown):
            blocked_by = f"the volume of {name} cannot be observed: {slot.volume.reason}"
            yield postpone("RetireVolume", reason=reason, blocked_by=blocked_by, subject=name)
        elif isinstance(slot.volume, Volume):
            action = RetireVolume(ordinal=slot.ordinal, name=slot.volume.name, keep=False, reason=reason)
            yield propose(action, subject=name)
