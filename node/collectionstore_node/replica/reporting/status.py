"""The status of a node: the JSON of `/status` and `/api/v1/cluster`.

IDs are 16 hexadecimal digits. Only the leader knows replication progress; it is null elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from collectionstore_node.raft.messages import Configuration, NodeId
from collectionstore_node.raft.ready import ProgressState, RaftStatus, Role
from collectionstore_node.replica.comparison.state_check import StateCheck
from collectionstore_node.replica.health.space import SpaceReport
from collectionstore_node.replica.node_ids import show_id
from collectionstore_node.replica.persistence.checkpoints import Checkpoint
from collectionstore_node.statemachine.levels import FIRST, HIGHEST
from collectionstore_node.statemachine.members import MemberInfo, MembershipRecord
from collectionstore_node.transport import PeerStatus


class LeaderStatus(msgspec.Struct, frozen=True):
    """The leader, as far as this node knows."""

    node_id: str
    name: str
    http_address: str


class ConfigurationStatus(msgspec.Struct, frozen=True):
    """The configuration applied at `index` of the log."""

    index: int
    voters: list[str]
    outgoing: list[str]
    learners: list[str]
    learners_next: list[str]
    joint: bool


class MemberStatus(msgspec.Struct, frozen=True):
    """A member; `lag` is in entries, `silent_ms` the time since the leader last heard from it."""

    node_id: str
    name: str
    address: str
    http_address: str
    role: str
    match_index: int | None = None
    lag: int | None = None
    active: bool | None = None
    silent_ms: int | None = None
    snapshot: bool = False
    state_check: StateCheck | None = None
    """Null before the first comparison, and for a leader that agrees."""


class PeerConnection(msgspec.Struct, frozen=True):
    """This node's connection to another."""

    node_id: str
    name: str
    connected: bool
    round_trip_ms: float | None
    round_trip_p50_ms: float | None
    handshake_ms: float | None
    problem: str | None = None
    """Why it is not connected; as reported by the other side if it refused the connection."""


class CertificateStatus(msgspec.Struct, frozen=True):
    """A certificate in use; times in Unix seconds."""

    not_before: int
    not_after: int
    serial: str
    """Serial number, hexadecimal."""
    authority: str
    """Key identifier of the authority that signed it, hexadecimal."""


class TlsStatus(msgspec.Struct, frozen=True):
    """The certificates that new connections get, and the authorities that they trust."""

    peers: CertificateStatus
    clients: CertificateStatus | None
    """Null where the client port has no TLS."""
    trusted: list[str]
    """Key identifiers of the authorities that every port with TLS trusts, hexadecimal."""
    given: CertificateStatus | None = None
    """The certificate that the user gives for clients; null if there is none in use."""
    peer_trusted: list[str] = msgspec.field(default_factory=list)
    """Key identifiers of the authorities that the peer port trusts."""
    client_trusted: list[str] = msgspec.field(default_factory=list)
    """Those that the client port trusts; empty where it has no TLS."""


class WatchStatus(msgspec.Struct, frozen=True):
    """The watches of this member, and what is kept of the history of changes."""

    open: int = 0
    lag: int = 0
    """By how many revisions the last of them is behind what this member has applied."""
    kept_after: int | None = None
    """All changes with greater revisions are kept; null before the feature level has a history."""
    history_bytes: int = 0


class AuditSinkStatus(msgspec.Struct, frozen=True):
    """A sink of the audit log."""

    name: str
    """file, webhook or otlp."""
    failing: str
    """Why it takes no records now; empty if it does."""
    queued: int
    """Records that it has not taken."""
    dropped: int
    """Records that were lost since the start, because too many were queued."""
    chain: str
    sequence: int
    """Of the last record that it has taken, and `hash` that of its line: an anchor of its chain."""
    hash: str


class AuditStatus(msgspec.Struct, frozen=True):
    """The audit log of this member."""

    sinks: list[AuditSinkStatus]


class NodeStatus(msgspec.Struct, frozen=True):
    """Everything that operators need to know about a node."""

    cluster_id: str
    node_id: str
    name: str
    version: str
    state: str
    """Uninitialized, Joining, Member or Removed."""
    role: str
    term: int
    leader: LeaderStatus | None
    commit_index: int
    applied_index: int
    first_index: int
    last_index: int
    revision: int
    epoch: int
    configuration: ConfigurationStatus
    members: list[MemberStatus]
    peers: list[PeerConnection]
    transferring_to: str | None
    fault_tolerance: int
    """How many voters the current configuration can lose and keep its quorum; counts all voters, reachable or not."""
    data_bytes: int
    uptime_s: float
    pid: int
    client_address: str
    peer_address: str
    metrics_address: str
    state_digest: str = ""
    """Rolling hash of the state at `applied_index`: equal on members that have applied the same entries. Empty while a
    snapshot replaces the state."""
    feature_level: int = FIRST
    """Feature level of the applied state: what apply does, on all members alike. It is raised, and never lowered, once
    every member supports a higher one."""
    feature_level_supported: int = HIGHEST
    """The highest level that this member supports; lower on a member of an older version."""
    failure: str = ""
    """Why this node is stopping, such as the entry that it cannot apply; empty while it works."""
    space: SpaceReport = SpaceReport()
    """The disk of this member."""
    writes_refused: str = ""
    """Why this member, as the leader, refuses writes that add data; empty if it takes them, and on other members."""
    tls: TlsStatus | None = None
    """The certificates in use."""
    last_log_term: int = 0
    """Term of the entry at `last_index`: with it, how up to date the log is (Raft 5.4.1)."""
    staleness_ms: int | None = None
    """How stale the state of a member without a vote can be at most; null before it was ever confirmed, and on voters,
    which confirm nothing by themselves."""
    staleness_max_ms: int | None = None
    """Above which that member refuses stale reads, and is not ready; null on voters."""
    watches: WatchStatus = WatchStatus()
    """Watches, and the history that they read."""
    audit: AuditStatus | None = None
    """The sinks of the audit log; null while it is off."""


def fault_tolerance(configuration: Configuration) -> int:
    """Return how many voters the configuration can lose and still have a majority in both halves."""
    halves = [half for half in (configuration.voters, configuration.outgoing) if half]
    return min(((len(half) - 1) // 2 for half in halves), default=0)


def node_state(node_id: NodeId, raft: RaftStatus, record: MembershipRecord) -> str:
    """Return the life-cycle state of a node, from its own log."""
    if node_id in record.removed:
        return "Removed"
    if node_id in raft.configuration.members():
        return "Member"
    if raft.last_index == 0 and raft.term == 0:
        return "Uninitialized"
    return "Joining"


def configuration_status(record: MembershipRecord, configuration: Configuration) -> ConfigurationStatus:
    """Return the JSON form of a configuration."""
    return ConfigurationStatus(
        index=record.index,
        voters=[show_id(one) for one in configuration.voters],
        outgoing=[show_id(one) for one in configuration.outgoing],
        learners=[show_id(one) for one in configuration.learners],
        learners_next=[show_id(one) for one in configuration.learners_next],
        joint=configuration.joint,
    )


def member_statuses(
    raft: RaftStatus,
    record: MembershipRecord,
    tick_s: float,
    receiving: frozenset[NodeId],
    checks: Mapping[NodeId, StateCheck],
) -> list[MemberStatus]:
    """Return the members of the configuration, by name."""
    infos = {info.node_id: info for info in record.members}
    progress = {one.node_id: one for one in raft.progress}
    result = []
    for node_id in sorted(raft.configuration.members(), key=lambda one: (_name(infos.get(one)), one)):
        info = infos.get(node_id)
        base = MemberStatus(
            node_id=show_id(node_id),
            name=_name(info),
            address=info.address if info else "",
            http_address=info.http_address if info else "",
            role=_member_role(node_id, raft.configuration),
            state_check=checks.get(node_id),
        )
        known = progress.get(node_id)
        if raft.role is Role.LEADER and node_id == raft.node_id:
            base = msgspec.structs.replace(base, match_index=raft.last_index, lag=0, active=True, silent_ms=0)
        elif raft.role is Role.LEADER and known is not None:
            base = msgspec.structs.replace(
                base,
                match_index=known.match_index,
                lag=max(0, raft.commit_index - known.match_index),
                active=known.recent_active,
                silent_ms=round(known.silent_ticks * tick_s * 1000),
                snapshot=known.state is ProgressState.SNAPSHOT or node_id in receiving,
            )
        result.append(base)
    return result


def leader_status(leader: NodeId, members: Iterable[MemberInfo]) -> LeaderStatus | None:
    """Return the leader; without name and address while the membership record does not have it yet."""
    if not leader:
        return None
    for info in members:
        if info.node_id == leader:
            return LeaderStatus(show_id(leader), info.name, info.http_address)
    return LeaderStatus(show_id(leader), "", "")


def peer_connection(peer: PeerStatus) -> PeerConnection:
    """Return the JSON form of a connection."""
    return PeerConnection(
        node_id=show_id(peer.node_id),
        name=peer.name,
        connected=peer.connected,
        round_trip_ms=_milliseconds(peer.round_trip_s),
        round_trip_p50_ms=_milliseconds(peer.round_trip_p50_s),
        handshake_ms=_milliseconds(peer.handshake_s),
        problem=peer.problem,
    )


def digest_at(index: int, checkpoints: Iterable[Checkpoint]) -> str:
    """Return the digest at `index` in hexadecimal, empty when it is not known."""
    return next((one.digest.hex() for one in checkpoints if one.index == index), "")


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)


def _name(info: MemberInfo | None) -> str:
    return info.name if info else ""


def _member_role(node_id: NodeId, configuration: Configuration) -> str:
    if node_id in configuration.voters:
        return "Voter" if not configuration.joint or node_id in configuration.outgoing else "Incoming"
    return "Outgoing" if node_id in configuration.outgoing else "Learner"
