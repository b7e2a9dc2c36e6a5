"""Puts the loops of backups and schedules together, for the process that leads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from collectionstore_operator.kubernetes.api import Kind, Kube
from collectionstore_operator.kubernetes.api.event_recorder import Recorder
from collectionstore_operator.kubernetes.backups.backup import BackupRounds
from collectionstore_operator.kubernetes.backups.loops import BackupLoops, Key
from collectionstore_operator.kubernetes.backups.rounds import Rounds
from collectionstore_operator.kubernetes.backups.schedule import ScheduleRounds
from collectionstore_operator.observability.metrics import OperatorMetrics
from collectionstore_operator.reconcile.backup_decisions import Decision
from collectionstore_operator.status.backups.schedule_fields import ScheduleStatus


def backup_loops(
    kube: Kube, recorder: Recorder, *, may_act: Callable[[], bool], metrics: OperatorMetrics
) -> BackupLoops:
    """Return the loops; they start when something is told to have changed."""
    kinds: dict[Kind, Any] = {Kind.BACKUP: BackupRounds(kube), Kind.BACKUP_SCHEDULE: ScheduleRounds(kube)}

    def reported(decision: Decision[Any]) -> None:
        if decision.schedule is None or decision.observed is None:
            return
        if isinstance(decision.status, ScheduleStatus):
            metrics.backups.report(decision.schedule, decision.observed, decision.status)

    def make(kind: Kind, namespace: str, name: str) -> Rounds[Any]:
        return Rounds(
            kinds[kind],
            kube,
            recorder,
            namespace=namespace,
            name=name,
            may_act=may_act,
            reported=reported,
        )

    def forgotten(key: Key) -> None:
        if key[0] is Kind.BACKUP_SCHEDULE:
            metrics.backups.forget(key[1:])

    return BackupLoops(make, forgotten=forgotten)
