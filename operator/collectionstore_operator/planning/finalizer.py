"""When the resource gets our finalizer, and when it is released. Pure.

The finalizer makes the API server keep a deleted resource until the cluster is torn down. Two orders hold:
- it is added BEFORE anything is created for the resource, so it is the first proposal of every plan;
- it is removed AFTER everything else, so `release` proposes it only when no other step remains.
"""

from __future__ import annotations

from collections.abc import Sequence

from collectionstore_operator.model.actions import AddFinalizer, DeleteIdentity, RemoveFinalizer
from collectionstore_operator.model.assessment import Assessment
from collectionstore_operator.model.observed import Unknown, Volume
from collectionstore_operator.model.plan import Proposal, propose


def add(assessment: Assessment) -> tuple[Proposal, ...]:
    """Propose to add our finalizer where it is missing; the API server accepts none on a resource being deleted."""
    desired, observed = assessment.desired, assessment.observed
    if observed.finalizer is not False or desired.deleting:
        return ()
    reason = "a deletion must wait until the cluster is torn down"
    return (propose(AddFinalizer(reason=reason), subject=desired.name),)


def release(assessment: Assessment, remaining: Sequence[Proposal]) -> tuple[Proposal, ...]:
    """Propose to release a deleted resource once none of its other steps remains.

    Record and keys go BEFORE the finalizer, and only when no volume is left that needs them.
    """
    desired, observed = assessment.desired, assessment.observed
    if not observed.finalizer or not desired.deleting or remaining:
        return ()
    released = propose(
        RemoveFinalizer(reason="the cluster is torn down, nothing remains to be done"), subject=desired.name
    )
    # A volume that cannot be seen may hold data: Unknown is never "gone".
    if any(isinstance(slot.volume, Volume | Unknown) for slot in observed.all_slots()):
        return (released,)
    forgotten = propose(DeleteIdentity(reason="no volume of the cluster is left"), subject=desired.name)
    return (forgotten, released)


def release_with_namespace(assessment: Assessment) -> tuple[Proposal, ...]:
    """Propose to release a resource that is deleted together with its namespace, whatever state the cluster is in.

    The namespace takes all objects along, and waits for our finalizer; our Role in it may be gone already, so that
    nothing else could be done. Neither `spec.deletionProtection` nor `spec.paused` can hold a namespace back.
    """
    desired, observed = assessment.desired, assessment.observed
    if not observed.finalizer:
        return ()
    reason = f"the namespace {desired.namespace} is terminating with everything in it"
    return (propose(RemoveFinalizer(reason=reason), subject=desired.name),)
