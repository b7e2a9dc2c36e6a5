"""Which of the cluster's Kubernetes objects to apply and which to delete; the StatefulSet is `workload`'s. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from collectionstore_operator import manifests
from collectionstore_operator.manifests import drift
from collectionstore_operator.manifests.manifest import Manifest
from collectionstore_operator.model.actions import ApplyObject, DeleteObject
from collectionstore_operator.model.assessment import Assessment
from collectionstore_operator.model.observed import AppliedObject
from collectionstore_operator.model.plan import Proposal, propose
from collectionstore_operator.model.restore import restoring
from collectionstore_operator.planning.disruption_budget import max_unavailable


def apply(assessment: Assessment) -> Iterator[Proposal]:
    """Yield the objects that are missing or differ from their manifests, where the runtime has such objects.

    Objects of others under these names are `ownership`'s.
    """
    yield from apply_with(assessment, max_unavailable(assessment))


def apply_with(assessment: Assessment, budget: int | None) -> Iterator[Proposal]:
    """Do so for a group of members; `budget` is how many pods a drain may evict, None while that must not change."""
    observed, desired = assessment.observed, assessment.desired
    if observed.objects is None:
        return
    own = set(manifests.names(desired))
    applied = {(one.kind, one.name): one for one in observed.objects if (one.kind, one.name) in own}
    taken = {(one.kind, one.name) for one in observed.foreign}
    manifested = manifests.build(desired, disruptions=budget, restore=restoring(observed))
    for manifest in manifested:
        if (manifest.kind, manifest.name) in taken:
            continue
        reason, drifted = why_apply(manifest, applied.get((manifest.kind, manifest.name)))
        if reason:
            action = _action(manifest, budget, reason, drifted=drifted)
            yield propose(action, subject=f"{manifest.kind} {manifest.name}")
    asked_for = {manifest.kind for manifest in manifested}
    for kind, name in applied:
        # Optional kinds only: a budget that cannot be computed now is not one that the resource has disabled.
        if kind in manifests.OPTIONAL and kind not in asked_for:
            reason = "the resource no longer requires it"
            yield propose(DeleteObject(kind=kind, name=name, reason=reason), subject=f"{kind} {name}")


def why_apply(manifest: Manifest, found: AppliedObject | None, *, ignored: Sequence[str] = ()) -> tuple[str, bool]:
    """Return why an object must be applied, empty if it need not be; and whether another owner has changed it."""
    if found is None:
        return "the object does not exist", False
    if found.digest != manifest.digest:
        return "the object differs from its manifest", False
    differing = drift.differences(manifest.body, found.live, admitted=found.admitted, ignored=ignored)
    return f"{drift.described(differing)}; restored" if differing else "", bool(differing)


def _action(manifest: Manifest, budget: int | None, reason: str, *, drifted: bool) -> ApplyObject:
    # The budget travels in the action: the executor must not judge the voters a second time, on another view.
    carried = budget if manifest.kind == "PodDisruptionBudget" else None
    return ApplyObject(
        kind=manifest.kind,
        name=manifest.name,
        digest=manifest.digest,
        max_unavailable=carried,
        drifted=drifted,
        reason=reason,
    )
