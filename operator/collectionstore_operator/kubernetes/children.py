"""The StatefulSet and the other objects of a cluster: read them as they are, apply and delete what is ours.

Every write is preceded by a read of the object, is refused when the object belongs to another owner, and carries the
uid and the version that were read: what is changed between the two is never overwritten unseen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, NamedTuple

from collectionstore_operator import faults, manifests
from collectionstore_operator.errors import ActionRefused
from collectionstore_operator.kubernetes import by_name
from collectionstore_operator.kubernetes.api import AlreadyExists, Body, Kind, Kube
from collectionstore_operator.kubernetes.api.reader import Reader
from collectionstore_operator.kubernetes.claims import claim_name, requested_bytes
from collectionstore_operator.kubernetes.ownership import foreign, preconditions, require_ours
from collectionstore_operator.manifests import drift, managed_fields, statefulset
from collectionstore_operator.manifests.manifest import Manifest
from collectionstore_operator.manifests.node_environment import revision as manifest_revision
from collectionstore_operator.model.actions import (
    ApplyObject,
    DeleteObject,
    EnsureWorkload,
    ReleasePod,
    ReplaceWorkload,
    RestoreLabels,
    ScaleWorkload,
)
from collectionstore_operator.model.observed import ABSENT, Absent, AppliedObject, ForeignObject, Unknown, Workload
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.access.names import USER_KIND, monitor
from collectionstore_operator.resource.bootstrap import Source
from collectionstore_operator.resource.desired import Desired

WORKLOAD: Final = "StatefulSet"
_TEMPLATE: Final = "controller-revision-hash"
"""Label of the StatefulSet controller on its pods: the ControllerRevision with their template."""
KINDS: Final = {
    WORKLOAD: Kind.STATEFUL_SET,
    "ServiceAccount": Kind.SERVICE_ACCOUNT,
    "Service": Kind.SERVICE,
    "PodDisruptionBudget": Kind.POD_DISRUPTION_BUDGET,
    "NetworkPolicy": Kind.NETWORK_POLICY,
    "PodMonitor": Kind.POD_MONITOR,
    USER_KIND: Kind.USER,
}


class Found(NamedTuple):
    """The objects under the names of a cluster: those that belong to it, and those of others in the way."""

    objects: tuple[AppliedObject, ...]
    foreign: tuple[ForeignObject, ...]
    workload: Workload | Absent | Unknown
    workload_body: Body | None


class Children:
    """The objects of one cluster. Remembers what admission makes of our applies, or they would be repeated for ever."""

    def __init__(self, kube: Kube, reads: Reader | None = None) -> None:
        """`reads` is for observations; writes begin with the newest state."""
        self._kube = kube
        self._reads = reads or kube
        self._templates: dict[str, Body] = {}
        self._admitted: dict[tuple[str, str], tuple[str, dict[str, str]]] = {}

    async def read(self, desired: Desired) -> Found:
        """Return the objects under the names of the cluster; by name, since labels can be changed."""
        names = ((WORKLOAD, desired.workload), *manifests.names(desired))
        # None also for a kind whose CustomResourceDefinition is not installed, so that no object of it can exist.
        reads, namespace = self._reads, desired.namespace
        bodies = await asyncio.gather(*(reads.find(KINDS[kind], name, namespace) for kind, name in names))
        required, ours, others = manifests.required(desired), [], []
        for (kind, name), body in zip(names, bodies, strict=True):
            owner = None if body is None else foreign(kind, body, desired)
            if body is not None and owner is None:
                ours.append(self._applied(kind, name, body))
            elif owner is not None and (kind == WORKLOAD or (kind, name) in required):
                others.append(owner)
        return Found(tuple(ours), tuple(others), read_workload(bodies[0], desired), bodies[0])

    async def deviating(self, pods: Sequence[Body], workload: Body | None, desired: Desired) -> frozenset[str]:
        """Return the names of pods that were created while somebody had changed the pod template.

        They carry the desired revision, and run something else. The controller records the template of each pod; it is
        read for pods of another template than the present one only, and never changes.
        """
        present = (workload or {}).get("status", {}).get("updateRevision")
        hashes = {one["metadata"]["name"]: (one["metadata"].get("labels") or {}).get(_TEMPLATE, "") for one in pods}
        sought = {one for one in hashes.values() if one and one != present}
        self._templates = {name: one for name, one in self._templates.items() if name in sought}
        for name in sorted(sought - self._templates.keys()):
            found = await self._reads.find(Kind.CONTROLLER_REVISION, name, desired.namespace)
            if found is not None:
                self._templates[name] = found.get("data", {}).get("spec", {}).get("template") or {}
        current = manifest_revision(desired)
        wrong = {
            name
            for name, template in self._templates.items()
            if (template.get("metadata", {}).get("annotations") or {}).get(labels.REVISION) == current
            and not statefulset.starts_as_required(template, desired)
        }
        return frozenset(name for name, one in hashes.items() if one in wrong)

    async def apply(self, action: ApplyObject, desired: Desired, restore: Source | None = None) -> None:
        """Apply one object from its manifest. Raises ActionRefused when the digest is not the planned one."""
        for manifest in manifests.build(desired, disruptions=action.max_unavailable, restore=restore):
            if (manifest.kind, manifest.name, manifest.digest) == (action.kind, action.name, action.digest):
                await self._apply(manifest, desired)
                return
        raise ActionRefused(f"the manifest of {action.kind} {action.name} differs from the planned one")

    async def delete(self, action: DeleteObject, desired: Desired) -> None:
        """Delete one object of an optional kind, or of read replicas. Raises ActionRefused for any other one."""
        if action.kind not in manifests.OPTIONAL and desired.group == "voters":
            raise ActionRefused(f"a {action.kind} stays as long as its cluster")
        found = await self._find(action.kind, action.name, desired)
        if found is None:
            return
        if action.kind == WORKLOAD and found["spec"].get("replicas", 1):
            raise ActionRefused(f"the StatefulSet {action.name} has pods")
        require_ours(action.kind, found, desired)
        if action.kind == "PodMonitor":
            # BEFORE the PodMonitor: without it nothing would say that there is one.
            await self._delete_monitor(desired)
        uid = found["metadata"]["uid"]
        await self._kube.delete(KINDS[action.kind], action.name, desired.namespace, uid=uid)

    async def _delete_monitor(self, desired: Desired) -> None:
        """Delete the user that scrapes metrics, if there is one of ours; its Secret and its token go with it."""
        found = await self._kube.find(Kind.USER, monitor(desired.name), desired.namespace)
        if found is not None and foreign(USER_KIND, found, desired) is None:
            uid = found["metadata"]["uid"]
            await self._kube.delete(Kind.USER, monitor(desired.name), desired.namespace, uid=uid)

    async def ensure_workload(
        self,
        action: EnsureWorkload,
        desired: Desired,
        *,
        cluster_id: str,
        recover: str = "",
        restore: Source | None = None,
        access: str = "",
    ) -> None:
        """Apply the StatefulSet with `action.replicas`; one that exists keeps its immutable fields."""
        built = statefulset.build(
            desired,
            cluster_id=cluster_id,
            replicas=action.replicas,
            recover=recover,
            restore=restore,
            access=access,
        )
        await self._apply(built, desired)

    async def scale_workload(self, action: ScaleWorkload, desired: Desired) -> None:
        """Change the replicas of the StatefulSet alone. Raises ActionRefused if it has others than were observed."""
        found = await self._find(WORKLOAD, desired.name, desired)
        seen = read_workload(found, desired)
        if found is not None and isinstance(seen, Workload) and seen.replicas == action.replicas:
            return
        if found is None or not isinstance(seen, Workload) or seen.replicas != action.was:
            raise ActionRefused(f"the StatefulSet {desired.name} has changed since it was observed")
        body = {"metadata": preconditions(found), "spec": {"replicas": action.replicas}}
        await self._kube.patch(Kind.STATEFUL_SET, desired.name, desired.namespace, body)

    async def gate_workload(self, desired: Desired) -> None:
        """Give the pod template our scheduling gate. Raises ActionRefused if the StatefulSet is not ours."""
        found = await self._find(WORKLOAD, desired.name, desired)
        if found is None or not isinstance(read_workload(found, desired), Workload):
            raise ActionRefused(f"the StatefulSet {desired.name} has changed since it was observed")
        # Another digest: until the manifest is applied again, this is not what it says.
        metadata = {**preconditions(found), "annotations": {labels.DIGEST: "gated"}}
        template = {"spec": {"schedulingGates": [{"name": labels.GATE}]}}
        body = {"metadata": metadata, "spec": {"template": template}}
        await self._kube.patch(Kind.STATEFUL_SET, desired.name, desired.namespace, body)

    async def release_pod(self, action: ReleasePod, desired: Desired) -> None:
        """Remove our scheduling gate from a pod, and leave those of others. Raises ActionRefused for another pod.

        For a pod that waits to be restored the claim is the one that was recorded, as it is now.
        """
        found = await self._kube.get(Kind.POD, action.name, desired.namespace)
        if found["metadata"]["uid"] != action.uid:
            raise ActionRefused(f"the pod {action.name} is another one than was observed")
        gate = labels.GATE
        if action.claim_uid:
            gate = labels.RESTORE_GATE
            claim = await self._kube.get(
                Kind.PERSISTENT_VOLUME_CLAIM, claim_name(desired, action.ordinal), desired.namespace
            )
            if claim["metadata"]["uid"] != action.claim_uid or "deletionTimestamp" in claim["metadata"]:
                raise ActionRefused(f"the claim of {action.name} is not the one on which it is to be restored")
        gates = [one for one in found["spec"].get("schedulingGates") or () if one.get("name") != gate]
        body = {"metadata": preconditions(found), "spec": {"schedulingGates": gates}}
        await self._kube.patch(Kind.POD, action.name, desired.namespace, body)

    async def release_workload(self, action: ReplaceWorkload, desired: Desired) -> None:
        """Delete the StatefulSet and orphan its pods, which the next one of this name adopts. Raises ActionRefused."""
        found = await self._find(WORKLOAD, desired.workload, desired)
        seen = read_workload(found, desired)
        if found is None or not isinstance(seen, Workload) or seen.replicas != action.replicas:
            raise ActionRefused(f"the StatefulSet {desired.workload} has changed since it was observed")
        metadata = found["metadata"]
        await self._kube.delete(
            Kind.STATEFUL_SET,
            desired.workload,
            desired.namespace,
            uid=metadata["uid"],
            resource_version=metadata["resourceVersion"],
            orphan=True,
        )

    async def restore_labels(self, action: RestoreLabels, desired: Desired) -> None:
        """Set our labels on a pod or a claim again. Raises ActionRefused when it is another object, or of others."""
        kind = Kind.POD if action.kind == "Pod" else Kind.PERSISTENT_VOLUME_CLAIM
        found = await self._kube.get(kind, action.name, desired.namespace)
        if found["metadata"]["uid"] != action.uid:
            raise ActionRefused(f"the {action.kind} {action.name} is another one than was observed")
        workload = await self._find(WORKLOAD, desired.workload, desired)
        if other := by_name.other_controller(action.kind, found, desired, workload):
            raise ActionRefused(f"the {action.kind} {action.name} belongs to {other.owner}")
        metadata: Body = {**preconditions(found), "labels": desired.object_labels}
        if kind is Kind.PERSISTENT_VOLUME_CLAIM:
            metadata |= {"labels": statefulset.claim_labels(desired)}
            metadata |= {"annotations": desired.spec.storage.annotations or {}}
        await self._kube.patch(kind, action.name, desired.namespace, {"metadata": metadata})

    async def _find(self, kind: str, name: str, desired: Desired) -> Body | None:
        return await self._kube.find(KINDS[kind], name, desired.namespace)

    async def _apply(self, manifest: Manifest, desired: Desired) -> None:
        found = await self._find(manifest.kind, manifest.name, desired)
        if found is None:
            try:
                # Created, not applied: an apply would take over what somebody has created since the read.
                answer = await self._kube.create(manifest.body)
            except AlreadyExists:
                found = await self._kube.get(KINDS[manifest.kind], manifest.name, desired.namespace)
        if found is not None:
            answer = await self._change(manifest, found, desired)
        left = drift.differences(manifest.body, answer, ignored=_ignored(manifest.kind))
        self._admitted[manifest.kind, manifest.name] = (manifest.digest, {one.shown: one.value for one in left})

    async def _change(self, manifest: Manifest, found: Body, desired: Desired) -> Body:
        require_ours(manifest.kind, found, desired)
        if "deletionTimestamp" in found["metadata"]:
            raise ActionRefused(f"the {manifest.kind} {manifest.name} is being deleted")
        applied = managed_fields.as_applied(found)
        if applied is not None:
            # BEFORE the apply, which removes only what an apply has set: a field that is gone from the spec would stay.
            marks = {**preconditions(found), "managedFields": applied}
            found = await self._kube.patch(KINDS[manifest.kind], manifest.name, desired.namespace, {"metadata": marks})
            faults.reach("ApplyObject.adopted")
        body = {**manifest.body, "metadata": {**manifest.body["metadata"], **preconditions(found)}}
        if manifest.kind == WORKLOAD:
            kept = {key: found["spec"][key] for key in statefulset.IMMUTABLE if key in found["spec"]}
            body["spec"] = {**body["spec"], **kept}
        admitted = self._admitted_of(manifest.kind, manifest.name, manifest.digest)
        differing = drift.differences(body, found, admitted=admitted, ignored=_ignored(manifest.kind))
        cleaned = drift.without_additions(found, differing)
        if cleaned is not None:
            # An apply leaves alone what other managers own: their additions are removed by an update BEFORE it.
            await self._kube.replace(cleaned)
            faults.reach("ApplyObject.cleaned")
            # The uid alone from here on: a controller writes the status meanwhile, and an apply refused for that would
            # leave the drift corrected without an Event.
            del body["metadata"]["resourceVersion"]
        return await self._kube.apply(body)

    def _applied(self, kind: str, name: str, body: Body) -> AppliedObject:
        digest = (body["metadata"].get("annotations") or {}).get(labels.DIGEST, "")
        return AppliedObject(
            kind=kind, name=name, digest=digest, live=body, admitted=self._admitted_of(kind, name, digest)
        )

    def _admitted_of(self, kind: str, name: str, digest: str) -> dict[str, str]:
        known, fields = self._admitted.get((kind, name), ("", {}))
        return fields if known == digest else {}


def read_workload(found: Body | None, desired: Desired) -> Workload | Absent | Unknown:
    """Return a StatefulSet as the workload; one that belongs to another owner is Unknown."""
    if found is None:
        return ABSENT
    other = foreign(WORKLOAD, found, desired)
    if other is not None:
        return Unknown(f"the StatefulSet {desired.workload} belongs to {other.owner}")
    if "deletionTimestamp" in found["metadata"]:
        return Unknown(f"the StatefulSet {desired.workload} is being deleted")
    template = found["spec"]["template"]["metadata"].get("annotations") or {}
    gates = found["spec"]["template"].get("spec", {}).get("schedulingGates") or ()
    sizes = [requested_bytes(claim) for claim in found["spec"].get("volumeClaimTemplates") or ()]
    return Workload(
        replicas=found["spec"].get("replicas", 1),
        revision=template.get(labels.REVISION, ""),
        gated=any(one.get("name") == labels.GATE for one in gates),
        settled=found.get("status", {}).get("observedGeneration", 0) >= found["metadata"].get("generation", 0),
        volume_bytes=sizes[0] if sizes else None,
    )


def _ignored(kind: str) -> tuple[str, ...]:
    return statefulset.IMMUTABLE if kind == WORKLOAD else ()
