"""The Kubernetes objects of a cluster: one builder per kind, each a pure function of the resource.

`build` returns the objects that depend on the resource alone. `statefulset.build` takes the number of replicas from the
plan, because it can differ from spec.replicas.
"""

from __future__ import annotations

from typing import Final

from collectionstore_operator.manifests import poddisruptionbudget, podmonitor, serviceaccount, services
from collectionstore_operator.manifests.manifest import Manifest
from collectionstore_operator.resource.desired import Desired

__all__ = ["OPTIONAL", "Manifest", "build"]

OPTIONAL: Final = ("PodMonitor",)
"""Kinds that are deleted when the resource no longer requires them; all others exist as long as the cluster."""


def build(desired: Desired, *, disruptions: int | None) -> tuple[Manifest, ...]:
    """Return all objects except the StatefulSet. Without `disruptions` the PodDisruptionBudget is left unchanged."""
    objects = [serviceaccount.build(desired), services.client(desired), services.peers(desired)]
    if disruptions is not None:
        objects.append(poddisruptionbudget.build(desired, disruptions=disruptions))
    if desired.spec.monitoring.pod_monitor == "Enabled":
        objects.append(podmonitor.build(desired))
    return tuple(objects)
