"""The Kubernetes objects of a cluster: one builder per kind, each a pure function of the resource.

`build` returns the objects that depend on the resource, and on a restore that is under way. `statefulset.build` takes
the number of replicas from the plan, because it can differ from spec.replicas.
"""

from __future__ import annotations

from typing import Final

from collectionstore_operator.manifests import networkpolicy, poddisruptionbudget, podmonitor, serviceaccount, services
from collectionstore_operator.manifests.access import monitor
from collectionstore_operator.manifests.manifest import Manifest
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.access import names as access_names
from collectionstore_operator.resource.bootstrap import Source
from collectionstore_operator.resource.desired import Desired

__all__ = ["OPTIONAL", "Manifest", "build", "names", "names_of_reads", "required"]

OPTIONAL: Final = ("NetworkPolicy", "PodMonitor", access_names.USER_KIND)
"""Kinds that are deleted when the resource no longer requires them; all others exist as long as the cluster."""


def names(desired: Desired) -> tuple[tuple[str, str], ...]:
    """Return kind and name of every object that a cluster can have, except the StatefulSet."""
    # Read replicas are scraped by the same user as the voters. It goes with the PodMonitor (`children.delete`).
    scraped = desired.group == "voters" and desired.spec.monitoring.pod_monitor == "Enabled"
    user = ((access_names.USER_KIND, access_names.monitor(desired.name)),) if scraped else ()
    return (
        ("ServiceAccount", labels.service_account(desired.name)),
        *_of_group(desired),
        *user,
    )


def names_of_reads(desired: Desired) -> tuple[tuple[str, str], ...]:
    """Return kind and name of every object that only read replicas need, except their StatefulSet."""
    return _of_group(desired.reads())


def _of_group(desired: Desired) -> tuple[tuple[str, str], ...]:
    return (
        ("Service", labels.client_service(desired.workload)),
        ("Service", labels.peer_service(desired.workload)),
        ("PodDisruptionBudget", desired.workload),
        ("NetworkPolicy", labels.network_policy(desired.workload)),
        ("PodMonitor", desired.workload),
    )


def required(desired: Desired) -> frozenset[tuple[str, str]]:
    """Return kind and name of the objects that the resource requires, except the StatefulSet."""
    return frozenset((one.kind, one.name) for one in build(desired, disruptions=0))


def build(desired: Desired, *, disruptions: int | None, restore: Source | None = None) -> tuple[Manifest, ...]:
    """Return the objects of a group but its StatefulSet. Without `disruptions` its budget stays as it is.

    `restore` is what the first member is being made of, as recorded.
    """
    objects = [services.client(desired), services.peers(desired)]
    if desired.group == "voters":
        objects.insert(0, serviceaccount.build(desired))
    if disruptions is not None:
        objects.append(poddisruptionbudget.build(desired, disruptions=disruptions))
    if desired.spec.network_policy.mode == "Enabled":
        objects.append(networkpolicy.build(desired, restore))
    if desired.spec.monitoring.pod_monitor == "Enabled":
        objects.append(podmonitor.build(desired))
        if desired.spec.monitoring.secured and desired.group == "voters":
            objects.append(monitor.build(desired))
    return tuple(objects)
