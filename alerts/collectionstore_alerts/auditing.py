"""Alerts on the audit log: sinks that take no records, and records that were lost."""

from __future__ import annotations

from typing import Final

from collectionstore_alerts.rules import Alert, Group

_MEMBER: Final = "{{ $labels.instance }} of {{ $labels.namespace }}/{{ $labels.cluster }}"

AUDIT: Final = Group(
    "collectionstore-audit",
    (
        Alert(
            "AuditSinkFailing",
            "max by (namespace, cluster, instance, sink) (collectionstore_audit_sink_failing) == 1",
            "5m",
            "warning",
            f"The sink {{{{ $labels.sink }}}} of the audit log of {_MEMBER} takes no records.",
            "They wait in memory, and are lost when the queue is full. Depending on its settings the member refuses "
            "requests that it could not audit.",
            "api",
        ),
        Alert(
            "AuditRecordsLost",
            "sum by (namespace, cluster, instance, sink) "
            '(increase(collectionstore_audit_records_total{result="dropped"}[15m])) > 0',
            "1m",
            "critical",
            f"Records of the audit log of {_MEMBER} were lost.",
            "{{ $value | humanize }} within 15 minutes for the sink {{ $labels.sink }}, whose queue is full.",
            "api",
        ),
    ),
)

GROUPS: Final = (AUDIT,)
