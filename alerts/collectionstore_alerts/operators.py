"""Alerts on the operator: while it does not turn, clusters run on and nothing is repaired."""

from __future__ import annotations

from typing import Final

from collectionstore_alerts.rules import Alert, Group

_CLUSTER: Final = "{{ $labels.namespace }}/{{ $labels.cluster }}"


def _false(condition: str) -> str:
    """Return the expression for a condition of a cluster that is False, whichever operator tells it."""
    return _has(condition, "False")


def _has(condition: str, status: str) -> str:
    """Return the expression for a condition of a cluster that has a status, whichever operator tells it."""
    series = f'collectionstore_cluster_condition{{condition="{condition}", status="{status}"}}'
    return f"max by (namespace, cluster) ({series}) == 1"


OPERATOR: Final = Group(
    "collectionstore-operator",
    (
        Alert(
            "OperatorDown",
            'absent(up{job="collectionstore-operator"} == 1)',
            "10m",
            "warning",
            "No operator is scraped: nothing is repaired and no certificate is renewed.",
            "Clusters keep serving. Failed members are not replaced, and changes to resources wait.",
            "operator",
        ),
        Alert(
            "OperatorWithoutLease",
            "max by (namespace) (collectionstore_operator_is_leader) == 0",
            "5m",
            "warning",
            "No operator in {{ $labels.namespace }} holds the Lease: none is active.",
            "They run but cannot acquire or renew it: missing permissions, or an unreachable API server.",
            "operator",
        ),
        Alert(
            "OperatorLoopStuck",
            "time() - max by (namespace, cluster) (collectionstore_cluster_last_round_timestamp_seconds) > 300",
            "5m",
            "warning",
            f"The operator has not reconciled {_CLUSTER} for minutes.",
            "The last reconciliation was {{ $value | humanizeDuration }} ago; the interval is a few seconds.",
            "operator",
        ),
        Alert(
            "PlanBlocked",
            "time() - min by (namespace, cluster) (collectionstore_cluster_blocked_since_timestamp_seconds) > 1800",
            "5m",
            "warning",
            f"A step that {_CLUSTER} needs has been blocked for long.",
            "The oldest has been blocked for {{ $value | humanizeDuration }}. status.plan has the reason.",
            "operator",
        ),
        Alert(
            "RoundsFailing",
            'sum by (namespace, instance) (rate(collectionstore_operator_reconciles_total{result="Failed"}[5m])) / '
            "sum by (namespace, instance) (rate(collectionstore_operator_reconciles_total[5m])) > 0.5",
            "15m",
            "warning",
            "Most reconciliations of the operator {{ $labels.instance }} fail.",
            "{{ $value | humanizePercentage }} of them fail. The log has the error and the cluster.",
            "operator",
        ),
        Alert(
            "RecordsInvalid",
            _false("RecordsValid"),
            "5m",
            "critical",
            f"The records or keys of {_CLUSTER} are not those of its members.",
            "Members serve, but certificates cannot be renewed. status.conditions, RecordsValid, says what is wrong.",
            "operator",
        ),
        Alert(
            "CertificatesNotReady",
            _false("CertificatesReady"),
            "30m",
            "warning",
            f"Certificates of {_CLUSTER} are missing, or were not renewed in time.",
            "Members serve until they expire. status.conditions, CertificatesReady, names the certificates and dates.",
            "operator",
        ),
        Alert(
            "AccessNotConfigured",
            _false("AccessConfigured"),
            "30m",
            "warning",
            f"{_CLUSTER} does not have the access control that its resource asks for, or was never given any.",
            "status.conditions, AccessConfigured, says which requests are served meanwhile, and what it waits for.",
            "operator",
        ),
        Alert(
            "CredentialInvalid",
            'max by (namespace, cluster, user) (collectionstore_user_condition{condition="CredentialValid", '
            'status="False"}) == 1',
            "15m",
            "critical",
            "The credential of the user {{ $labels.user }} of {{ $labels.namespace }}/{{ $labels.cluster }} does not "
            "work, or was not replaced in time.",
            "What uses its Secret is refused, or will be. status.conditions, CredentialValid, of the "
            "CollectionStoreUser says why.",
            "operator",
        ),
        Alert(
            "QuorumLost",
            _has("QuorumLost", "True"),
            "2m",
            "critical",
            f"{_CLUSTER} has lost its quorum: the disks of a majority are gone, or their pods cannot start.",
            "status.conditions, QuorumLost, says which; status.recovery what survives, and how to recover.",
            "operator",
        ),
        Alert(
            "VolumesUnsafe",
            _false("VolumesSafe"),
            "5m",
            "warning",
            f"A volume of {_CLUSTER} is lost with the next restart of its member, or with its claim.",
            "status.conditions, VolumesSafe, names the claim or volume.",
            "operator",
        ),
    ),
)

GROUPS: Final = (OPERATOR,)
