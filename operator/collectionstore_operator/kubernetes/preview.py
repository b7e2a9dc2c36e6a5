"""What the operator would do after a change of a resource, from objects that another program has read: JSON to JSON.

`csctl plan` finds `preview_change` by its entry point, reads the objects as its user, and shows the steps: the planner
is the operator's own, and nothing is written. The user may read neither the keys of the cluster nor the objects of the
operator, so these are taken to be as the operator left them: `ASSUMED` says so beside the steps. Nor the record of the
cluster: one that is hibernated, or being recovered, is refused, because what follows rests on what is recorded.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import msgspec

from collectionstore_operator import manifests
from collectionstore_operator.errors import InvalidResource
from collectionstore_operator.kubernetes import claims
from collectionstore_operator.kubernetes.children import read_workload
from collectionstore_operator.kubernetes.pods import read_pod, unready_since
from collectionstore_operator.model.assessment import assess
from collectionstore_operator.model.observed import (
    ABSENT,
    Absent,
    AppliedObject,
    NodeStatus,
    Observed,
    PublishedIdentity,
    Replicas,
    Slot,
    Unknown,
)
from collectionstore_operator.model.restore import restoring
from collectionstore_operator.planning import read_replicas
from collectionstore_operator.planning.disruption_budget import max_unavailable
from collectionstore_operator.planning.plan import plan
from collectionstore_operator.resource.desired import Desired, parse
from collectionstore_operator.status.hibernated import HIBERNATED
from collectionstore_operator.status.preview import preview
from collectionstore_operator.status.published import Status
from collectionstore_operator.status.recovery_status import lost_since

ASSUMED: Final = (
    "certificates are valid, and the operator's objects are as it left them",
    "every Kubernetes node works",
    "no replacement of a member is under way",
)
UNREAD_READS: Final = "read replicas, which were not read, are none"
_RECOVERING: Final = ("Stopping", "SettingAside", "Forming")
_RESTORING: Final = ("Halting", "Emptying", "Restoring")
NEW_CLUSTER: Final = "new"
"""Stands for the ID that a new cluster gets, so that the steps after it can be shown."""

Body = Mapping[str, Any]


def preview_change(request: Body) -> dict[str, Any]:
    """Return the steps that follow from a change, as JSON.

    `request` has `now` (Unix seconds), `proposed` (the resource as it would be), and of a cluster that exists
    `resource` (as it is), `workload` (the StatefulSet or None), `pods`, `claims`, of the read replicas `reads` with the
    same three, and `answers`: by the name of the member what `GET /status` answered, or `{"error": reason}`.

    The result has `steps`, `assumed`, and `errors`: of an invalid resource every error, or why there is no preview,
    each with what is allowed.
    """
    try:
        desired = parse(request["proposed"])
    except InvalidResource as error:
        errors = [{"path": one.path, "message": one.message, "allowed": one.allowed} for one in error.errors]
        return {"steps": [], "assumed": [], "errors": errors}
    if unknown := _unforeseeable(request.get("resource")):
        return {"steps": [], "assumed": [], "errors": [unknown]}
    observed = _observed(request, desired)
    steps = list(msgspec.to_builtins(preview(plan(assess(desired, observed)))))
    unread = request.get("resource") is not None and request.get("reads") is None
    return {"steps": steps, "assumed": [*ASSUMED, *([UNREAD_READS] if unread else [])], "errors": []}


def _unforeseeable(resource: Body | None) -> dict[str, str] | None:
    """Return why the record of a cluster, which is not read, decides what follows; None if it does not."""
    status = _status(resource or {})
    name = (resource or {}).get("metadata", {}).get("name", "")
    sleep = status.condition(HIBERNATED)
    if sleep is not None and sleep.reason != "Preparing":
        return {
            "path": f"status.conditions[{HIBERNATED}]",
            "message": f"{name} is stopped or starts ({sleep.reason}): what it had is recorded where this cannot look",
            "allowed": "a cluster whose members run: wake it first (spec.hibernate), or apply without a preview",
        }
    if status.recovery.phase in _RECOVERING:
        return {
            "path": "status.recovery.phase",
            "message": f"{name} is being recovered ({status.recovery.phase}): no other change is made meanwhile",
            "allowed": "a cluster without a recovery under way: wait for the phase Finished",
        }
    if status.restore.phase in _RESTORING:
        return {
            "path": "status.restore.phase",
            "message": f"{name} is being restored ({status.restore.phase}): no other change is made meanwhile",
            "allowed": "a cluster without a restore under way: wait for the phase Finished",
        }
    return None


def _observed(request: Body, desired: Desired) -> Observed:
    resource = request.get("resource")
    if resource is None:
        return Observed(now=request["now"], cluster_id=NEW_CLUSTER, finalizer=True, objects=())
    status = _status(resource)
    slots = _slots(request, request, desired)
    reads = _reads(request, desired)
    nodes = [slot.node for slot in (*slots, *(reads.slots if reads else ())) if isinstance(slot.node, NodeStatus)]
    seen = Observed(
        now=request["now"],
        cluster_id=status.cluster_id,
        initialized=status.initialized,
        initialized_recorded=status.initialized,
        bootstrap_node=status.bootstrap_node,
        finalizer=True,
        published=PublishedIdentity(
            cluster_id=status.cluster_id, initialized=status.initialized, bootstrap_node=status.bootstrap_node
        ),
        volume_cluster_ids=claims.cluster_ids(request["claims"]),
        stamps_volumes=True,
        # That of the operator at work: only it knows, and the nodes follow it.
        epoch=max((node.epoch for node in nodes), default=0),
        quorum_lost_since=lost_since(status.recovery),
        peer_authority_recorded=bool(status.peer_authority.key),
        workload=read_workload(request["workload"], desired),
        slots=slots,
        reads=reads,
    )
    return msgspec.structs.replace(seen, objects=_objects(resource, seen))


def _reads(request: Body, desired: Desired) -> Replicas | None:
    """Return the read replicas; None if there is nothing of them, and none are desired."""
    part, group = request.get("reads"), desired.reads()
    if part is None or not (desired.spec.has_read_replicas or part["workload"] or part["pods"] or part["claims"]):
        return None
    return Replicas(workload=read_workload(part["workload"], group), slots=_slots(request, part, group))


def _status(resource: Body) -> Status:
    """Return the published status; an empty one where another version wrote it unreadably."""
    try:
        return msgspec.convert(resource.get("status") or {}, Status)
    except msgspec.ValidationError:
        return Status()


def _objects(resource: Body, seen: Observed) -> tuple[AppliedObject, ...]:
    """Return the objects that the operator has made of the resource as it is now."""
    try:
        present = parse(resource)
    except InvalidResource:
        # The operator has not accepted it: its objects are those of an earlier one, and cannot be told.
        return ()
    assessment = assess(present, seen)
    restore = restoring(seen)
    made = manifests.build(present, disruptions=max_unavailable(assessment), restore=restore)
    reads = assessment.reads()
    if reads is not None and not isinstance(reads.observed.workload, Absent):
        budget = read_replicas.max_unavailable(reads)
        made += manifests.build(reads.desired, disruptions=budget, restore=restore)
    return tuple(AppliedObject(kind=one.kind, name=one.name, digest=one.digest, live=one.body) for one in made)


def _slots(request: Body, part: Body, desired: Desired) -> tuple[Slot, ...]:
    """Return the slots of a group, whose `part` of the request has its pods, claims and workload."""
    pods = {desired.ordinal(one["metadata"]["name"]): one for one in part["pods"]}
    claimed = {claims.ordinal_of(desired, one["metadata"]["name"]): one for one in part["claims"]}
    replicas = (part["workload"] or {}).get("spec", {}).get("replicas") or 0
    ordinals = sorted({one for one in (*pods, *claimed, *range(replicas)) if one is not None})
    return tuple(_slot(ordinal, pods.get(ordinal), claimed.get(ordinal), request, desired) for ordinal in ordinals)


def _slot(ordinal: int, pod: Body | None, claim: Body | None, request: Body, desired: Desired) -> Slot:
    cluster_id = _status(request["resource"]).cluster_id
    seen = None
    if pod is not None:
        seen = read_pod(
            pod,
            desired,
            unready_s=_told_s(unready_since(pod, frozenset()), request["now"]),
            lost_machines=frozenset(),
            restart_reason=claims.restart_reason(claim, _told_s(claims.awaits_file_system(claim), request["now"])),
            claim_deleting=claims.is_deleting(claim),
        )
    volume = claims.read_claim(claim, pod, cluster_id, {}) if claim is not None else ABSENT
    return Slot(
        ordinal=ordinal,
        pod=seen or ABSENT,
        node=_answer(request["answers"].get(desired.member(ordinal))),
        volume=volume,
        pending_reason=claims.pending_reason(claim, {}),
    )


def _told_s(state: str, now: float) -> float:
    """Return for how long a state lasts by the time in it: there is one look only, of which nothing follows."""
    began = state.partition(" ")[2]
    return max(0.0, now - datetime.fromisoformat(began).timestamp()) if began else 0.0


def _answer(answer: Body | None) -> NodeStatus | Unknown:
    if answer is None:
        return Unknown("its pod does not run")
    if "error" in answer:
        return Unknown(str(answer["error"]))
    try:
        return msgspec.convert(answer, NodeStatus)
    except msgspec.ValidationError as error:
        return Unknown(f"its status is not understood: {error}")
