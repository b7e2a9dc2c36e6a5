"""The NetworkPolicy of the pods of a backup or a schedule: whether it is as it should be, and how it becomes so.

A cluster's policy can be switched on and off at any time, and the pod of an archive runs for as long as the cluster.
"""

from __future__ import annotations

from collectionstore_operator.errors import ActionRefused
from collectionstore_operator.kubernetes.api import ApiError, Body, Kind, Kube
from collectionstore_operator.manifests.backups.policies import build_policy, policy_name
from collectionstore_operator.manifests.backups.work import Work
from collectionstore_operator.manifests.manifest import Manifest
from collectionstore_operator.model.observed import Unknown
from collectionstore_operator.resource import labels


async def observe_admission(kube: Kube, work: Work) -> bool | Unknown:
    """Return whether nothing is to be done about the policy: one request. A cluster that is gone changes nothing."""
    if work.cluster is None:
        return True
    try:
        found = await kube.find(Kind.NETWORK_POLICY, policy_name(work), work.namespace)
    except ApiError as error:
        return Unknown(str(error))
    return _fits(found, build_policy(work))


async def admit(kube: Kube, work: Work) -> None:
    """Apply the policy, or delete ours where the cluster has none any more. Raises ActionRefused and ApiError."""
    if work.cluster is None:
        return
    wanted, name = build_policy(work), policy_name(work)
    found = await kube.find(Kind.NETWORK_POLICY, name, work.namespace)
    if _fits(found, wanted):
        return
    if found is not None and (found["metadata"].get("labels") or {}).get(labels.CLUSTER) != work.cluster_name:
        raise ActionRefused(f"the NetworkPolicy {name} belongs to another owner: rename or delete it")
    if wanted is not None:
        await kube.apply(wanted.body)
    elif found is not None:
        # It would keep up what was allowed when it was applied.
        await kube.delete(Kind.NETWORK_POLICY, name, work.namespace, uid=found["metadata"]["uid"])


def _fits(found: Body | None, wanted: Manifest | None) -> bool:
    if found is None or wanted is None:
        return found is None and wanted is None
    return (found["metadata"].get("annotations") or {}).get(labels.DIGEST) == wanted.digest
