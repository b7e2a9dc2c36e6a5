"""Translates the settings of a node into those of its parts."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from collectionstore_node import __version__
from collectionstore_node.api import HttpLimits
from collectionstore_node.api.connections.hosts import Hosts
from collectionstore_node.lifecycle import Bounds
from collectionstore_node.logs import Thresholds
from collectionstore_node.logs.slow import OFF
from collectionstore_node.memory import LIMIT_BYTES_ASSUMED, MIB, MemoryBudget, container_limit, memory_budget
from collectionstore_node.ports import Descriptors, PortLimits, PortMetrics, divide
from collectionstore_node.raft.messages import NodeId
from collectionstore_node.replica import AuditStatus, ProcessFacts, ReplicaSettings, TlsStatus
from collectionstore_node.settings import InvalidSetting, Settings
from collectionstore_node.space import SpaceLimits, space_limits
from collectionstore_node.statemachine.admissible import CommandLimits
from collectionstore_node.storage import Tuning
from collectionstore_node.storage.reserve import filesystem_bytes
from collectionstore_node.transport import (
    PeerName,
    PeerSecurity,
    TlsContexts,
    TlsFiles,
    TlsFilesRefused,
    TransportIdentity,
)
from collectionstore_node.transport.settings import DEFAULT_SETTINGS, TransportSettings

TICKS_PER_HEARTBEAT: Final = 5
EXCHANGE_S: Final = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
"""Between the attempts to read files that do not fit: longer than two files take to be written and synced."""
PEERS: Final = 2
"""Other members that the budget counts on: those of a cluster of three. With more the spare memory has to serve."""
QUEUE_BYTES_MIN: Final = 2 * MIB
"""On top of twice the largest document: an entry, or a forwarded request, must never be too large for the queue."""


def storage_limits(settings: Settings) -> SpaceLimits:
    """Return when the member is short of space, by the file system of its data directory. Raises `OSError`."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    limits = space_limits(filesystem_bytes(settings.data_dir), quota_bytes=settings.quota_bytes)
    return limits if settings.reserve_bytes is None else limits._replace(reserve_bytes=settings.reserve_bytes)


def budget(settings: Settings) -> MemoryBudget:
    """Return the shares of the memory. Raises `MemoryTooSmall`."""
    return memory_budget(settings.memory_bytes or container_limit() or LIMIT_BYTES_ASSUMED)


def http_limits(memory: MemoryBudget) -> HttpLimits:
    """Return the limits of HTTP, with the shares of bodies and answers."""
    return HttpLimits(receiving_bytes_max=memory.receiving_bytes, unsent_bytes_max=memory.answers_bytes)


def storage_tuning(memory: MemoryBudget, limits: SpaceLimits, shares: Descriptors) -> Tuning:
    """Return the sizes of RocksDB and of the log's cache, and the table files that it may keep open."""
    default = Tuning()
    return Tuning(
        write_buffer_bytes=min(memory.memtable_bytes, limits.wal_bytes_max),
        block_cache_bytes=memory.block_cache_bytes,
        write_buffers_bytes=memory.write_buffers_bytes,
        wal_bytes_max=min(default.wal_bytes_max, limits.wal_bytes_max),
        level_base_bytes=min(default.level_base_bytes, limits.compaction_bytes_max),
        log_cache_bytes=memory.log_cache_bytes,
        open_files_max=shares.table_files_max,
    )


def transport_settings(settings: Settings, memory: MemoryBudget) -> TransportSettings:
    """Return the limits of the transport. Half of the share is for messages, half for requests and their answers."""
    least = QUEUE_BYTES_MIN + 2 * settings.document_bytes_max
    messages = min(DEFAULT_SETTINGS.queue_bytes_max, max(least, memory.peers_bytes // (2 * PEERS)))
    requests = min(DEFAULT_SETTINGS.requests_bytes_max, max(least, memory.peers_bytes // (4 * PEERS)))
    return replace(DEFAULT_SETTINGS, queue_bytes_max=messages, requests_bytes_max=requests)


def replica_settings(settings: Settings, memory: MemoryBudget, limits: SpaceLimits) -> ReplicaSettings:
    """Return timing and limits of the replica: milliseconds become ticks, each a fifth of a heartbeat."""
    tick_s = settings.heartbeat_ms / 1000 / TICKS_PER_HEARTBEAT
    return ReplicaSettings(
        tick_s=tick_s,
        heartbeat_ticks=TICKS_PER_HEARTBEAT,
        election_ticks=round(settings.election_min_ms / 1000 / tick_s),
        election_ticks_max=round(settings.election_max_ms / 1000 / tick_s),
        snapshot_commands=settings.snapshot_commands,
        snapshot_log_bytes=settings.snapshot_log_bytes,
        pre_vote=settings.pre_vote == "Enabled",
        check_quorum=settings.check_quorum == "Enabled",
        commands=CommandLimits(
            document_bytes_max=settings.document_bytes_max, value_bytes_max=settings.document_bytes_max
        ),
        space=limits,
        staleness_max_s=settings.staleness_max_ms / 1000,
        uncommitted_bytes_max=_within_space(memory.uncommitted_bytes, limits),
        waiting_bytes_max=_within_space(memory.waiting_bytes, limits),
        # Below what a peer's queue holds: a message that does not fit is dropped, and sent again after a probe.
        inflight_bytes_max=transport_settings(settings, memory).queue_bytes_max // 2,
    )


def _within_space(share: int, limits: SpaceLimits) -> int:
    """Return a share of entries in flight that still fits on the disk when it becomes short of space."""
    return min(share, max(MIB, limits.in_flight_bytes_max // 2)) if any(limits) else share


def descriptors(settings: Settings) -> Descriptors:
    """Return how the process's limit of open files is shared. Raises `InvalidSetting` when it is too low."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    try:
        return divide(limit, clients_wanted=settings.connections_max)
    except ValueError as error:
        raise InvalidSetting("CONNECTIONS_MAX", str(settings.connections_max), str(error)) from None


def metrics_bounds(shares: Descriptors, metrics: PortMetrics) -> Bounds:
    """Return the bounds of the metrics port: a few probes and scrapers, of which each has one or two connections."""
    return Bounds("metrics", PortLimits(shares.metrics_max, max(1, shares.metrics_max // 2)), metrics)


def client_hosts(settings: Settings) -> Callable[[str], bool] | None:
    """Return the check of a Host header on the client port, None when every host is served."""
    return Hosts(settings.allowed_hosts).is_ours if settings.allowed_hosts else None


def metrics_hosts(settings: Settings) -> Callable[[str], bool] | None:
    """Return the check on the metrics port: only on loopback, where a web page could reach it by DNS rebinding."""
    return client_hosts(settings) if settings.metrics_address.loopback else None


def slow_thresholds(settings: Settings) -> Thresholds:
    """Return the thresholds of the slow log; 0 ms turns one off."""

    def seconds(milliseconds: int) -> float:
        return milliseconds / 1000 if milliseconds else OFF

    return Thresholds(
        write_s=seconds(settings.slow_write_ms),
        read_s=seconds(settings.slow_read_ms),
        fsync_s=seconds(settings.slow_fsync_ms),
        apply_s=seconds(settings.slow_apply_ms),
        http_s=seconds(settings.slow_http_ms),
    )


def peer_security(settings: Settings) -> PeerSecurity:
    """Load the certificates of the peer port. Raises `TlsFilesRefused`."""
    directory = settings.tls_dir
    files = TlsFiles(directory / "ca.crt", directory / "tls.crt", directory / "tls.key")
    return TlsContexts(files, PeerName(settings.cluster_id, settings.name))


async def settled_peer_security(
    settings: Settings, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> PeerSecurity:
    """Load them, also while they are being exchanged: a key and its certificate are two files.

    Raises `TlsFilesRefused` if they fit no better after `EXCHANGE_S`.
    """
    for pause_s in EXCHANGE_S:
        try:
            return peer_security(settings)
        except TlsFilesRefused:
            await sleep(pause_s)
    return peer_security(settings)


def process_facts(
    settings: Settings,
    pid: int,
    tls: Callable[[], TlsStatus | None],
    audit: Callable[[], AuditStatus | None] = lambda: None,
) -> ProcessFacts:
    """Return what `/status` reports of the process."""
    return ProcessFacts(
        version=__version__,
        pid=pid,
        peer_advertise=settings.peer_advertise,
        client_advertise=settings.client_advertise,
        client_address=str(settings.client_address),
        peer_address=str(settings.peer_address),
        metrics_address=str(settings.metrics_address),
        tls=tls,
        audit=audit,
    )


def transport_identity(settings: Settings, node_id: NodeId) -> TransportIdentity:
    """Return how this node identifies itself to other members."""
    return TransportIdentity(
        cluster_id=settings.cluster_id,
        node_id=node_id,
        name=settings.name,
        listen=(settings.peer_address.host, settings.peer_address.port),
        advertise=settings.peer_advertise,
    )
