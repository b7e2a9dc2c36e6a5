"""Alerts on the operator: while it does not turn, clusters run on and nothing is repaired."""

from __future__ import annotations

from typing import Final

from collectionstore_alerts.rules import Alert, Group

_CLUSTER: Final = "{{ $labels.namespace }}/{{ $labels.cluster }}"

OPERATOR: Final = Group(
    "collectionstore-operator",
    (
        Alert(
            "OperatorDown",
            'absent(up{job="collectionstore-operator"} == 1)',
            "10m",
            "warning",
            "No operator answers Prometheus: nothing is repaired, and no certificate is renewed.",
            "Clusters serve on. Members that fail are not replaced, and changes of resources wait.",
            "operator",
        ),
        Alert(
            "OperatorWithoutLease",
            "max by (namespace) (collectionstore_operator_is_leader) == 0",
            "5m",
            "warning",
            "No operator in {{ $labels.namespace }} holds the Lease: none acts.",
            "They run and cannot take or renew it: permissions, or an API server that cannot be reached.",
            "operator",
        ),
        Alert(
            "OperatorLoopStuck",
            "time() - max by (namespace, cluster) (collectionstore_cluster_last_round_timestamp_seconds) > 300",
            "5m",
            "warning",
            f"The operator has not looked at {_CLUSTER} for minutes.",
            "Its last round is {{ $value | humanizeDuration }} ago; they come every few seconds.",
            "operator",
        ),
        Alert(
            "PlanBlocked",
            "time() - min by (namespace, cluster) (collectionstore_cluster_blocked_since_timestamp_seconds) > 1800",
            "5m",
            "warning",
            f"A step that {_CLUSTER} needs has been waiting for long.",
            "The oldest has been blocked for {{ $value | humanizeDuration }}. The plan says by what.",
            "operator",
        ),
        Alert(
            "RoundsFailing",
            'sum by (namespace, instance) (rate(collectionstore_operator_reconciles_total{result="Failed"}[5m])) / '
            "sum by (namespace, instance) (rate(collectionstore_operator_reconciles_total[5m])) > 0.5",
            "15m",
            "warning",
            "Most rounds of the operator {{ $labels.instance }} end with an error.",
            "{{ $value | humanizePercentage }} of them fail. Its log names the error and the cluster.",
            "operator",
        ),
    ),
)

GROUPS: Final = (OPERATOR,)
