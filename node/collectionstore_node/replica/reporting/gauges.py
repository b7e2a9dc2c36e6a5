"""Gauges of a member, read at every scrape: the core, the log, the queues and the peers at one moment.

What only the leader knows is exported only by the leader: its series are removed when another member leads.
"""

from __future__ import annotations

import asyncio

from collectionstore_node.raft.messages import Configuration, NodeId
from collectionstore_node.raft.ready import ProgressState, RaftStatus, Role
from collectionstore_node.replica.driver.driver import Driver
from collectionstore_node.replica.local_member import LocalMember
from collectionstore_node.replica.transport_port import PeerTransport
from collectionstore_node.statemachine.levels import HIGHEST
from collectionstore_telemetry.metrics import Metrics

_OF_A_FOLLOWER = ("raft_peer_lag_entries", "raft_peer_silence_seconds", "raft_peer_inflight_messages")


class MemberGauges:
    """Sets the gauges of one member before every scrape."""

    def __init__(self, member: LocalMember, driver: Driver, transport: PeerTransport, metrics: Metrics) -> None:
        self._member = member
        self._driver = driver
        self._transport = transport
        self._metrics = metrics
        self._told: set[str] = set()
        metrics.before_scrape(self._refresh)

    def _refresh(self) -> None:
        raft = self._member.raft_status()
        self._show_core(raft)
        self._show_queues()
        self._show_space(raft)
        self._show_followers(raft)
        for peer in self._transport.peers():
            self._set("peer_queued_messages", peer.queued_messages, peer.name)
            self._set("peer_queued_bytes", peer.queued_bytes, peer.name)
            self._set("peer_outstanding_requests", peer.outstanding_requests, peer.name)

    def _show_core(self, raft: RaftStatus) -> None:
        log, configuration = self._member.storage.log, raft.configuration
        self._set("raft_term", raft.term)
        self._set("raft_voters", len(configuration.voters))
        self._set("raft_learners", len(configuration.learners))
        self._set("raft_joint", configuration.joint)
        self._set("raft_configuration_index", self._member.record.index)
        self._set("raft_tolerated_failures", self._tolerated_failures(raft))
        self._set("raft_commit_index", raft.commit_index)
        self._set("raft_applied_index", raft.applied_index)
        self._set("raft_first_index", raft.first_index)
        self._set("raft_last_index", raft.last_index)
        self._set("raft_log_size_bytes", log.size_bytes)
        self._set("raft_log_reclaimable_bytes", log.reclaimable_bytes)
        self._set("revision", self._member.applier.revision)
        self._set("feature_level", self._member.applier.level)
        self._set("feature_level_supported", HIGHEST)
        history = self._member.applier.history
        self._set("history_bytes", 0 if history is None else history.size_bytes)
        self._set("history_oldest_revision", 0 if history is None else history.kept_after)

    def _show_space(self, raft: RaftStatus) -> None:
        member = self._member
        self._set("storage_quota_bytes", member.settings.space.quota_bytes)
        self._set("storage_read_only", raft.role is Role.LEADER and member.shortage() is not None)

    def _show_queues(self) -> None:
        proposals = self._member.consensus.proposals
        self._set("raft_proposals_waiting", proposals.waiting)
        self._set("raft_proposals_waiting_max", proposals.waiting_max)
        self._set("raft_proposals_pending", proposals.pending)
        freshness = self._member.freshness
        self._set("read_staleness_seconds", freshness.unconfirmed_s() if freshness.bounded else None)
        self._set("read_staleness_max_seconds", freshness.max_s if freshness.bounded else None)
        self._set("raft_reads_waiting", self._member.consensus.reads.pending)
        self._set("snapshot_sending", len(self._driver.snapshot_receivers))
        self._set("event_loop_tasks", len(asyncio.all_tasks()))

    def _show_followers(self, raft: RaftStatus) -> None:
        followers = {self._name(one.node_id): one for one in raft.progress if one.node_id != raft.node_id}
        followers.pop("", None)  # its name is not known yet
        for name, one in followers.items():
            self._set("raft_peer_lag_entries", max(0, raft.commit_index - one.match_index), name)
            self._set("raft_peer_silence_seconds", one.silent_ticks * self._member.settings.tick_s, name)
            self._set("raft_peer_inflight_messages", one.inflight, name)
            for state in ProgressState:
                self._set("raft_peer_replication", one.state is state, name, state.value)
        for name in self._told - followers.keys():
            for series in _OF_A_FOLLOWER:
                self._set(series, None, name)
            for state in ProgressState:
                self._set("raft_peer_replication", None, name, state.value)
        self._told = set(followers)

    def _name(self, node_id: NodeId) -> str:
        found = self._member.record.find(node_id)
        return found.name if found is not None else ""

    def _tolerated_failures(self, raft: RaftStatus) -> int | None:
        if raft.role is not Role.LEADER:
            return None
        heard = {one.node_id for one in raft.progress if one.silent_ticks < self._member.settings.election_ticks_max}
        return tolerated_failures(raft.configuration, frozenset(heard | {raft.node_id}))

    def _set(self, series: str, value: float | None, *labels: str) -> None:
        self._metrics.gauge(series, *labels).set(value)


def tolerated_failures(configuration: Configuration, heard: frozenset[NodeId]) -> int:
    """Return how many reachable voters may fail before quorum is lost; -1 when there is no quorum now."""
    halves = [half for half in (configuration.voters, configuration.outgoing) if half]
    spare = (sum(one in heard for one in half) - (len(half) // 2 + 1) for half in halves)
    return max(-1, min(spare, default=-1))
