"""Whether volumes outlive their claims, and the reclaim policies that make it so. Pure.

With `Retain` every PersistentVolume has the reclaim policy Retain from its binding on, not only when the operator
deletes a claim: a claim can be deleted by anybody, and goes with its namespace, which asks nobody.
"""

from __future__ import annotations

from collections.abc import Iterator

from collectionstore_operator.model.actions import RecordProtectedDeletion, SetReclaimPolicy
from collectionstore_operator.model.assessment import Assessment
from collectionstore_operator.model.observed import Slot, Volume
from collectionstore_operator.model.plan import Proposal, propose


def retains(assessment: Assessment) -> bool:
    """Return whether the volumes of the cluster are kept.

    A deletion that was requested while the resource was protected always keeps them: it cannot be taken back, and it
    would otherwise destroy the data as soon as the protection is removed.
    """
    spec = assessment.desired.spec
    protected = assessment.desired.deleting and spec.deletion_protection
    return spec.storage.retention == "Retain" or protected or assessment.observed.deletion_was_protected


def record_protected_deletion(assessment: Assessment) -> Iterator[Proposal]:
    """Propose to record durably that the deletion was requested while the resource was protected."""
    desired, observed = assessment.desired, assessment.observed
    if not (desired.deleting and desired.spec.deletion_protection and desired.uid) or observed.deletion_was_protected:
        return
    reason = "the deletion was requested while spec.deletionProtection is true: the volumes will be retained"
    yield propose(RecordProtectedDeletion(uid=desired.uid, reason=reason), subject=desired.name)


def protect(assessment: Assessment) -> Iterator[Proposal]:
    """Propose Retain for every bound volume that would be deleted with its claim, where volumes are kept."""
    if not retains(assessment):
        return
    for slot in assessment.observed.slots:
        volume = slot.volume
        if isinstance(volume, Volume) and _deleted_by_policy(assessment, volume):
            continue
        if isinstance(volume, Volume) and volume.persistent_volume and volume.reclaim_policy not in ("", "Retain"):
            reason = "spec.storage.retention is Retain, also when its claim is deleted with the namespace"
            yield propose(_policy(slot, volume, "Retain", reason), subject=volume.name)


def _deleted_by_policy(assessment: Assessment, volume: Volume) -> bool:
    """Return whether a claim goes because spec.storage.releasedVolumes deletes it: its volume has Delete on purpose."""
    policy = assessment.desired.spec.storage.released_volumes
    return volume.removed and volume.terminating and policy is not None and policy.policy == "Delete"


def release(assessment: Assessment) -> Iterator[Proposal]:
    """Propose the policy Delete again where we had replaced it, once the user wants the data to be deleted."""
    if retains(assessment):
        return
    for slot in assessment.observed.slots:
        volume = slot.volume
        if isinstance(volume, Volume) and volume.created_policy == "Delete" and volume.reclaim_policy == "Retain":
            reason = "spec.storage.retention is Delete"
            yield propose(_policy(slot, volume, "Delete", reason), subject=volume.name)


def _policy(slot: Slot, volume: Volume, policy: str, reason: str) -> SetReclaimPolicy:
    return SetReclaimPolicy(
        ordinal=slot.ordinal,
        name=volume.name,
        volume=volume.persistent_volume,
        policy="Retain" if policy == "Retain" else "Delete",
        reason=reason,
    )
