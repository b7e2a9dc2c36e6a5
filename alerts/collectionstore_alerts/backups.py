"""Alerts on backups: what is not backed up, or was never restored, is found out before it is needed."""

from __future__ import annotations

from typing import Final

from collectionstore_alerts.rules import Alert, Group

_SCHEDULE: Final = "{{ $labels.namespace }}/{{ $labels.schedule }}"
_KEYS: Final = "namespace, cluster, schedule"


ARCHIVE_LAG_S: Final = 300
"""So much may be lost with the cluster before it is told."""


def _told(series: str) -> str:
    return f"max by ({_KEYS}) (collectionstore_backup_{series})"


def _false(condition: str) -> str:
    return _told(f'condition{{condition="{condition}", status="False"}}') + " == 1"


BACKUPS: Final = Group(
    "collectionstore-backups",
    (
        Alert(
            "BackupFailed",
            f"{_told('last_failure_timestamp_seconds')} > {_told('last_success_timestamp_seconds')}",
            "5m",
            "warning",
            f"The last backup of the schedule {_SCHEDULE} has failed.",
            "The next one is made at the next time of the schedule. lastFailureReason and lastFailureMessage in its "
            "status say why.",
            "operator",
        ),
        Alert(
            "BackupTooOld",
            f"time() - {_told('last_success_timestamp_seconds')} > 2 * {_told('interval_seconds')}",
            "5m",
            "critical",
            f"The schedule {_SCHEDULE} has no backup from its last two intervals.",
            "The newest one is {{ $value | humanizeDuration }} old: so much is lost with the cluster.",
            "operator",
        ),
        Alert(
            "ArchiveLagging",
            f"({_false('Archiving')}) or ({_told('archive_lag_entries')} > 100000)"
            f" or ({_told('archive_lag_seconds')} > {ARCHIVE_LAG_S})",
            "5m",
            "warning",
            f"The archive of the schedule {_SCHEDULE} does not follow the log of {{{{ $labels.cluster }}}}.",
            "A restore to a point in time ends where the archive ends. The condition Archiving says why.",
            "operator",
        ),
        Alert(
            "RestoreDrillFailed",
            _false("Verified"),
            "5m",
            "critical",
            f"The newest backup of the schedule {_SCHEDULE} could not be restored in a drill.",
            "It may be impossible to restore {{ $labels.cluster }}. drillMessage in the status says why.",
            "operator",
        ),
    ),
)

GROUPS: Final = (BACKUPS,)
