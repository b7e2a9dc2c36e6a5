"""The report of `/debug/raft`: the core, its view of every follower, and queue depths. No data of users."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from collectionstore_node.raft.ready import ProgressStatus, RaftStatus
from collectionstore_node.replica.node_ids import show_id
from collectionstore_node.replica.reporting.status import ConfigurationStatus, configuration_status
from collectionstore_node.statemachine.members import MembershipRecord
from collectionstore_node.transport import PeerStatus


class FollowerReport(msgspec.Struct, frozen=True):
    """A follower as the leader sees it; indexes of the log, `silent_ms` since it was last heard."""

    node_id: str
    name: str
    state: str
    """Probe, Replicate or Snapshot."""
    match_index: int
    next_index: int
    lag: int
    inflight_messages: int
    pending_snapshot: int
    recent_active: bool
    silent_ms: int


class PeerQueue(msgspec.Struct, frozen=True):
    """What is queued for a member on this node's connection to it."""

    node_id: str
    name: str
    connected: bool
    queued_messages: int
    queued_bytes: int
    outstanding_requests: int


class Queues(msgspec.Struct, frozen=True, kw_only=True):
    """Queue depths and limits."""

    commands_waiting: int
    """Not proposed yet."""
    commands_waiting_max: int
    entries_pending: int
    """Proposed by this node and not applied."""
    reads_waiting: bool
    """Whether reads wait for the next ReadIndex round."""
    unapplied_entries: int
    """Committed and not applied."""
    uncommitted_entries: int
    sync_running_s: float
    """Seconds since the running sync began; 0 if none is running."""
    peers: list[PeerQueue]


class RaftReport(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about consensus on one node, for troubleshooting."""

    node_id: str
    name: str
    role: str
    term: int
    voted_for: str | None
    leader: str | None
    elected_by: list[str]
    commit_index: int
    applied_index: int
    first_index: int
    last_index: int
    pending_change_index: int
    transferring_to: str | None
    configuration: ConfigurationStatus
    followers: list[FollowerReport]
    """Empty unless this node leads."""
    queues: Queues


class Depths(msgspec.Struct, frozen=True, kw_only=True):
    """The replica's own queue depths; the fields are those of `Queues`."""

    commands_waiting: int
    commands_waiting_max: int
    entries_pending: int
    reads_waiting: bool
    sync_running_s: float


def inspect(
    raft: RaftStatus, record: MembershipRecord, depths: Depths, peers: Iterable[PeerStatus], *, name: str, tick_s: float
) -> RaftReport:
    """Return the report of one node."""
    names = {info.node_id: info.name for info in record.members}
    return RaftReport(
        node_id=show_id(raft.node_id),
        name=name,
        role=raft.role.value,
        term=raft.term,
        voted_for=_id(raft.vote),
        leader=_id(raft.leader),
        elected_by=[show_id(one) for one in sorted(raft.elected_by)],
        commit_index=raft.commit_index,
        applied_index=raft.applied_index,
        first_index=raft.first_index,
        last_index=raft.last_index,
        pending_change_index=raft.pending_change_index,
        transferring_to=_id(raft.transferring_to),
        configuration=configuration_status(record, raft.configuration),
        followers=[
            _follower(one, names.get(one.node_id, ""), raft, tick_s)
            for one in raft.progress
            if one.node_id != raft.node_id
        ],
        queues=_queues(raft, depths, peers),
    )


def _follower(one: ProgressStatus, name: str, raft: RaftStatus, tick_s: float) -> FollowerReport:
    return FollowerReport(
        node_id=show_id(one.node_id),
        name=name,
        state=one.state.value,
        match_index=one.match_index,
        next_index=one.next_index,
        lag=max(0, raft.last_index - one.match_index),
        inflight_messages=one.inflight,
        pending_snapshot=one.pending_snapshot,
        recent_active=one.recent_active,
        silent_ms=round(one.silent_ticks * tick_s * 1000),
    )


def _queues(raft: RaftStatus, depths: Depths, peers: Iterable[PeerStatus]) -> Queues:
    return Queues(
        **msgspec.structs.asdict(depths),
        unapplied_entries=raft.commit_index - raft.applied_index,
        uncommitted_entries=raft.last_index - raft.commit_index,
        peers=[
            PeerQueue(
                node_id=show_id(peer.node_id),
                name=peer.name,
                connected=peer.connected,
                queued_messages=peer.queued_messages,
                queued_bytes=peer.queued_bytes,
                outstanding_requests=peer.outstanding_requests,
            )
            for peer in peers
        ],
    )


def _id(node_id: int) -> str | None:
    return show_id(node_id) if node_id else None
