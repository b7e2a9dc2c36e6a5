"""What the status says of each member: its role, its node, its volume, and why it is unhealthy. Pure."""

from __future__ import annotations

from collectionstore_operator.manifests.node_environment import revision
from collectionstore_operator.model.assessment import (
    Assessment,
    MemberView,
    coarse_lag,
    one_digit,
    responding_node,
    unhealthy_reason,
)
from collectionstore_operator.model.fences import is_fenced
from collectionstore_operator.model.observed import (
    Absent,
    NodeStatus,
    Pod,
    Slot,
    Unknown,
    Volume,
)
from collectionstore_operator.model.timestamps import rfc3339
from collectionstore_operator.status.published import MemberStatus, shortened


def member_status(assessment: Assessment, slot: Slot, unhealthy_since: str) -> MemberStatus:
    """Return what is published of the member in a slot."""
    name, pod = assessment.name(slot.ordinal), slot.pod if isinstance(slot.pod, Pod) else None
    node = responding_node(slot, assessment.observed.cluster_id)
    members = assessment.view.members_at(slot.ordinal)
    member = assessment.view.member(node.node_id) if node else next(iter(members), None)
    shown = min(node.tls.certificates(), key=lambda one: one.not_after) if node and node.tls else None
    expiry = shown.not_after if shown else node.certificate_not_after if node else 0.0
    return MemberStatus(
        name=name,
        ordinal=slot.ordinal,
        pod_uid=pod.uid if pod else "",
        node_id=node.node_id if node else member.node_id if member else "",
        role=_role(assessment, member),
        group=assessment.desired.group,
        staleness_seconds=_staleness_s(node),
        ready=pod.ready if pod else False,
        lag=coarse_lag(member.lag if member else None),
        version=node.version if node else "",
        updated=pod is not None and pod.revision == revision(assessment.desired),
        restarts=pod.restarts if pod else 0,
        volume=slot.volume.name if isinstance(slot.volume, Volume) else "",
        capacity=slot.volume.capacity_bytes if isinstance(slot.volume, Volume) else 0,
        certificate_expires=rfc3339(expiry) if expiry else "",
        certificate_serial=shown.serial if shown else "",
        certificate_authority=shown.authority if shown else "",
        address=pod.http_address if pod else "",
        unhealthy_since=unhealthy_since,
        message=shortened(_message(assessment, slot, name)),
    )


def _role(assessment: Assessment, member: MemberView | None) -> str:
    configuration = assessment.view.configuration
    if not configuration.voters and assessment.view.initialized:
        return "Unknown"
    if member is None:
        return "None"
    if assessment.view.is_leader(member.node_id):
        return "Leader"
    if member.node_id in configuration.learners:
        return "ReadReplica" if assessment.desired.group == "reads" else "Learner"
    if not configuration.joint or (member.node_id in configuration.voters and member.node_id in configuration.outgoing):
        return "Voter"
    return "Incoming" if member.node_id in configuration.voters else "Outgoing"


def _staleness_s(node: NodeStatus | None) -> int:
    """Return a staleness above the bound of the node, coarse: it grows with every second."""
    if node is None or node.staleness_ms is None or node.staleness_ms <= (node.staleness_max_ms or 0):
        return 0
    return one_digit(node.staleness_ms // 1_000)


def _message(assessment: Assessment, slot: Slot, name: str) -> str:
    if slot.ordinal in assessment.desired_ordinals():
        kept = slot.pod.gated if isinstance(slot.pod, Pod) else isinstance(slot.pod, Absent)
        if kept and is_fenced(assessment.desired, name):
            return "fenced: it is kept from running, with its volume"
        if kept and assessment.desired.spec.asleep:
            return "hibernated: it is kept from running, with its volume"
        return unhealthy_reason(slot, name, assessment.observed.cluster_id)
    if isinstance(slot.pod, Pod | Unknown):
        return "no longer part of the desired state"
    return (
        "removed from the cluster, its volume is retained"
        if isinstance(slot.volume, Volume) and slot.volume.removed
        else ""
    )
