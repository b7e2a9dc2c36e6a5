"""Puts the loops of the resources beside clusters together: backups, schedules, users and roles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from collectionstore_operator.kubernetes.access.connections import Connections
from collectionstore_operator.kubernetes.access.role import RoleRounds
from collectionstore_operator.kubernetes.access.rounds import AccessRounds
from collectionstore_operator.kubernetes.access.rounds import Decision as AccessDecision
from collectionstore_operator.kubernetes.access.user import UserRounds
from collectionstore_operator.kubernetes.api import Kind, Kube
from collectionstore_operator.kubernetes.api.event_recorder import Recorder
from collectionstore_operator.kubernetes.backups.backup import BackupRounds
from collectionstore_operator.kubernetes.backups.loops import BackupLoops, Key
from collectionstore_operator.kubernetes.backups.loops import Rounds as AnyRounds
from collectionstore_operator.kubernetes.backups.rounds import Rounds
from collectionstore_operator.kubernetes.backups.schedule import ScheduleRounds
from collectionstore_operator.observability.metrics import OperatorMetrics
from collectionstore_operator.reconcile.backup_decisions import Decision
from collectionstore_operator.resource.access.desired import User
from collectionstore_operator.status.access.user_status import UserStatus
from collectionstore_operator.status.backups.schedule_fields import ScheduleStatus


def beside_loops(
    kube: Kube, recorder: Recorder, *, may_act: Callable[[], bool], metrics: OperatorMetrics
) -> BackupLoops:
    """Return the loops; they start when something is told to have changed."""
    connections = Connections(kube)
    backups: dict[Kind, Any] = {Kind.BACKUP: BackupRounds(kube), Kind.BACKUP_SCHEDULE: ScheduleRounds(kube)}
    access: dict[Kind, Any] = {Kind.USER: UserRounds(kube, connections), Kind.ROLE: RoleRounds(kube, connections)}

    def reported(decision: Decision[Any]) -> None:
        if decision.schedule is None or decision.observed is None:
            return
        if isinstance(decision.status, ScheduleStatus):
            metrics.backups.report(decision.schedule, decision.observed, decision.status)

    def reported_access(decision: AccessDecision[Any]) -> None:
        if isinstance(decision.status, UserStatus) and isinstance(decision.resource, User):
            metrics.users.report(decision.resource, decision.status)

    def make(kind: Kind, namespace: str, name: str) -> AnyRounds:
        if kind in access:
            return AccessRounds(
                access[kind],
                kube,
                recorder,
                namespace=namespace,
                name=name,
                may_act=may_act,
                reported=reported_access,
            )
        return Rounds(
            backups[kind],
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
        if key[0] is Kind.USER:
            metrics.users.forget(key[1:])

    return BackupLoops(make, forgotten=forgotten)
