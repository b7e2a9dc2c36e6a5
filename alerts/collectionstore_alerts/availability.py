"""Alerts on what clients notice, or are about to: no leader, no majority, members that are missing or wrong."""

from __future__ import annotations

from typing import Final

from collectionstore_alerts.rules import Alert, Group

_CLUSTER: Final = "{{ $labels.namespace }}/{{ $labels.cluster }}"
_MEMBER: Final = "{{ $labels.instance }} of {{ $labels.namespace }}/{{ $labels.cluster }}"
_UP: Final = 'up{job="collectionstore-node"}'


def _expiring(*, days: int, share: int) -> str:
    """Return the expression for certificates that end soon: in `days`, and within the last `share`-th of their life.

    Lifetimes are chosen by users: one of a week is not late a week before its end. Members of older versions do not
    export the lifetime; for them the days alone decide.
    """
    left = "collectionstore_tls_certificate_expiry_timestamp_seconds - time()"
    return f"({left} < {days} * 86400) unless ({left} > collectionstore_tls_certificate_lifetime_seconds / {share})"


SERVICE: Final = Group(
    "collectionstore-service",
    (
        Alert(
            "NoLeader",
            "max by (namespace, cluster) (collectionstore_raft_has_leader) == 0",
            "1m",
            "critical",
            f"{_CLUSTER} has no leader: it accepts no writes and serves no linearizable reads.",
            "No member that answers knows a leader. Usually a majority is down or partitioned.",
            "raft",
        ),
        Alert(
            "ClusterDown",
            f"max by (namespace, cluster) ({_UP}) == 0",
            "1m",
            "critical",
            f"No member of {_CLUSTER} answers Prometheus.",
            "All members are down, or Prometheus cannot reach any of them.",
            "overview",
        ),
        Alert(
            "QuorumAtRisk",
            "max by (namespace, cluster) (collectionstore_raft_tolerated_failures) < 1 "
            "and max by (namespace, cluster) (collectionstore_raft_voters) > 2",
            "5m",
            "critical",
            f"{_CLUSTER} loses quorum if one more voter fails.",
            "The leader is in contact with a bare majority of the voters: {{ $value }} more may fail.",
            "overview",
        ),
        Alert(
            "MetricsAbsent",
            "max by (namespace, cluster) (collectionstore_cluster_desired_members) > 0 "
            f"unless on (namespace, cluster) count by (namespace, cluster) ({_UP})",
            "10m",
            "critical",
            f"Prometheus scrapes no member of {_CLUSTER}: no other alert can fire for it.",
            "The operator reports {{ $value }} members, and there is no target for any of them.",
            "operator",
        ),
        Alert(
            "RequestsRefused",
            'sum by (namespace, cluster) (rate(collectionstore_http_problems_total{problem="overloaded"}[5m])) > 1',
            "5m",
            "warning",
            f"{_CLUSTER} refuses requests because its queues are full.",
            "{{ $value | humanize }} requests per second are answered with 503 overloaded.",
            "api",
        ),
        Alert(
            "OutcomesUnknown",
            "sum by (namespace, cluster) "
            '(rate(collectionstore_http_problems_total{problem="outcome_unknown"}[5m])) > 0.1',
            "10m",
            "warning",
            f"Clients of {_CLUSTER} receive answers that leave open whether a write was applied.",
            "{{ $value | humanize }} writes per second end with 504 outcome_unknown.",
            "api",
        ),
    ),
)

MEMBERS: Final = Group(
    "collectionstore-members",
    (
        Alert(
            "MemberDown",
            f"{_UP} == 0",
            "5m",
            "warning",
            f"{_MEMBER} is not scraped: it does not respond to Prometheus.",
            "Its process or its node is down or hangs. The other members keep serving while they are a majority.",
            "overview",
        ),
        Alert(
            "MembersNotReady",
            "max by (namespace, cluster) (collectionstore_cluster_desired_members) - "
            "max by (namespace, cluster) (collectionstore_cluster_ready_members) > 0",
            "15m",
            "warning",
            f"{_CLUSTER} has fewer ready members than desired.",
            "{{ $value }} of the desired members do not vote, are not up to date, or do not serve.",
            "operator",
        ),
        Alert(
            "MemberWithoutLeader",
            "collectionstore_raft_has_leader == 0 "
            "and on (namespace, cluster) max by (namespace, cluster) (collectionstore_raft_has_leader) == 1",
            "5m",
            "warning",
            f"{_MEMBER} knows no leader, while other members do.",
            "It is partitioned from the majority and answers all requests with 503.",
            "raft",
        ),
        Alert(
            "LeaderChanges",
            "max by (namespace, cluster) (increase(collectionstore_raft_leader_changes_total[15m])) >= 4",
            "5m",
            "warning",
            f"The leadership of {_CLUSTER} is unstable.",
            "{{ $value | humanize }} leader changes within 15 minutes. Each delays clients by about a second.",
            "raft",
        ),
        Alert(
            "MemberRestarting",
            'changes(process_start_time_seconds{job="collectionstore-node"}[30m]) > 3',
            "1m",
            "warning",
            f"{_MEMBER} restarts repeatedly.",
            "{{ $value }} restarts within 30 minutes.",
            "storage",
        ),
        Alert(
            "Stalls",
            "sum by (namespace, cluster, instance, kind) (increase(collectionstore_watchdog_stalls_total[10m])) > 2",
            "5m",
            "warning",
            f"{_MEMBER} stalls repeatedly ({{{{ $labels.kind }}}}).",
            "{{ $value | humanize }} stalls within 10 minutes, each longer than an election timeout.",
            "storage",
        ),
        Alert(
            "FileDescriptors",
            'process_open_fds{job="collectionstore-node"} / process_max_fds{job="collectionstore-node"} > 0.8',
            "10m",
            "warning",
            f"{_MEMBER} runs out of file descriptors.",
            "{{ $value | humanizePercentage }} of the limit are in use. At the limit, no connection is accepted.",
            "storage",
        ),
        Alert(
            "CertificateExpiring",
            _expiring(days=21, share=4),
            "1h",
            "warning",
            f"The certificate of {_MEMBER} for {{{{ $labels.purpose }}}} was not renewed.",
            "It expires in {{ $value | humanizeDuration }}. A third of its lifetime before, it should be renewed.",
            "operator",
        ),
        Alert(
            "CertificateExpiring",
            _expiring(days=3, share=10),
            "5m",
            "critical",
            f"The certificate of {_MEMBER} for {{{{ $labels.purpose }}}} expires soon.",
            "It expires in {{ $value | humanizeDuration }}. Then the other members reject this member.",
            "operator",
        ),
    ),
)

CORRECTNESS: Final = Group(
    "collectionstore-correctness",
    (
        Alert(
            "StateMismatch",
            "max by (namespace, cluster) (collectionstore_digest_mismatch) > 0",
            "1m",
            "critical",
            f"Members of {_CLUSTER} hold different data.",
            "The state of {{ $value }} members differs from the others' at the same log index.",
            "raft",
        ),
        Alert(
            "StateNotCompared",
            "max by (namespace, cluster) (collectionstore_digest_inconclusive) > 0",
            "30m",
            "warning",
            f"The state of a member of {_CLUSTER} cannot be compared with the others'.",
            "{{ $value }} members are in contact but report no digest, so that a mismatch would not be detected.",
            "raft",
        ),
        Alert(
            "ImpossibleMessages",
            "sum by (namespace, cluster, instance) (increase(collectionstore_raft_rejected_messages_total[10m])) > 0",
            "1m",
            "warning",
            f"{_MEMBER} refuses messages that no correct member sends.",
            "{{ $value | humanize }} messages within 10 minutes. A member is faulty, of another build, or compromised.",
            "raft",
        ),
    ),
)

GROUPS: Final = (SERVICE, MEMBERS, CORRECTNESS)
