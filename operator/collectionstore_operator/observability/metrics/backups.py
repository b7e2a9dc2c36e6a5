"""The series of schedules of backups, collected at a scrape from the last status of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from collectionstore_operator.model.backups.observed import Archive, Lag, ScheduleObserved
from collectionstore_operator.model.timestamps import seconds
from collectionstore_operator.observability.metrics.declared import family
from collectionstore_operator.observability.metrics.table import STATUSES
from collectionstore_operator.resource.backups.desired import Schedule
from collectionstore_operator.status.backups.schedule_conditions import AWAKE
from collectionstore_operator.status.backups.schedule_fields import HIBERNATED, ScheduleStatus

ScheduleKey: TypeAlias = tuple[str, str]
"""Namespace and name of a schedule."""


@dataclass(frozen=True, slots=True)
class _Known:
    schedule: Schedule
    observed: ScheduleObserved
    status: ScheduleStatus


_Read: TypeAlias = Callable[[_Known], float | None]


def _time(timestamp: str) -> float | None:
    return seconds(timestamp) if timestamp else None


def _interval(known: _Known) -> float | None:
    """Without it no backup is too old: none is made while the cluster is hibernated, and then one is made up for."""
    fresh = known.status.condition("BackupFresh")
    excused = fresh is not None and fresh.reason in (HIBERNATED, AWAKE)
    return None if excused else known.status.interval_seconds or None


def _last_success(known: _Known) -> float:
    """Without a backup, when the first one of the cluster was to be expected."""
    status = known.status
    if status.last_success_time:
        return seconds(status.last_success_time)
    return max(seconds(moment) for moment in (known.schedule.created, status.cluster_since) if moment)


def _of_lag(read: Callable[[Lag], float | None]) -> _Read:
    def of(known: _Known) -> float | None:
        archive = known.observed.archive
        return read(archive.lag) if isinstance(archive, Archive) and archive.lag is not None else None

    return of


def _confirmed(known: _Known) -> float | None:
    age_s = _of_lag(lambda lag: lag.age_s)(known)
    return None if age_s is None else known.observed.now - age_s


def _if_complete(read: Callable[[ScheduleStatus], float]) -> _Read:
    return lambda known: read(known.status) if known.status.last_success_time else None


GAUGES: Final[dict[str, _Read]] = {
    "backup_interval_seconds": _interval,
    "backup_last_success_timestamp_seconds": _last_success,
    "backup_last_failure_timestamp_seconds": lambda known: _time(known.status.last_failure_time),
    "backup_duration_seconds": _if_complete(lambda status: status.duration_seconds),
    "backup_size_bytes": _if_complete(lambda status: status.size_bytes),
    "backup_archive_lag_entries": _of_lag(lambda lag: lag.lag_entries),
    "backup_archive_lag_seconds": _of_lag(lambda lag: lag.lag_s),
    "backup_archive_lag_revisions": _of_lag(lambda lag: lag.lag_revisions),
    "backup_archive_lag_bytes": _of_lag(lambda lag: lag.lag_bytes),
    "backup_archive_confirmed_timestamp_seconds": _confirmed,
    "backup_last_verified_timestamp_seconds": lambda known: _time(known.status.last_verified),
    "backup_time_to_restore_seconds": lambda known: known.status.time_to_restore_seconds or None,
}
"""Gauges with one value per schedule."""


class BackupSeries(Collector):
    """The last state of each schedule that this operator looks after."""

    def __init__(self) -> None:
        self._known: dict[ScheduleKey, _Known] = {}

    def report(self, schedule: Schedule, observed: ScheduleObserved, status: ScheduleStatus) -> None:
        """Record what a round has found."""
        self._known[schedule.namespace, schedule.name] = _Known(schedule, observed, status)

    def forget(self, key: ScheduleKey) -> None:
        """Drop the series of a schedule that is gone."""
        self._known.pop(key, None)

    def collect(self) -> Iterator[Metric]:
        """Yield all families."""
        known = [self._known[key] for key in sorted(self._known)]
        conditions = family("backup_condition")
        for one in known:
            for condition in one.status.conditions:
                for status in STATUSES:
                    conditions.add_metric([*_labels(one), condition.type, status], float(condition.status == status))
        yield conditions
        for name, read in GAUGES.items():
            metric = family(name)
            for one in known:
                value = read(one)
                if value is not None:
                    metric.add_metric(_labels(one), value)
            yield metric


def _labels(known: _Known) -> list[str]:
    return [known.schedule.namespace, known.schedule.spec.cluster_name, known.schedule.name]
