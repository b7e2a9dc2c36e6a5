"""The PodMonitor for the Prometheus Operator; created only if spec.monitoring.podMonitor is Enabled."""

from __future__ import annotations

from typing import Final

from collectionstore_operator.manifests.access import monitor
from collectionstore_operator.manifests.manifest import Body, Manifest, manifest
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import Desired

RELABELINGS: Final[tuple[Body, ...]] = (
    {"sourceLabels": ["__meta_kubernetes_pod_label_app_kubernetes_io_instance"], "targetLabel": "cluster"},
    {"sourceLabels": ["__meta_kubernetes_pod_name"], "targetLabel": "instance"},
    {"targetLabel": "job", "replacement": "collectionstore-node"},
)
"""Labels by which dashboards and alerts distinguish clusters and members; Prometheus adds the namespace itself."""


def build(desired: Desired) -> Manifest:
    """Return the PodMonitor. It selects pods, not a Service, because unready members must be scraped, too."""
    monitoring = desired.spec.monitoring
    spec = {
        "selector": {"matchLabels": labels.selector(desired.workload)},
        "podMetricsEndpoints": [
            {
                "port": "metrics",
                "path": "/metrics",
                "interval": f"{monitoring.interval_seconds}s",
                **(monitor.scraping(desired) if monitoring.secured else {}),
                "relabelings": _relabelings(desired),
            }
        ],
    }
    return manifest(
        desired,
        api_version="monitoring.coreos.com/v1",
        kind="PodMonitor",
        name=desired.workload,
        spec=spec,
        further_labels=monitoring.labels,
    )


def _relabelings(desired: Desired) -> list[Body]:
    """Return the relabelings; read replicas are an instance of their own, and belong to the same cluster."""
    if desired.group == "voters":
        return list(RELABELINGS)
    return [{"targetLabel": "cluster", "replacement": desired.name}, *RELABELINGS[1:]]
