"""One view of a cluster, reconciled from what its nodes say: who leads, who votes, who can be counted on.

The leader's report counts, because only the leader knows what the others have stored, but only while nothing
contradicts it. While `ClusterView.untrusted_reason` is set, no member is removed, replaced or restarted because of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from collectionstore_operator.model import quorum
from collectionstore_operator.model.actions import MemberRef
from collectionstore_operator.model.observed import (
    Absent,
    Configuration,
    Failure,
    Member,
    NodeId,
    NodeStatus,
    Observed,
    Pod,
    Slot,
    Unknown,
    Volume,
)
from collectionstore_operator.resource.desired import Desired

ACTIVE_WITHIN_MS: Final = 2_000
"""A member that the leader heard within this time lives. Longer than a few heartbeats, since `active` is cleared
whenever the leader counts its quorum and stays so until the next answer."""
LAG_MAX: Final = 500
"""Entries that a member may be behind and still count as caught up. Nodes themselves refuse to promote above 1,000."""


class MemberView(msgspec.Struct, frozen=True, kw_only=True):
    """An incarnation in the configuration. `ordinal` is None when its name is unknown or foreign."""

    node_id: NodeId
    name: str
    ordinal: int | None
    voter: bool
    """In either half of the configuration."""
    recently_active: bool
    """The leader heard from it lately."""
    in_sync: bool
    """Heard, and at most LAG_MAX entries behind: counts towards a quorum."""
    lag: int | None

    def ref(self) -> MemberRef:
        """Return the form in which membership calls name it."""
        return MemberRef(node_id=self.node_id, name=self.name)


class ClusterView(msgspec.Struct, frozen=True, kw_only=True):
    """What the cluster is, as far as its nodes tell."""

    leader: NodeStatus | None
    configuration: Configuration
    """The leader's, or without one the newest that any node reports; empty when nobody answers."""
    members: tuple[MemberView, ...]
    """Every incarnation in the configuration, by ordinal."""
    untrusted_reason: str
    """Why the leader's word cannot be acted on, empty when it can."""
    initialized: bool
    """The cluster has, or has had, data."""
    maybe_initialized: bool
    """It is initialized, or its bootstrap was begun and may have happened: treated as if it had data."""

    @property
    def trusted(self) -> bool:
        """Whether membership may be changed on the strength of this view."""
        return not self.untrusted_reason

    @property
    def in_sync_voters(self) -> frozenset[NodeId]:
        """Return the voters that can be counted on."""
        return frozenset(member.node_id for member in self.members if member.voter and member.in_sync)

    @property
    def fault_tolerance(self) -> int:
        """Return how many more voters may fail now; 0 when nobody leads."""
        return quorum.fault_tolerance(self.configuration, self.in_sync_voters) if self.leader else 0

    def member(self, node_id: NodeId) -> MemberView | None:
        """Return the member of an incarnation, or None when it is not in the configuration."""
        return next((member for member in self.members if member.node_id == node_id), None)

    def members_at(self, ordinal: int) -> tuple[MemberView, ...]:
        """Return the members of an ordinal: usually one, two while a member is being replaced."""
        return tuple(member for member in self.members if member.ordinal == ordinal)

    def is_leader(self, node_id: NodeId) -> bool:
        """Return whether that incarnation leads."""
        return self.leader is not None and self.leader.node_id == node_id


class Assessment(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a decision is made from: the wish, what was seen, and what that says about the cluster."""

    desired: Desired
    observed: Observed
    view: ClusterView

    def desired_ordinals(self) -> range:
        """Return the ordinals that should vote."""
        return range(self.desired.spec.replicas)

    def slots(self) -> tuple[Slot, ...]:
        """Return every ordinal that is wanted or was seen, ascending."""
        seen = {slot.ordinal for slot in self.observed.slots}
        return tuple(self.observed.slot(ordinal) for ordinal in sorted(seen | set(self.desired_ordinals())))

    def name(self, ordinal: int) -> str:
        """Return a member's name."""
        return self.desired.member(ordinal)


def fenced_reason(observed: Observed) -> str:
    """Return why this operator must not act at all, empty when it may: another one, with a higher epoch, has acted."""
    for node in observed.nodes():
        if node.epoch > observed.epoch and node.cluster_id == observed.cluster_id:
            return f"another operator has taken over: {node.name} has seen epoch {node.epoch}, ours is {observed.epoch}"
    return ""


def assess(desired: Desired, observed: Observed) -> Assessment:
    """Reconcile what all nodes say."""
    nodes = [node for node in observed.nodes() if node.cluster_id == observed.cluster_id]
    leader = max((node for node in nodes if node.role == "Leader"), key=lambda node: node.term, default=None)
    configuration = leader.configuration if leader else _newest(nodes)
    initialized = _initialized(observed, nodes)
    view = ClusterView(
        leader=leader,
        configuration=configuration,
        members=_member_views(desired, observed, leader, configuration),
        untrusted_reason="",
        initialized=initialized,
        maybe_initialized=initialized or bool(observed.bootstrap_node),
    )
    untrusted_reason = _untrusted_reason(view, nodes, observed)
    return Assessment(
        desired=desired, observed=observed, view=msgspec.structs.replace(view, untrusted_reason=untrusted_reason)
    )


def change_blocked_by(assessment: Assessment) -> str:
    """Return why no membership change can begin now; empty when one can."""
    view = assessment.view
    if view.untrusted_reason:
        return view.untrusted_reason
    if view.configuration.joint:
        return "a joint configuration is active until the leader leaves it"
    if view.leader is not None and view.leader.transferring_to:
        return "a leadership transfer is in progress"
    return ""


def responding_node(slot: Slot, cluster_id: str) -> NodeStatus | None:
    """Return the node that answers at an ordinal, or None when none does, or one of another cluster."""
    node = slot.node
    return node if isinstance(node, NodeStatus) and node.cluster_id == cluster_id else None


def replaced_members(assessment: Assessment, ordinal: int) -> tuple[MemberView, ...]:
    """Return the members of incarnations that another one has followed at their ordinal: their disk is gone."""
    node = responding_node(assessment.observed.slot(ordinal), assessment.observed.cluster_id)
    if node is None:
        return ()
    return tuple(member for member in assessment.view.members_at(ordinal) if member.node_id != node.node_id)


def is_serving(pod: Pod | Absent | Unknown) -> bool:
    """Return whether a pod is known to run and serve, and not to be stopping."""
    return isinstance(pod, Pod) and pod.running and pod.ready and not pod.terminating


def coarse_lag(lag: int | None) -> int:
    """Round a lag down to one digit, and to 0 while it does not matter: the exact number changes with every write."""
    if lag is None or lag <= LAG_MAX:
        return 0
    scale = 1
    while lag >= 10 * scale:
        scale *= 10
    return lag // scale * scale


def unhealthy_reason(slot: Slot, name: str, cluster_id: str) -> str:
    """Return in one clause why a member is not there, empty when its node answers and it is ready."""
    pod = slot.pod
    if isinstance(pod, Unknown):
        return f"the pod {name} cannot be observed: {pod.reason}"
    if isinstance(pod, Absent):
        return f"{name} has not been started" + (f": {slot.pending_reason}" if slot.pending_reason else "")
    if pod.terminating:
        return f"{name} is terminating"
    if not pod.running:
        why = "; ".join(filter(None, (_because(pod), slot.pending_reason)))
        return f"{name} is not running" + (f": {why}" if why else "")
    if isinstance(slot.node, Unknown):
        return f"{name} does not respond: {slot.node.reason}"
    if slot.node.cluster_id != cluster_id:
        return f"{name} runs on a volume of another cluster, {slot.node.cluster_id}"
    if pod.ready:
        return ""
    return f"{name} is not ready" + (f": {why}" if (why := _because(pod)) else "")


def _because(pod: Pod) -> str:
    return pod.detail or (pod.failure.value if pod.failure is not Failure.NONE else "")


def _newest(nodes: Iterable[NodeStatus]) -> Configuration:
    found = (node.configuration for node in nodes)
    return max(found, key=lambda one: one.index, default=Configuration())


def _member_views(
    desired: Desired, observed: Observed, leader: NodeStatus | None, configuration: Configuration
) -> tuple[MemberView, ...]:
    known = {member.node_id: member for member in leader.members} if leader else {}
    names = _names(desired, observed)
    members = []
    for node_id in configuration.members():
        member = known.get(node_id, Member(node_id))
        name = member.name or names.get(node_id, "")
        leads = leader is not None and leader.node_id == node_id
        recently_active = leads or _recently_active(member)
        members.append(
            MemberView(
                node_id=node_id,
                name=name,
                ordinal=desired.ordinal(name),
                voter=node_id in configuration.voters or node_id in configuration.outgoing,
                recently_active=recently_active,
                in_sync=leads or (recently_active and _caught_up(member)),
                lag=0 if leads else member.lag,
            )
        )
    return tuple(sorted(members, key=lambda member: (member.ordinal is None, member.ordinal or 0, member.node_id)))


def _names(desired: Desired, observed: Observed) -> dict[NodeId, str]:
    """Return what incarnations are called by the places where they were met, for members no record names yet."""
    names = {}
    for slot in observed.slots:
        if isinstance(slot.volume, Volume) and isinstance(slot.volume.node_id, str):
            names[slot.volume.node_id] = desired.member(slot.ordinal)
    for node in observed.nodes():
        names[node.node_id] = node.name
        names |= {member.node_id: member.name for member in node.members if member.name}
    return names


def _recently_active(member: Member) -> bool:
    return bool(member.active) or (member.silent_ms is not None and member.silent_ms <= ACTIVE_WITHIN_MS)


def _caught_up(member: Member) -> bool:
    # A new leader knows nobody's progress: match index 0, a lag of the whole log; nobody works before he has answered.
    return member.lag is not None and member.lag <= LAG_MAX and bool(member.match_index) and not member.snapshot


def _initialized(observed: Observed, nodes: Iterable[NodeStatus]) -> bool:
    removed = any(isinstance(slot.volume, Volume) and slot.volume.removed for slot in observed.slots)
    return observed.initialized or removed or any(node.has_history for node in nodes)


def _untrusted_reason(view: ClusterView, nodes: Iterable[NodeStatus], observed: Observed) -> str:
    leader, configuration = view.leader, view.configuration
    if leader is None:
        return "no leader is known"
    for node in nodes:
        if node.term > leader.term:
            return f"{node.name} is in term {node.term}, the leader {leader.name} in term {leader.term}"
        if node.configuration.index > configuration.index:
            return f"{node.name} has a newer configuration than the leader {leader.name}"
    if leader.node_id not in configuration.voters and leader.node_id not in configuration.outgoing:
        return f"the leader {leader.name} is not a voter in its own configuration"
    if not quorum.has_quorum(configuration, view.in_sync_voters):
        return f"the leader {leader.name} has no quorum of in-sync voters"
    return ""
