"""The Kubernetes objects of a cluster: one builder per kind, each a pure function of the resource.

`build` returns what is simply applied; the StatefulSet is made by `statefulset.build` for the number of pods that the
plan asks for, since that is not always the number the resource asks for.
"""

from __future__ import annotations

from collectionstore_operator.manifests import poddisruptionbudget, services
from collectionstore_operator.manifests.manifest import Manifest
from collectionstore_operator.resources import Desired

__all__ = ["Manifest", "build"]


def build(desired: Desired, *, disruptions: int | None) -> tuple[Manifest, ...]:
    """Return all objects but the StatefulSet. Without `disruptions` the PodDisruptionBudget stays as it is."""
    objects = [services.client(desired), services.peers(desired)]
    if disruptions is not None:
        objects.append(poddisruptionbudget.build(desired, disruptions=disruptions))
    return tuple(objects)
