"""The Kubernetes objects of a cluster: one builder per kind, each a pure function of the resource.

`build` returns what is simply applied; the StatefulSet is made by `statefulset.build` for the number of pods that the
plan asks for, since that is not always the number the resource asks for.
"""

from __future__ import annotations

from typing import Final

from collectionstore_operator.manifests import poddisruptionbudget, podmonitor, serviceaccount, services
from collectionstore_operator.manifests.manifest import Manifest
from collectionstore_operator.resource.desired import Desired

__all__ = ["OPTIONAL", "Manifest", "build"]

OPTIONAL: Final = ("PodMonitor",)
"""Kinds that a resource may ask for and later not any more; all others stay as long as their cluster."""


def build(desired: Desired, *, disruptions: int | None) -> tuple[Manifest, ...]:
    """Return all objects but the StatefulSet. Without `disruptions` the PodDisruptionBudget stays as it is."""
    objects = [serviceaccount.build(desired), services.client(desired), services.peers(desired)]
    if disruptions is not None:
        objects.append(poddisruptionbudget.build(desired, disruptions=disruptions))
    if desired.spec.monitoring.pod_monitor == "Enabled":
        objects.append(podmonitor.build(desired))
    return tuple(objects)
