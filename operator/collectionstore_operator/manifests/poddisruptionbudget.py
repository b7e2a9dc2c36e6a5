"""How many members a drain may take; the planner computes it from the voters there are, not from those wanted."""

from __future__ import annotations

from collectionstore_operator.manifests.manifest import Manifest, manifest
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import Desired


def build(desired: Desired, *, disruptions: int) -> Manifest:
    """Return the budget. A pod that is not ready may always be evicted: it protects nothing and would block a drain."""
    spec = {
        "maxUnavailable": disruptions,
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
        "selector": {"matchLabels": labels.selector(desired.name)},
    }
    return manifest(desired, api_version="policy/v1", kind="PodDisruptionBudget", name=desired.name, spec=spec)
