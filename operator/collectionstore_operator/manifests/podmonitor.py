"""How a Prometheus of the Prometheus operator finds the members; made only where the resource asks for it."""

from __future__ import annotations

from typing import Final

from collectionstore_operator.manifests.manifest import Manifest, manifest
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import Desired

RELABELINGS: Final = (
    {"sourceLabels": ["__meta_kubernetes_pod_label_app_kubernetes_io_instance"], "targetLabel": "cluster"},
    {"sourceLabels": ["__meta_kubernetes_pod_name"], "targetLabel": "instance"},
    {"targetLabel": "job", "replacement": "collectionstore-node"},
)
"""The labels by which dashboards and alerts tell clusters and members apart; the namespace is there already."""


def build(desired: Desired) -> Manifest:
    """Return the PodMonitor: pods, not a Service, because a member that is not ready is the one to look at."""
    monitoring = desired.spec.monitoring
    spec = {
        "selector": {"matchLabels": labels.selector(desired.name)},
        "podMetricsEndpoints": [
            {
                "port": "metrics",
                "path": "/metrics",
                "interval": f"{monitoring.interval_seconds}s",
                "relabelings": list(RELABELINGS),
            }
        ],
    }
    return manifest(
        desired,
        api_version="monitoring.coreos.com/v1",
        kind="PodMonitor",
        name=desired.name,
        spec=spec,
        further_labels=monitoring.labels,
    )
