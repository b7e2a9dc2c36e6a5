"""The PodDisruptionBudget. The planner computes maxUnavailable from the current voters, not from spec.replicas."""

from __future__ import annotations

from collectionstore_operator.manifests.manifest import Manifest, manifest
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import Desired


def build(desired: Desired, *, disruptions: int) -> Manifest:
    """Return the budget. An unready pod may always be evicted: keeping it protects nothing and would block a drain."""
    spec = {
        "maxUnavailable": disruptions,
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
        "selector": {"matchLabels": labels.selector(desired.workload)},
    }
    return manifest(desired, api_version="policy/v1", kind="PodDisruptionBudget", name=desired.workload, spec=spec)
