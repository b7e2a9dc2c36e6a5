"""The status of a CollectionStoreBackupSchedule: what it has achieved, and what is wrong. Pure."""

from __future__ import annotations

from typing import Any, Final

from collectionstore_operator.model.assessment import coarse_lag, one_digit
from collectionstore_operator.model.backups.assessment import ScheduleView
from collectionstore_operator.model.backups.observed import Archive, Lag, ScheduleObserved
from collectionstore_operator.model.backups.outcomes import Drilled, Trouble
from collectionstore_operator.model.timestamps import rfc3339
from collectionstore_operator.resource.backups.desired import Schedule
from collectionstore_operator.status.backups.schedule_conditions import conditions
from collectionstore_operator.status.backups.schedule_fields import ScheduleStatus
from collectionstore_operator.status.condition_state import ConditionState
from collectionstore_operator.status.published_conditions import conditions_from

_TEXT_MAX: Final = 1_024
_OF_CLUSTER: Final = (
    "last_success_time",
    "last_success_name",
    "last_success_backup",
    "last_success_revision",
    "size_bytes",
    "duration_seconds",
    "archive_lag_entries",
    "archive_lag_seconds",
    "archive_lag_bytes",
    "last_verified",
    "last_verified_backup",
    "time_to_restore_seconds",
    "drill_message",
    "prune_note",
)
"""What says nothing of a cluster of another ID."""


def schedule_status(
    schedule: Schedule, observed: ScheduleObserved, view: ScheduleView, previous: ScheduleStatus | None
) -> ScheduleStatus:
    """Return the status of a valid schedule."""
    before = previous or ScheduleStatus()
    fields: dict[str, Any] = {name: getattr(before, name) for name in ScheduleStatus.__struct_fields__}
    if view.renewed:
        unset = ScheduleStatus()
        fields |= {name: getattr(unset, name) for name in _OF_CLUSTER}
    fields |= _runs(schedule, observed, view)
    fields |= _drill(observed, view)
    if view.prune_ended:
        fields["prune_message"] = "" if view.pruned is None else _said(view.pruned)
        fields["prune_note"] = view.log_kept
    if isinstance(observed.archive, Archive) and observed.archive.lag is not None:
        fields |= _lag(observed.archive.lag)
    states = conditions(schedule, observed, view, ScheduleStatus(**fields))
    made = conditions_from(states, before, schedule.generation, observed.now)
    return ScheduleStatus(**(fields | {"observed_generation": schedule.generation, "conditions": made}))


def refused_schedule(message: str, generation: int, previous: ScheduleStatus | None, now: float) -> ScheduleStatus:
    """Return the status of a schedule whose spec is invalid: what was achieved stays."""
    before = previous or ScheduleStatus()
    states = {kind: ConditionState("False", "InvalidSpec", message[:_TEXT_MAX]) for kind in ("Ready", "Accepted")}
    fields = {name: getattr(before, name) for name in ScheduleStatus.__struct_fields__}
    made = conditions_from(states, before, generation, now)
    return ScheduleStatus(**(fields | {"observed_generation": generation, "conditions": made}))


def _runs(schedule: Schedule, observed: ScheduleObserved, view: ScheduleView) -> dict[str, Any]:
    upcoming = None if schedule.spec.suspend else observed.times.next
    found: dict[str, Any] = {
        "last_schedule_time": _time(view.memory.due),
        "next_schedule_time": _time(upcoming or 0.0),
        "interval_seconds": int(observed.times.interval_s or 0),
        "active": view.active.backup.name if view.active is not None else "",
        "pruned_behind": view.memory.pruned,
        "cluster_id": view.memory.cluster_id,
        "cluster_since": _time(view.memory.cluster_since),
        "awake_since": _time(view.memory.awake_since),
    }
    if view.success is not None:
        one = view.success
        found |= {
            "last_success_time": one.ended,
            "last_success_name": one.backup.name,
            "last_success_backup": one.backup_id,
            "last_success_revision": one.revision,
            "size_bytes": one.size_bytes,
            "duration_seconds": int(one.duration_s),
        }
    if view.failure is not None:
        found |= {
            "last_failure_time": view.failure.ended,
            "last_failure_reason": view.failure.reason,
            "last_failure_message": view.failure.message[:_TEXT_MAX],
        }
    return found


def _lag(lag: Lag) -> dict[str, Any]:
    waited_s = int(lag.lag_s or 0)
    return {
        "archive_lag_entries": coarse_lag(lag.lag_entries),
        # By one digit: a status that changed with every second would be written with every second.
        "archive_lag_seconds": one_digit(waited_s) if waited_s >= 10 else 0,
        "archive_lag_bytes": coarse_lag(lag.lag_bytes or 0),
    }


def _drill(observed: ScheduleObserved, view: ScheduleView) -> dict[str, Any]:
    drilled = view.drilled
    if drilled is None:
        return {}
    found: dict[str, Any] = {"last_drill_time": _time(view.memory.drilled)}
    if isinstance(drilled, Trouble):
        return found | {"drill_message": _said(drilled)}
    return found | _verified(drilled, observed)


def _verified(drilled: Drilled, observed: ScheduleObserved) -> dict[str, Any]:
    ended = getattr(observed.drill, "ended", None)
    return {
        "drill_message": "",
        "last_verified": rfc3339(ended or observed.now),
        "last_verified_backup": drilled.id,
        "time_to_restore_seconds": max(1, round(drilled.seconds)),
    }


def _said(trouble: Trouble) -> str:
    return f"{trouble.reason}: {trouble.message}"[:_TEXT_MAX]


def _time(moment: float) -> str:
    return rfc3339(moment) if moment > 0 else ""
