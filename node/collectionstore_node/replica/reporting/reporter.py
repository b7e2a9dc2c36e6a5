"""Collects what a member reports of itself, from memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, isfinite

from collectionstore_node.raft.ready import RaftStatus, Role
from collectionstore_node.replica.driver.driver import Driver
from collectionstore_node.replica.health.space import refusal
from collectionstore_node.replica.local_member import LocalMember
from collectionstore_node.replica.node_ids import show_id
from collectionstore_node.replica.reporting import status
from collectionstore_node.replica.reporting.inspection import Depths, RaftReport, inspect
from collectionstore_node.replica.transport_port import PeerTransport

DISK_USAGE_S = 1.0
"""How long the size of the data directory is cached: computing it asks the file system for every file."""


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """Version and id of the process, and its addresses."""

    version: str
    pid: int
    peer_advertise: str
    client_advertise: str
    client_address: str
    peer_address: str
    metrics_address: str
    tls: Callable[[], status.TlsStatus | None] = lambda: None
    """Returns the certificates in use."""
    audit: Callable[[], status.AuditStatus | None] = lambda: None
    """Returns the sinks of the audit log."""


class Reporter:
    """Reports on one member. Belongs to the event loop."""

    def __init__(self, member: LocalMember, driver: Driver, transport: PeerTransport, facts: ProcessFacts) -> None:
        self._member = member
        self._driver = driver
        self._transport = transport
        self._facts = facts
        self._loop = asyncio.get_running_loop()
        self._started = self._loop.time()
        self._data_bytes = (float("-inf"), 0)

    def inspect(self) -> RaftReport:
        """Return the core, its view of the others and the queues."""
        member = self._member
        return inspect(
            member.raft_status(),
            member.record,
            self._depths(),
            self._transport.peers(),
            name=member.identity.name,
            tick_s=member.settings.tick_s,
        )

    def status(self) -> status.NodeStatus:
        """Return what this node knows."""
        member, facts = self._member, self._facts
        raft, record, now = member.raft_status(), member.record, self._loop.time()
        return status.NodeStatus(
            cluster_id=member.identity.cluster_id,
            node_id=show_id(member.identity.node_id),
            name=member.identity.name,
            version=facts.version,
            state=status.node_state(member.identity.node_id, raft, record),
            role=raft.role.value,
            term=raft.term,
            leader=status.leader_status(raft.leader, record.members),
            commit_index=raft.commit_index,
            applied_index=raft.applied_index,
            first_index=raft.first_index,
            last_index=raft.last_index,
            revision=member.applier.revision,
            epoch=record.fencing_epoch,
            configuration=status.configuration_status(record, raft.configuration),
            members=status.member_statuses(
                raft, record, member.settings.tick_s, self._driver.snapshot_receivers, self._driver.state_checks()
            ),
            peers=[status.peer_connection(peer) for peer in self._transport.peers()],
            transferring_to=show_id(raft.transferring_to) if raft.transferring_to else None,
            fault_tolerance=status.fault_tolerance(raft.configuration),
            data_bytes=self._disk_usage(now),
            uptime_s=round(now - self._started, 3),
            pid=facts.pid,
            client_address=facts.client_address,
            peer_address=facts.peer_address,
            metrics_address=facts.metrics_address,
            state_digest=status.digest_at(raft.applied_index, member.checkpoints()),
            feature_level=member.applier.level,
            failure="" if member.wakeup.failure is None else str(member.wakeup.failure),
            space=member.space.report,
            writes_refused=self._writes_refused(raft),
            tls=facts.tls(),
            audit=facts.audit(),
            last_log_term=raft.last_log_term,
            staleness_ms=self._staleness_ms(),
            staleness_max_ms=round(member.freshness.max_s * 1000) if member.freshness.bounded else None,
        )

    def _staleness_ms(self) -> int | None:
        freshness = self._member.freshness
        staleness_s = freshness.staleness_s()
        return ceil(staleness_s * 1000) if freshness.bounded and isfinite(staleness_s) else None

    def _writes_refused(self, raft: RaftStatus) -> str:
        short = self._member.shortage() if raft.role is Role.LEADER else None
        return "" if short is None else str(refusal(*short))

    def _disk_usage(self, now: float) -> int:
        if now - self._data_bytes[0] > DISK_USAGE_S:
            self._data_bytes = (now, self._member.storage.disk_bytes())
        return self._data_bytes[1]

    def _depths(self) -> Depths:
        consensus, since = self._member.consensus, self._member.log_writer.syncing_since
        return Depths(
            commands_waiting=consensus.proposals.waiting,
            commands_waiting_max=self._member.settings.waiting_max,
            entries_pending=consensus.proposals.pending,
            reads_waiting=consensus.reads.waiting,
            sync_running_s=0.0 if since is None else round(self._loop.time() - since, 4),
        )
