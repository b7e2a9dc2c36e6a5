"""Which of the cluster's Kubernetes objects to apply and which to delete; the StatefulSet is `workload`'s. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from collectionstore_operator import manifests
from collectionstore_operator.manifests.manifest import Manifest
from collectionstore_operator.model.actions import ApplyObject, DeleteObject, Proposal, propose
from collectionstore_operator.model.assessment import Assessment
from collectionstore_operator.planning.disruption_budget import max_unavailable


def apply(assessment: Assessment) -> Iterator[Proposal]:
    """Yield the objects that are missing or differ from their manifests, where the runtime has such objects."""
    observed = assessment.observed
    if observed.objects is None:
        return
    applied = {(one.kind, one.name): one.digest for one in observed.objects}
    budget = max_unavailable(assessment)
    manifested = manifests.build(assessment.desired, disruptions=budget)
    for manifest in manifested:
        found = applied.get((manifest.kind, manifest.name))
        if found != manifest.digest:
            reason = "the object does not exist" if found is None else "the object differs from its manifest"
            yield propose(_action(manifest, budget, reason), subject=f"{manifest.kind} {manifest.name}")
    asked_for = {manifest.kind for manifest in manifested}
    for kind, name in applied:
        # Optional kinds only: a budget that cannot be computed now is not one that the resource has disabled.
        if kind in manifests.OPTIONAL and kind not in asked_for:
            reason = "the resource no longer requires it"
            yield propose(DeleteObject(kind=kind, name=name, reason=reason), subject=f"{kind} {name}")


def _action(manifest: Manifest, budget: int | None, reason: str) -> ApplyObject:
    # The budget travels in the action: the executor must not judge the voters a second time, on another view.
    carried = budget if manifest.kind == "PodDisruptionBudget" else None
    return ApplyObject(
        kind=manifest.kind, name=manifest.name, digest=manifest.digest, max_unavailable=carried, reason=reason
    )
