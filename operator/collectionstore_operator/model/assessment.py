"""One view of a cluster, merged from the reports of its nodes: the leader, the voters, and which of them are in sync.

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
    Workload,
)
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import Desired

ACTIVE_WITHIN_MS: Final = 2_000
"""A member counts as active if the leader has heard from it within this time. Longer than a few heartbeats, because the
leader clears `active` with every quorum check, until the next response."""
EXIT: Final = "exit code "
"""In the detail of a pod: its node has ended, and the reason that it logged last follows."""
LAG_MAX: Final = 500
"""Maximum lag, in log entries, of a member that counts as caught up. Nodes refuse to promote a learner above 1,000."""


class MemberView(msgspec.Struct, frozen=True, kw_only=True):
    """An incarnation in the configuration. `ordinal` is None if its name is unknown or not of this cluster."""

    node_id: NodeId
    name: str
    ordinal: int | None
    voter: bool
    """In either half of the configuration."""
    recently_active: bool
    """The leader has heard from it recently."""
    in_sync: bool
    """Recently active, and at most LAG_MAX entries behind: counts towards a quorum."""
    lag: int | None

    def ref(self) -> MemberRef:
        """Return the reference for membership requests."""
        return MemberRef(node_id=self.node_id, name=self.name)


class ClusterView(msgspec.Struct, frozen=True, kw_only=True):
    """The state of the cluster according to the reports of its nodes."""

    leader: NodeStatus | None
    configuration: Configuration
    """That of the leader, or without a leader the newest that a node reports; empty if no node responds."""
    members: tuple[MemberView, ...]
    """Every incarnation in the configuration, by ordinal; without those in `reads`."""
    untrusted_reason: str
    """Why the leader's report must not be acted on; empty if it is trusted."""
    initialized: bool
    """The cluster has, or has had, data."""
    maybe_initialized: bool
    """It is initialized, or a bootstrap was started and may have succeeded: treated as if it had data."""
    reads: tuple[MemberView, ...] = ()
    """The members that are read replicas by their name and have no vote: they count for nothing in `members`."""

    @property
    def trusted(self) -> bool:
        """Whether membership may be changed based on this view."""
        return not self.untrusted_reason

    @property
    def in_sync_voters(self) -> frozenset[NodeId]:
        """Return the voters that count towards a quorum."""
        return frozenset(member.node_id for member in self.members if member.voter and member.in_sync)

    @property
    def fault_tolerance(self) -> int:
        """Return how many further voters can fail now; 0 without a leader."""
        return quorum.fault_tolerance(self.configuration, self.in_sync_voters) if self.leader else 0

    def member(self, node_id: NodeId) -> MemberView | None:
        """Return the member with this node ID, or None if it is not in the configuration."""
        return next((member for member in self.members if member.node_id == node_id), None)

    def members_at(self, ordinal: int) -> tuple[MemberView, ...]:
        """Return the members of an ordinal: usually one, two while an incarnation is being replaced."""
        return tuple(member for member in self.members if member.ordinal == ordinal)

    def is_leader(self, node_id: NodeId) -> bool:
        """Return whether that incarnation is the leader."""
        return self.leader is not None and self.leader.node_id == node_id


class Assessment(msgspec.Struct, frozen=True, kw_only=True):
    """The input of every decision: desired state, observed state, and the view of the cluster derived from them."""

    desired: Desired
    observed: Observed
    view: ClusterView

    def desired_ordinals(self) -> range:
        """Return the ordinals of the desired voters."""
        return range(self.desired.spec.replicas)

    def joining_ordinals(self) -> tuple[int, ...]:
        """Return the ordinals of members that may join: the desired ones, and the extra one of a replacement."""
        work = self.observed.planned_work.replacement
        extra = () if work is None or work.surge in self.desired_ordinals() else (work.surge,)
        return (*self.desired_ordinals(), *extra)

    def slots(self) -> tuple[Slot, ...]:
        """Return every desired or observed ordinal, ascending."""
        seen = {slot.ordinal for slot in self.observed.slots}
        return tuple(self.observed.slot(ordinal) for ordinal in sorted(seen | set(self.desired_ordinals())))

    def reads(self) -> Assessment | None:
        """Return the same assessment of the read replicas, with their slots, workload and ordinals; None without any.

        Its members are the read replicas alone. Nothing about a quorum can be derived from it.
        """
        observed, desired = self.observed.of_reads(), self.desired
        if self.observed.reads is None and not desired.spec.has_read_replicas and not self.view.reads:
            return None
        scaled_to = observed.workload.replicas if isinstance(observed.workload, Workload) else None
        # By name, also one that votes, made a voter by another hand: it keeps its pod, and is not removed.
        named = (member for member in (*self.view.members, *self.view.reads) if is_read_replica(desired, member.name))
        reads = desired.reads(scaled_to)
        members = (msgspec.structs.replace(member, ordinal=reads.ordinal(member.name)) for member in named)
        view = msgspec.structs.replace(self.view, members=_by_ordinal(members), reads=())
        return Assessment(desired=reads, observed=observed, view=view)

    def name(self, ordinal: int) -> str:
        """Return the name of the member with this ordinal."""
        return self.desired.member(ordinal)


def is_read_replica(desired: Desired, name: str) -> bool:
    """Return whether a member is a read replica of the cluster. By its name, which is part of the replicated record."""
    return labels.ordinal_of(labels.read_workload(desired.name), name) is not None


def contradicts_authorities(desired: Desired, observed: Observed) -> str:
    """Return how a resource contradicts an authority of their own that peers trust; empty if it does not.

    Members that start without it would be strangers to the others. The API server refuses to take the field back; a
    resource that was deleted and made again over its volumes may lack it.
    """
    if desired.spec.tls.separate or not observed.peer_authority_recorded:
        return ""
    return "peers trust an authority of their own, and spec.tls.authorities is not Separate: set it again"


def fenced_reason(observed: Observed) -> str:
    """Return why this operator is fenced, empty if it is not: another one with a higher epoch has acted."""
    # Nodes store the highest epoch they have seen and refuse lower ones. The check here stops the actions that no node
    # can refuse, such as deleting a pod. Nodes of another cluster on a foreign volume do not count.
    for node in observed.all_nodes():
        if node.epoch > observed.epoch and node.cluster_id == observed.cluster_id:
            return f"another operator has taken over: {node.name} has seen epoch {node.epoch}, ours is {observed.epoch}"
    return ""


def assess(desired: Desired, observed: Observed) -> Assessment:
    """Merge the reports of all nodes into one assessment."""
    nodes = [node for node in observed.all_nodes() if node.cluster_id == observed.cluster_id]
    # After a partition a deposed leader may still report itself as leader: the highest term wins.
    leader = max((node for node in nodes if node.role == "Leader"), key=lambda node: node.term, default=None)
    configuration = leader.configuration if leader else _newest(nodes)
    initialized = _initialized(observed, nodes)
    members = _member_views(desired, observed, leader, configuration)
    reads = tuple(member for member in members if not member.voter and is_read_replica(desired, member.name))
    view = ClusterView(
        leader=leader,
        configuration=configuration,
        members=tuple(member for member in members if member not in reads),
        reads=reads,
        untrusted_reason="",
        initialized=initialized,
        maybe_initialized=initialized or bool(observed.bootstrap_node),
    )
    untrusted_reason = _untrusted_reason(view, nodes, observed)
    return Assessment(
        desired=desired, observed=observed, view=msgspec.structs.replace(view, untrusted_reason=untrusted_reason)
    )


def change_blocked_by(assessment: Assessment) -> str:
    """Return why no membership change can start now; empty if one can."""
    view = assessment.view
    if view.untrusted_reason:
        return view.untrusted_reason
    # A second change on top of a joint configuration would need majorities of three sets; nodes refuse it, too.
    if view.configuration.joint:
        return "a joint configuration is active until the leader leaves it"
    # The change would race with the transfer: the leader that receives it may be deposed before it commits.
    if view.leader is not None and view.leader.transferring_to:
        return "a leadership transfer is in progress"
    return ""


def responding_node(slot: Slot, cluster_id: str) -> NodeStatus | None:
    """Return the node that responds at an ordinal; None if none does or if it belongs to another cluster."""
    node = slot.node
    return node if isinstance(node, NodeStatus) and node.cluster_id == cluster_id else None


def replaced_members(assessment: Assessment, ordinal: int) -> tuple[MemberView, ...]:
    """Return the members whose ordinal has a new incarnation: their volume is lost."""
    node = responding_node(assessment.observed.slot(ordinal), assessment.observed.cluster_id)
    # Proof by identity: a node ID is generated once per data directory. A member that merely does not respond may come
    # back with its volume, so silence proves nothing.
    if node is None:
        return ()
    return tuple(member for member in assessment.view.members_at(ordinal) if member.node_id != node.node_id)


def is_serving(pod: Pod | Absent | Unknown) -> bool:
    """Return whether a pod is known to be running, ready and not terminating."""
    return isinstance(pod, Pod) and pod.running and pod.ready and not pod.terminating


def coarse_lag(lag: int | None) -> int:
    """Round a lag down to one significant digit, and to 0 up to LAG_MAX: the exact number changes with every write."""
    return 0 if lag is None or lag <= LAG_MAX else one_digit(lag)


def one_digit(number: int) -> int:
    """Round a positive number down to one significant digit."""
    scale = 1
    while number >= 10 * scale:
        scale *= 10
    return number // scale * scale


def unhealthy_reason(slot: Slot, name: str, cluster_id: str, *, detailed: bool = False) -> str:
    """Return in one clause why a member is unhealthy; empty if its node responds and its pod is ready.

    Unless `detailed`, a cause is told without its detail, `ErrImagePull` without the text of the registry: plan and
    members repeat it, and the condition Degraded has all of it.
    """
    pod = slot.pod
    if isinstance(pod, Unknown):
        return f"the pod {name} cannot be observed: {pod.reason}"
    if isinstance(pod, Absent):
        return f"{name} has not been started" + _because(slot.pending_reason, detailed=detailed)
    if pod.terminating:
        return f"{name} is terminating"
    if not pod.running:
        return f"{name} is not running" + _because(_cause(pod), slot.pending_reason, detailed=detailed)
    if isinstance(slot.node, Unknown):
        return f"{name} does not respond: {slot.node.reason}"
    if slot.node.cluster_id != cluster_id:
        return f"{name} runs on a volume of another cluster, {slot.node.cluster_id}"
    if pod.ready:
        return ""
    return f"{name} is not ready" + _because(_cause(pod), detailed=detailed)


def _because(*causes: str, detailed: bool) -> str:
    # Why a node ended is one short clause of its own, and differs by member: it is no detail.
    found = [cause if detailed or EXIT in cause else cause.partition(": ")[0] for cause in causes if cause]
    return f": {'; '.join(found)}" if found else ""


def _cause(pod: Pod) -> str:
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
    return _by_ordinal(members)


def _by_ordinal(members: Iterable[MemberView]) -> tuple[MemberView, ...]:
    return tuple(sorted(members, key=lambda member: (member.ordinal is None, member.ordinal or 0, member.node_id)))


def _names(desired: Desired, observed: Observed) -> dict[NodeId, str]:
    """Return member names by node ID from volumes and nodes, for members whose name the leader does not report."""
    names = {}
    for slot in observed.slots:
        if isinstance(slot.volume, Volume) and isinstance(slot.volume.node_id, str):
            names[slot.volume.node_id] = desired.member(slot.ordinal)
    for slot in observed.of_reads().slots:
        if isinstance(slot.volume, Volume) and isinstance(slot.volume.node_id, str):
            names[slot.volume.node_id] = desired.reads().member(slot.ordinal)
    for node in observed.all_nodes():
        names[node.node_id] = node.name
        names |= {member.node_id: member.name for member in node.members if member.name}
    return names


def _recently_active(member: Member) -> bool:
    return bool(member.active) or (member.silent_ms is not None and member.silent_ms <= ACTIVE_WITHIN_MS)


def _caught_up(member: Member) -> bool:
    # A new leader has no progress of the others yet: match index 0, a lag of the whole log. No member counts as caught
    # up before its first response.
    return member.lag is not None and member.lag <= LAG_MAX and bool(member.match_index) and not member.snapshot


def _initialized(observed: Observed, nodes: Iterable[NodeStatus]) -> bool:
    # Three independent proofs, because the status that stores `initialized` can be lost, for instance by restoring the
    # resource without its status. A second bootstrap would silently discard the data.
    removed = any(isinstance(slot.volume, Volume) and slot.volume.removed for slot in observed.slots)
    return observed.initialized or removed or any(node.has_history for node in nodes)


def _untrusted_reason(view: ClusterView, nodes: Iterable[NodeStatus], observed: Observed) -> str:
    leader, configuration = view.leader, view.configuration
    if leader is None:
        return "no leader is known"
    # A higher term means that an election has happened or is in progress: this leader may already be deposed. A newer
    # configuration elsewhere means that its view of the voters may be outdated.
    for node in nodes:
        if node.term > leader.term:
            return f"{node.name} is in term {node.term}, the leader {leader.name} in term {leader.term}"
        if node.configuration.index > configuration.index:
            return f"{node.name} has a newer configuration than the leader {leader.name}"
    if leader.node_id not in configuration.voters and leader.node_id not in configuration.outgoing:
        return f"the leader {leader.name} is not a voter in its own configuration"
    # A leader in a minority partition believes in itself until its next quorum check.
    if not quorum.has_quorum(configuration, view.in_sync_voters):
        return f"the leader {leader.name} has no quorum of in-sync voters"
    return ""
