"""Alerts on what slows a cluster down or fills it up: disks, links between members, snapshots."""

from __future__ import annotations

from typing import Final

from collectionstore_alerts.rules import Alert, Group

_CLUSTER: Final = "{{ $labels.namespace }}/{{ $labels.cluster }}"
_MEMBER: Final = "{{ $labels.instance }} of {{ $labels.namespace }}/{{ $labels.cluster }}"
_SYNCS: Final = (
    "histogram_quantile(0.99, sum by (namespace, cluster, instance, le) "
    "(rate(collectionstore_storage_wal_fsync_duration_seconds_bucket[5m])))"
)
_FREE: Final = "collectionstore_storage_filesystem_available_bytes / collectionstore_storage_filesystem_size_bytes"

DISKS: Final = Group(
    "collectionstore-disks",
    (
        Alert(
            "SlowFsync",
            f"{_SYNCS} > 0.25",
            "10m",
            "warning",
            f"The disk of {_MEMBER} is slow.",
            "The p99 of fsync is {{ $value | humanizeDuration }}; every write waits for one.",
            "storage",
        ),
        Alert(
            "SlowFsync",
            f"{_SYNCS} > 1",
            "5m",
            "critical",
            f"The disk of {_MEMBER} is so slow that the leader loses its leadership.",
            "The p99 of fsync is {{ $value | humanizeDuration }}, longer than an election timeout.",
            "storage",
        ),
        Alert(
            "FsyncStuck",
            "collectionstore_storage_wal_fsync_age_seconds > 10",
            "1m",
            "critical",
            f"The disk of {_MEMBER} does not respond.",
            "An fsync has been running for {{ $value | humanizeDuration }}.",
            "storage",
        ),
        Alert(
            "WriteStall",
            "collectionstore_rocksdb_write_stopped == 1",
            "1m",
            "critical",
            f"RocksDB of {_MEMBER} has stopped all writes.",
            "Flushes or compactions are too far behind. A stalled leader stops the cluster.",
            "storage",
        ),
        Alert(
            "WriteStall",
            "collectionstore_rocksdb_delayed_write_bytes_per_second > 0",
            "5m",
            "warning",
            f"RocksDB of {_MEMBER} throttles writes.",
            "They are limited to {{ $value | humanize1024 }}B/s so that compaction can catch up. Next, they stop.",
            "storage",
        ),
        Alert(
            "BackgroundErrors",
            "increase(collectionstore_rocksdb_background_errors_total[15m]) > 0",
            "1m",
            "critical",
            f"Flushes or compactions of {_MEMBER} fail.",
            "{{ $value | humanize }} within 15 minutes. The disk is full or faulty.",
            "storage",
        ),
        Alert(
            "DiskFilling",
            f"predict_linear(collectionstore_storage_filesystem_available_bytes[6h], 4 * 86400) < 0 and {_FREE} < 0.4",
            "1h",
            "warning",
            f"The volume of {_MEMBER} will be full within four days.",
            "At the growth rate of the last six hours. Every member stores all data: the other volumes follow.",
            "storage",
        ),
        Alert(
            "ShortOfSpace",
            "max by (namespace, cluster, instance, cause) (collectionstore_storage_short) == 1",
            "1m",
            "critical",
            f"{_MEMBER} is short of space, and the cluster takes no more data.",
            "Cause: {{ $labels.cause }}. Writes that add data get 507 insufficient_storage; reads and deletes work.",
            "storage",
        ),
        Alert(
            "DiskAlmostFull",
            f"{_FREE} < 0.1",
            "5m",
            "critical",
            f"The volume of {_MEMBER} is almost full.",
            "{{ $value | humanizePercentage }} are free. Next, the cluster takes no more data.",
            "storage",
        ),
    ),
)

REPLICATION: Final = Group(
    "collectionstore-replication",
    (
        Alert(
            "ReplicationLag",
            "max by (namespace, cluster, peer) (collectionstore_raft_peer_lag_entries) > 1000",
            "5m",
            "warning",
            f"{{{{ $labels.peer }}}} of {_CLUSTER} is far behind the leader.",
            "It is {{ $value }} entries behind. It is a voter but cannot contribute to commits.",
            "raft",
        ),
        Alert(
            "ReadReplicaStale",
            "collectionstore_read_staleness_seconds > collectionstore_read_staleness_max_seconds",
            "2m",
            "warning",
            f"{_MEMBER} is further behind than a member without a vote may be.",
            "Its state may be {{ $value | humanizeDuration }} old. It refuses stale reads, and the Service of the read "
            "replicas has dropped it.",
            "raft",
        ),
        Alert(
            "SlowLink",
            "histogram_quantile(0.99, sum by (namespace, cluster, instance, peer, le) "
            "(rate(collectionstore_peer_round_trip_seconds_bucket[5m]))) > 0.15",
            "10m",
            "warning",
            f"The link from {_MEMBER} to {{{{ $labels.peer }}}} is slow.",
            "The p99 of round trips is {{ $value | humanizeDuration }}.",
            "raft",
        ),
        Alert(
            "LinkDown",
            # A peer that is down has its own alert, and would fire here once for every other member.
            "collectionstore_peer_connected == 0 and on (namespace, cluster, peer) "
            'label_replace(up{job="collectionstore-node"} == 1, "peer", "$1", "instance", "(.*)")',
            "10m",
            "warning",
            f"{_MEMBER} cannot connect to {{{{ $labels.peer }}}}.",
            "The peer is up: the network between them is down, or one rejects the other.",
            "raft",
        ),
        Alert(
            "SnapshotFailing",
            "sum by (namespace, cluster, instance, operation) "
            "(increase(collectionstore_snapshot_failures_total[30m])) > 2",
            "5m",
            "warning",
            f"{_MEMBER} fails to {{{{ $labels.operation }}}} snapshots.",
            "{{ $value | humanize }} failures within 30 minutes. A member that needs one cannot join or catch up.",
            "raft",
        ),
    ),
)

GROUPS: Final = (DISKS, REPLICATION)
