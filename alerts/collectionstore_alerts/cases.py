"""For each alert, what a cluster looks like when it must fire, and when it must not, in promtool's notation of series.

`a+bxN` is a value that begins at a and grows by b, N times more; `axN` stands still; `_` is a missing sample.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

Series: TypeAlias = Mapping[str, str]

CLUSTER: Final = 'namespace="data", cluster="demo"'
MEMBER: Final = f'{CLUSTER}, instance="demo-0"'
OTHER: Final = f'{CLUSTER}, instance="demo-1"'
_NODE: Final = 'job="collectionstore-node"'
_OPERATOR: Final = 'job="collectionstore-operator"'
_DEMO: Final = {"namespace": "data", "cluster": "demo"}
_API: Final = f'{CLUSTER}, user="api"'
_DAILY: Final = f'{CLUSTER}, schedule="daily"'
_SCHEDULE: Final = {**_DEMO, "schedule": "daily"}
_DEMO_0: Final = {**_DEMO, "instance": "demo-0"}


@dataclass(frozen=True)
class Case:
    """An alert fires for `labels` with one set of series at a time, and for nothing with the other."""

    alert: str
    severity: str
    firing: Series
    quiet: Series
    labels: Mapping[str, str] = field(default_factory=lambda: _DEMO_0)
    at: str = "20m"
    step: str = "1m"
    """Between two samples."""
    evaluation: str = "1m"
    """Between two evaluations of the rules."""

    @property
    def title(self) -> str:
        """Return what identifies this case."""
        return "-".join([self.alert, self.severity, *(self.labels[key] for key in ("long",) if key in self.labels)])


_STALE_MAX: Final[Series] = {f"collectionstore_read_staleness_max_seconds{{{MEMBER}}}": "10x1000"}


def _gauge(series: str, firing: str, quiet: str, *labels: str) -> tuple[Series, Series]:
    selector = f"{series}{{{', '.join(labels or (MEMBER,))}}}"
    return {selector: f"{firing}x1000"}, {selector: f"{quiet}x1000"}


def _expires(at: str) -> Series:
    return {f'collectionstore_tls_certificate_expiry_timestamp_seconds{{{MEMBER}, purpose="peers"}}': f"{at}x1000"}


def _lives(seconds: str) -> Series:
    return {f'collectionstore_tls_certificate_lifetime_seconds{{{MEMBER}, purpose="peers"}}': f"{seconds}x1000"}


def _rising(series: str, firing: str, quiet: str, *labels: str) -> tuple[Series, Series]:
    selector = f"{series}{{{', '.join(labels or (MEMBER,))}}}"
    return {selector: f"0+{firing}x1000"}, {selector: f"0+{quiet}x1000"}


def _buckets(histogram: str, labels: str, bounds: tuple[str, str], below: int) -> Series:
    """100 observations a minute, of which `below` do not exceed the first bound and all the second."""
    return {
        f'{histogram}_bucket{{{labels}, le="{bounds[0]}"}}': f"0+{below}x1000",
        f'{histogram}_bucket{{{labels}, le="{bounds[1]}"}}': "0+100x1000",
        f'{histogram}_bucket{{{labels}, le="+Inf"}}': "0+100x1000",
    }


def _requests(method: str, fast: str, *, slow: int, failed: int) -> Series:
    """1000 requests a step, of which some are slower than the objective and others end with 503."""
    route = f'{MEMBER}, route="/api/v1/kv/{{bucket}}/{{key...}}", method="{method}"'
    http = "collectionstore_http"
    return {
        f'{http}_request_duration_seconds_bucket{{{route}, le="{fast}"}}': f"0+{1000 - slow}x3000",
        f"{http}_request_duration_seconds_count{{{route}}}": "0+1000x3000",
        f'{http}_requests_total{{{route}, code="200"}}': f"0+{1000 - failed}x3000",
        f'{http}_requests_total{{{route}, code="503"}}': f"0+{failed}x3000",
    }


def _burns(alert: str, method: str, fast: str) -> list[Case]:
    """Each pair of windows: over its own factor, half by failures and half by slowness, and under it."""
    speeds = (
        ("1h", "5m", "critical", "90m", "1m", "10m", 20, 14),
        ("6h", "30m", "critical", "7h", "5m", "30m", 8, 5),
        ("1d", "2h", "warning", "27h", "30m", "1h", 4, 2),
        ("3d", "6h", "warning", "80h", "1h", "4h", 2, 0),
    )
    return [
        Case(
            alert,
            severity,
            _requests(method, fast, slow=bad // 2, failed=bad - bad // 2),
            _requests(method, fast, slow=less // 2, failed=less - less // 2),
            {**_DEMO, "long": long, "short": short},
            at=at,
            step=step,
            evaluation=evaluation,
        )
        for long, short, severity, at, step, evaluation, bad, less in speeds
    ]


_SYNC: Final = "collectionstore_storage_wal_fsync_duration_seconds"
_UP_0: Final = f"up{{{MEMBER}, {_NODE}}}"
_UP_1: Final = f"up{{{OTHER}, {_NODE}}}"
_TOLD: Final = f'{CLUSTER}, instance="operator-1", {_OPERATOR}'
_LINK: Final = f'{MEMBER}, peer="demo-1"'

CASES: Final = (
    Case("NoLeader", "critical", *_gauge("collectionstore_raft_has_leader", "0", "1"), _DEMO),
    Case("ClusterDown", "critical", {_UP_0: "0x100", _UP_1: "0x100"}, {_UP_0: "0x100", _UP_1: "1x100"}, _DEMO),
    Case(
        "QuorumAtRisk",
        "critical",
        {
            f"collectionstore_raft_tolerated_failures{{{MEMBER}}}": "0x100",
            f"collectionstore_raft_voters{{{MEMBER}}}": "3x100",
        },
        # A cluster of one can never lose a member, and its owner knows.
        {
            f"collectionstore_raft_tolerated_failures{{{MEMBER}}}": "0x100",
            f"collectionstore_raft_voters{{{MEMBER}}}": "1x100",
        },
        _DEMO,
    ),
    Case(
        "MetricsAbsent",
        "critical",
        {f"collectionstore_cluster_desired_members{{{_TOLD}}}": "3x100"},
        {f"collectionstore_cluster_desired_members{{{_TOLD}}}": "3x100", _UP_0: "0x100"},
        _DEMO,
    ),
    Case(
        "RequestsRefused",
        "warning",
        *_rising("collectionstore_http_problems_total", "120", "30", MEMBER, 'problem="overloaded"'),
        _DEMO,
    ),
    Case(
        "OutcomesUnknown",
        "warning",
        *_rising("collectionstore_http_problems_total", "12", "3", MEMBER, 'problem="outcome_unknown"'),
        _DEMO,
    ),
    Case(
        "MemberDown",
        "warning",
        {_UP_0: "0x100", _UP_1: "1x100"},
        # Down for two minutes, as in a restart on another machine.
        {_UP_0: "1x10 0 0 1x100", _UP_1: "1x100"},
        {**_DEMO_0, "job": "collectionstore-node"},
    ),
    Case(
        "MembersNotReady",
        "warning",
        {
            f"collectionstore_cluster_desired_members{{{_TOLD}}}": "3x100",
            f"collectionstore_cluster_ready_members{{{_TOLD}}}": "2x100",
        },
        {
            f"collectionstore_cluster_desired_members{{{_TOLD}}}": "3x100",
            f"collectionstore_cluster_ready_members{{{_TOLD}}}": "2x10 3x100",
        },
        _DEMO,
    ),
    Case(
        "MemberWithoutLeader",
        "warning",
        {
            f"collectionstore_raft_has_leader{{{MEMBER}}}": "0x100",
            f"collectionstore_raft_has_leader{{{OTHER}}}": "1x100",
        },
        # None of them knows one: that is another alert.
        {
            f"collectionstore_raft_has_leader{{{MEMBER}}}": "0x100",
            f"collectionstore_raft_has_leader{{{OTHER}}}": "0x100",
        },
    ),
    Case("LeaderChanges", "warning", *_rising("collectionstore_raft_leader_changes_total", "1", "0.1"), _DEMO),
    Case(
        "MemberRestarting",
        "warning",
        {f"process_start_time_seconds{{{MEMBER}, {_NODE}}}": "100+120x100"},
        {f"process_start_time_seconds{{{MEMBER}, {_NODE}}}": "100x10 700x100"},
        {**_DEMO_0, "job": "collectionstore-node"},
    ),
    Case(
        "Stalls",
        "warning",
        *_rising("collectionstore_watchdog_stalls_total", "1", "0.1", MEMBER, 'kind="fsync"'),
        {**_DEMO_0, "kind": "fsync"},
    ),
    Case(
        "FileDescriptors",
        "warning",
        {
            f"process_open_fds{{{MEMBER}, {_NODE}}}": "900x100",
            f"process_max_fds{{{MEMBER}, {_NODE}}}": "1024x100",
        },
        {
            f"process_open_fds{{{MEMBER}, {_NODE}}}": "700x100",
            f"process_max_fds{{{MEMBER}, {_NODE}}}": "1024x100",
        },
        {**_DEMO_0, "job": "collectionstore-node"},
    ),
    Case(
        "CertificateExpiring",
        "warning",
        *_gauge(
            "collectionstore_tls_certificate_expiry_timestamp_seconds", "1728000", "2592000", MEMBER, 'purpose="peers"'
        ),
        {**_DEMO_0, "purpose": "peers"},
        at="2h",
    ),
    Case(
        "CertificateExpiring",
        "critical",
        *_gauge(
            "collectionstore_tls_certificate_expiry_timestamp_seconds", "172800", "432000", MEMBER, 'purpose="peers"'
        ),
        {**_DEMO_0, "purpose": "peers"},
    ),
    Case(
        # Two days before the end of a life of ten: late. Five before it: it was renewed, or will be.
        "CertificateExpiring",
        "warning",
        {**_expires("172800"), **_lives("864000")},
        {**_expires("432000"), **_lives("864000")},
        {**_DEMO_0, "purpose": "peers"},
        at="2h",
    ),
    Case("StateMismatch", "critical", *_gauge("collectionstore_digest_mismatch", "1", "0"), _DEMO),
    Case("StateNotCompared", "warning", *_gauge("collectionstore_digest_inconclusive", "1", "0"), _DEMO, at="40m"),
    Case("ImpossibleMessages", "warning", *_rising("collectionstore_raft_rejected_messages_total", "1", "0")),
    *_burns("WriteBudgetBurn", "PUT", "0.5"),
    *_burns("ReadBudgetBurn", "GET", "0.25"),
    Case(
        "SlowFsync",
        "warning",
        _buckets(_SYNC, MEMBER, ("0.25", "0.5"), 90),
        _buckets(_SYNC, MEMBER, ("0.25", "0.5"), 100),
    ),
    Case(
        "SlowFsync",
        "critical",
        _buckets(_SYNC, MEMBER, ("1.0", "2.5"), 90),
        _buckets(_SYNC, MEMBER, ("0.5", "1.0"), 90),
    ),
    Case("FsyncStuck", "critical", *_gauge("collectionstore_storage_wal_fsync_age_seconds", "11", "2")),
    Case("WriteStall", "critical", *_gauge("collectionstore_rocksdb_write_stopped", "1", "0")),
    Case("WriteStall", "warning", *_gauge("collectionstore_rocksdb_delayed_write_bytes_per_second", "16777216", "0")),
    Case("BackgroundErrors", "critical", *_rising("collectionstore_rocksdb_background_errors_total", "1", "0")),
    Case(
        "DiskFilling",
        "warning",
        {
            f"collectionstore_storage_filesystem_available_bytes{{{MEMBER}}}": "3900-5x3000",
            f"collectionstore_storage_filesystem_size_bytes{{{MEMBER}}}": "10000x3000",
        },
        # As fast, but with more than half of it free: there is time.
        {
            f"collectionstore_storage_filesystem_available_bytes{{{MEMBER}}}": "5600-5x3000",
            f"collectionstore_storage_filesystem_size_bytes{{{MEMBER}}}": "10000x3000",
        },
        at="8h",
        step="5m",
        evaluation="5m",
    ),
    Case(
        "ShortOfSpace",
        "critical",
        *_gauge("collectionstore_storage_short", "1", "0", f'{MEMBER},cause="disk"'),
        {**_DEMO_0, "cause": "disk"},
    ),
    Case(
        "AuditSinkFailing",
        "warning",
        *_gauge("collectionstore_audit_sink_failing", "1", "0", f'{MEMBER},sink="file"'),
        {**_DEMO_0, "sink": "file"},
    ),
    Case(
        "AuditRecordsLost",
        "critical",
        {f'collectionstore_audit_records_total{{{MEMBER}, sink="webhook", result="dropped"}}': "0+5x100"},
        {
            f'collectionstore_audit_records_total{{{MEMBER}, sink="webhook", result="dropped"}}': "7x100",
            f'collectionstore_audit_records_total{{{MEMBER}, sink="webhook", result="written"}}': "0+5x100",
        },
        {**_DEMO_0, "sink": "webhook"},
    ),
    Case(
        "DiskAlmostFull",
        "critical",
        {
            f"collectionstore_storage_filesystem_available_bytes{{{MEMBER}}}": "9x100",
            f"collectionstore_storage_filesystem_size_bytes{{{MEMBER}}}": "100x100",
        },
        {
            f"collectionstore_storage_filesystem_available_bytes{{{MEMBER}}}": "11x100",
            f"collectionstore_storage_filesystem_size_bytes{{{MEMBER}}}": "100x100",
        },
    ),
    Case(
        "ReplicationLag",
        "warning",
        *_gauge("collectionstore_raft_peer_lag_entries", "5000", "900", _LINK),
        {**_DEMO, "peer": "demo-1"},
    ),
    Case(
        "ReadReplicaStale",
        "warning",
        {**_STALE_MAX, f"collectionstore_read_staleness_seconds{{{MEMBER}}}": "40x1000"},
        {**_STALE_MAX, f"collectionstore_read_staleness_seconds{{{MEMBER}}}": "1x1000"},
    ),
    Case(
        "SlowLink",
        "warning",
        _buckets("collectionstore_peer_round_trip_seconds", _LINK, ("0.25", "0.5"), 90),
        _buckets("collectionstore_peer_round_trip_seconds", _LINK, ("0.05", "0.1"), 90),
        {**_DEMO_0, "peer": "demo-1"},
    ),
    Case(
        "LinkDown",
        "warning",
        {f"collectionstore_peer_connected{{{_LINK}}}": "0x100", _UP_1: "1x100"},
        {f"collectionstore_peer_connected{{{_LINK}}}": "0x100", _UP_1: "0x100"},
        {**_DEMO_0, "peer": "demo-1"},
    ),
    Case(
        "SnapshotFailing",
        "warning",
        *_rising("collectionstore_snapshot_failures_total", "0.2", "0.03", MEMBER, 'operation="send"'),
        {**_DEMO_0, "operation": "send"},
        at="40m",
    ),
    Case(
        "OperatorDown",
        "warning",
        {f'up{{namespace="ops", instance="operator-1", {_OPERATOR}}}': "0x100"},
        {
            f'up{{namespace="ops", instance="operator-1", {_OPERATOR}}}': "0x100",
            f'up{{namespace="ops", instance="operator-2", {_OPERATOR}}}': "1x100",
        },
        {},
    ),
    Case(
        "OperatorWithoutLease",
        "warning",
        {'collectionstore_operator_is_leader{namespace="ops", instance="operator-1"}': "0x100"},
        {
            'collectionstore_operator_is_leader{namespace="ops", instance="operator-1"}': "0x100",
            'collectionstore_operator_is_leader{namespace="ops", instance="operator-2"}': "1x100",
        },
        {"namespace": "ops"},
    ),
    Case(
        "OperatorLoopStuck",
        "warning",
        {f"collectionstore_cluster_last_round_timestamp_seconds{{{_TOLD}}}": "0x100"},
        # One operator stands by and remembers an old round; the other one turns.
        {
            f"collectionstore_cluster_last_round_timestamp_seconds{{{_TOLD}}}": "0x100",
            f'collectionstore_cluster_last_round_timestamp_seconds{{{CLUSTER}, instance="operator-2"}}': "0+60x100",
        },
        _DEMO,
    ),
    Case(
        "PlanBlocked",
        "warning",
        {f"collectionstore_cluster_blocked_since_timestamp_seconds{{{_TOLD}}}": "0x100"},
        {f"collectionstore_cluster_blocked_since_timestamp_seconds{{{_TOLD}}}": "0x20 1200x100"},
        _DEMO,
        at="45m",
    ),
    Case(
        "CertificatesNotReady",
        "warning",
        {f'collectionstore_cluster_condition{{{_TOLD}, condition="CertificatesReady", status="False"}}': "1x100"},
        {f'collectionstore_cluster_condition{{{_TOLD}, condition="CertificatesReady", status="False"}}': "0x100"},
        _DEMO,
        at="40m",
    ),
    Case(
        "AccessNotConfigured",
        "warning",
        {f'collectionstore_cluster_condition{{{_TOLD}, condition="AccessConfigured", status="False"}}': "1x100"},
        {f'collectionstore_cluster_condition{{{_TOLD}, condition="AccessConfigured", status="False"}}': "0x100"},
        labels=_DEMO,
        at="40m",
    ),
    Case(
        "CredentialInvalid",
        "critical",
        {f'collectionstore_user_condition{{{_API}, condition="CredentialValid", status="False"}}': "1x100"},
        {f'collectionstore_user_condition{{{_API}, condition="CredentialValid", status="False"}}': "0x100"},
        labels={**_DEMO, "user": "api"},
    ),
    Case(
        "RecordsInvalid",
        "critical",
        {
            f'collectionstore_cluster_condition{{{_TOLD}, condition="RecordsValid", status="False"}}': "1x100",
            f'collectionstore_cluster_condition{{{_TOLD}, condition="RecordsValid", status="True"}}': "0x100",
        },
        {
            f'collectionstore_cluster_condition{{{_TOLD}, condition="RecordsValid", status="False"}}': "0x100",
            f'collectionstore_cluster_condition{{{_TOLD}, condition="RecordsValid", status="True"}}': "1x100",
        },
        _DEMO,
    ),
    Case(
        "QuorumLost",
        "critical",
        {f'collectionstore_cluster_condition{{{_TOLD}, condition="QuorumLost", status="True"}}': "1x100"},
        {f'collectionstore_cluster_condition{{{_TOLD}, condition="QuorumLost", status="True"}}': "0x100"},
        _DEMO,
    ),
    Case(
        "VolumesUnsafe",
        "warning",
        {
            f'collectionstore_cluster_condition{{{_TOLD}, condition="VolumesSafe", status="False"}}': "1x100",
            f'collectionstore_cluster_condition{{{_TOLD}, condition="VolumesSafe", status="True"}}': "0x100",
        },
        {
            f'collectionstore_cluster_condition{{{_TOLD}, condition="VolumesSafe", status="False"}}': "0x100",
            f'collectionstore_cluster_condition{{{_TOLD}, condition="VolumesSafe", status="True"}}': "1x100",
        },
        _DEMO,
    ),
    Case(
        "RoundsFailing",
        "warning",
        {
            'collectionstore_operator_reconciles_total{namespace="ops", instance="operator-1", result="Failed"}': (
                "0+12x100"
            ),
            'collectionstore_operator_reconciles_total{namespace="ops", instance="operator-1", result="Settled"}': (
                "0+2x100"
            ),
        },
        {
            'collectionstore_operator_reconciles_total{namespace="ops", instance="operator-1", result="Failed"}': (
                "0+2x100"
            ),
            'collectionstore_operator_reconciles_total{namespace="ops", instance="operator-1", result="Settled"}': (
                "0+12x100"
            ),
        },
        {"namespace": "ops", "instance": "operator-1"},
        at="30m",
    ),
    Case(
        "BackupFailed",
        "warning",
        {
            f"collectionstore_backup_last_failure_timestamp_seconds{{{_DAILY}}}": "200x1000",
            f"collectionstore_backup_last_success_timestamp_seconds{{{_DAILY}}}": "100x1000",
        },
        {
            f"collectionstore_backup_last_failure_timestamp_seconds{{{_DAILY}}}": "100x1000",
            f"collectionstore_backup_last_success_timestamp_seconds{{{_DAILY}}}": "200x1000",
        },
        _SCHEDULE,
    ),
    Case(
        "BackupTooOld",
        "critical",
        {
            f"collectionstore_backup_interval_seconds{{{_DAILY}}}": "300x1000",
            f"collectionstore_backup_last_success_timestamp_seconds{{{_DAILY}}}": "100x1000",
        },
        {
            f"collectionstore_backup_interval_seconds{{{_DAILY}}}": "300x1000",
            f"collectionstore_backup_last_success_timestamp_seconds{{{_DAILY}}}": "0+60x1000",
        },
        _SCHEDULE,
    ),
    Case(
        "ArchiveLagging",
        "warning",
        {
            f'collectionstore_backup_condition{{{_DAILY}, condition="Archiving", status="False"}}': "1x1000",
            f"collectionstore_backup_archive_lag_entries{{{_DAILY}}}": "5x1000",
        },
        {
            f'collectionstore_backup_condition{{{_DAILY}, condition="Archiving", status="False"}}': "0x1000",
            f"collectionstore_backup_archive_lag_entries{{{_DAILY}}}": "5000x1000",
            f"collectionstore_backup_archive_lag_seconds{{{_DAILY}}}": "30x1000",
        },
        _SCHEDULE,
    ),
    Case(
        "ArchiveLagging",
        "warning",
        {
            f"collectionstore_backup_archive_lag_entries{{{_DAILY}}}": "5x1000",
            f"collectionstore_backup_archive_lag_seconds{{{_DAILY}}}": "900x1000",
        },
        {
            f"collectionstore_backup_archive_lag_entries{{{_DAILY}}}": "5x1000",
            f"collectionstore_backup_archive_lag_seconds{{{_DAILY}}}": "299x1000",
        },
        _SCHEDULE,
    ),
    Case(
        "RestoreDrillFailed",
        "critical",
        {f'collectionstore_backup_condition{{{_DAILY}, condition="Verified", status="False"}}': "1x1000"},
        {f'collectionstore_backup_condition{{{_DAILY}, condition="Verified", status="False"}}': "0x1000"},
        _SCHEDULE,
    ),
)
