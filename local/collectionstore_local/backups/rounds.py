"""One round of all backups and schedules of a local cluster: read, assess, publish the status, act.

The decisions are those of `collectionstore_operator.reconcile.backup_decisions`. BEFORE the actions the status is
published: what has ended is remembered there, and the next action may remove what said so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal

import msgspec
import structlog

from collectionstore_local.backups.run_records import RunRecord
from collectionstore_local.backups.runs import Runs
from collectionstore_local.backups.work import archive_job, job_of
from collectionstore_local.processes.port_allocation import HOST
from collectionstore_local.state.backup_objects import BackupObjects, Body
from collectionstore_local.state.directory import ClusterDirectory
from collectionstore_local.state.published_status import read_status
from collectionstore_operator import faults
from collectionstore_operator.errors import ActionRefused, InvalidResource
from collectionstore_operator.manifests.backups.jobs import KEPT_S
from collectionstore_operator.manifests.backups.scheduled import build_backup, is_run_of
from collectionstore_operator.manifests.backups.work import Work
from collectionstore_operator.model.backups.actions import (
    AdmitBackups,
    ApplyArchive,
    BackupAction,
    CreateBackup,
    ForgetBackup,
    HoldBackup,
    ReleaseBackup,
    RemoveArchive,
    RemoveRun,
    StartRun,
)
from collectionstore_operator.model.backups.observed import Archive, BackupObserved, ClusterSeen, Run, ScheduleObserved
from collectionstore_operator.model.observed import ABSENT, Absent, Unknown
from collectionstore_operator.observability.metrics import OperatorMetrics
from collectionstore_operator.planning.backups.pace import BUSY_S, IDLE_S
from collectionstore_operator.reconcile.archive_lag import ask_archive
from collectionstore_operator.reconcile.backup_decisions import (
    Decision,
    cluster_seen,
    decide_backup,
    decide_schedule,
    needs_nothing,
    summaries,
    times_of,
)
from collectionstore_operator.resource.backups import names
from collectionstore_operator.resource.backups.desired import Schedule, parse_backup, parse_schedule
from collectionstore_operator.resource.desired import Desired, Runtime
from collectionstore_operator.status.backups import fields
from collectionstore_operator.status.backups.backup_status import BackupStatus, refused_backup
from collectionstore_operator.status.backups.schedule_fields import ScheduleStatus
from collectionstore_operator.status.backups.schedule_status import refused_schedule
from collectionstore_operator.status.events import Event

log = structlog.get_logger(__name__)

SOON_S: Final = 0.2
NAMESPACE: Final = "local"
"""Of the series, as of those of the cluster."""


class BackupRounds:
    """Those of one cluster; `record` appends to its events."""

    def __init__(
        self, directory: ClusterDirectory, runs: Runs, metrics: OperatorMetrics, record: Callable[[Event], None]
    ) -> None:
        self._directory = directory
        self._objects = BackupObjects(directory)
        self._runs = runs
        self._metrics = metrics
        self._record = record
        self._reported: set[str] = set()

    async def once(self, desired: Desired, now: float) -> float:
        """Run one round; return after how many seconds the next one is due."""
        self._runs.advance(now)
        schedules = self._objects.all(names.SCHEDULE_KIND)
        cluster = self._cluster(desired)
        waits = [await self._schedule(body, cluster, now) for body in schedules]
        # AFTER the schedules: a backup that one has created is started in the same round.
        waits += [await self._backup(body, cluster, now) for body in self._objects.all(names.BACKUP_KIND)]
        owners = {body["metadata"]["uid"] for body in (*schedules, *self._objects.all(names.BACKUP_KIND))}
        await self._runs.remove_others(owners, now, kept_s=KEPT_S)
        self._forget({body["metadata"]["name"] for body in schedules})
        due = self._runs.next_at()
        return min([IDLE_S, *waits, *([max(SOON_S, due - now)] if due is not None else [])])

    def _cluster(self, desired: Desired) -> ClusterSeen | Unknown:
        status = read_status(self._directory)
        if status is None:
            return Unknown("it has no status yet")
        return cluster_seen(desired, msgspec.to_builtins(status))

    async def _schedule(self, body: Body, cluster: ClusterSeen | Unknown, now: float) -> float:
        previous = fields.read_status(body, ScheduleStatus)
        try:
            schedule = parse_schedule(body, Runtime.LOCAL)
        except InvalidResource as error:
            self._publish(body, refused_schedule(str(error), error.generation, previous, now), now)
            return IDLE_S
        times, drill_times, invalid = times_of(schedule, now)
        labelled = [
            one
            for one in self._objects.all(names.BACKUP_KIND)
            if (one["metadata"].get("labels") or {}).get(names.SCHEDULE) == schedule.name
        ]
        observed = ScheduleObserved(
            now=now,
            cluster=self._of(schedule.spec.cluster_name, cluster),
            backups=summaries(schedule, labelled, Runtime.LOCAL),
            times=times,
            drill_times=drill_times,
            invalid=invalid,
            prune=self._run(names.job(schedule.name, schedule.uid, "prune"), schedule.uid),
            drill=self._run(names.job(schedule.name, schedule.uid, "drill"), schedule.uid),
            archive=await self._archive(names.archive(schedule.name, schedule.uid)),
        )
        decision = decide_schedule(schedule, observed, previous, lambda work: archive_job(self._directory, work).digest)
        return await self._carry_out(body, decision, now)

    async def _backup(self, body: Body, cluster: ClusterSeen | Unknown, now: float) -> float:
        previous = fields.read_status(body, BackupStatus)
        try:
            backup = parse_backup(body, Runtime.LOCAL)
        except InvalidResource as error:
            self._publish(body, refused_backup(str(error), error.generation, previous, now), now)
            return IDLE_S
        if needs_nothing(backup, previous):
            return IDLE_S
        deletes = backup.deleting and backup.spec.deletion_policy == "Delete"
        observed = BackupObserved(
            now=now,
            cluster=self._of(backup.spec.cluster_name, cluster),
            create=self._run(names.job(backup.name, backup.uid, "create"), backup.uid),
            delete=self._run(names.job(backup.name, backup.uid, "delete"), backup.uid) if deletes else ABSENT,
        )
        return await self._carry_out(body, decide_backup(backup, observed, previous), now)

    def _of(self, name: str, cluster: ClusterSeen | Unknown) -> ClusterSeen | Absent | Unknown:
        return cluster if name == self._directory.name else ABSENT

    def _run(self, name: str, owner: str) -> Run | Absent | Unknown:
        record = self._runs.find(name)
        if record is None:
            return ABSENT
        return record.run() if record.owner == owner else Unknown(f"the run {name} belongs to another owner")

    async def _archive(self, name: str) -> Archive | Absent:
        record = self._runs.find(name)
        if record is None:
            return ABSENT
        runs = record.process is not None
        code = "" if record.exit_code is None else f"exit code {record.exit_code}"
        ended = ": ".join(part for part in (code, " ".join(record.message.split())[:500]) if part)
        return Archive(
            uid=record.uid,
            digest=record.job.digest,
            available=runs,
            trouble="" if runs else record.waiting or ended,
            lag=await ask_archive(f"http://{HOST}:{record.port}/") if runs and record.port else None,
        )

    async def _carry_out(self, body: Body, decision: Decision[Any], now: float) -> float:
        faults.reach("BackupRound.observed")
        if decision.status is not None:
            self._publish(body, decision.status, now)
        if decision.schedule is not None and decision.observed is not None and decision.status is not None:
            shown = msgspec.structs.replace(decision.schedule, namespace=NAMESPACE)
            self._metrics.backups.report(shown, decision.observed, decision.status)
            self._reported.add(decision.schedule.name)
        faults.reach("BackupRound.published")
        if decision.plan is None or decision.work is None:
            return IDLE_S
        for action in decision.plan.actions:
            name = type(action).__name__
            try:
                faults.reach(f"{name}.before")
                await self._perform(action, decision.work, decision.schedule, now)
                faults.reach(f"{name}.after")
            except ActionRefused as error:
                log.warning("backup_action.failed", action=name, subject=decision.subject, detail=str(error))
                self._tell("Warning", f"{name}Failed", decision.subject, str(error), now)
                return BUSY_S
            log.info("backup_action.performed", action=name, subject=decision.subject, reason=action.reason)
            if not isinstance(action, AdmitBackups):
                self._tell("Normal", name, decision.subject, action.reason, now)
        return decision.plan.wait_s

    async def _perform(self, action: BackupAction, work: Work, schedule: Schedule | None, now: float) -> None:
        match action:
            case HoldBackup() | ReleaseBackup():
                self._objects.hold(names.BACKUP_KIND, work.name, work.uid, held=isinstance(action, HoldBackup))
            case AdmitBackups():
                pass  # there are no NetworkPolicies on one machine
            case StartRun():
                retention = schedule.spec.retention if schedule is not None else None
                job = job_of(self._directory, work, action, retention, self._runs.scratch(action.name))
                deadline = now + work.deadline_s
                self._runs.start(
                    RunRecord(
                        name=action.name,
                        uid="",
                        owner=work.uid,
                        subject=action.subject,
                        job=job,
                        started=now,
                        deadline=deadline,
                    ),
                    now,
                )
            case RemoveRun():
                await self._runs.remove(action.name, action.uid)
            case CreateBackup():
                self._create(action, schedule)
            case ForgetBackup():
                self._objects.delete(names.BACKUP_KIND, action.name, action.uid)
            case ApplyArchive():
                name, job = names.archive(work.name, work.uid), archive_job(self._directory, work)
                await self._runs.remove(name)
                self._runs.start(RunRecord(name=name, uid="", owner=work.uid, job=job, endless=True, started=now), now)
            case RemoveArchive():
                await self._runs.remove(names.archive(work.name, work.uid), action.uid)

    def _create(self, action: CreateBackup, schedule: Schedule | None) -> None:
        if schedule is None:
            raise ActionRefused("only a schedule creates backups")
        if self._objects.create(build_backup(action, schedule)):
            return
        found = self._objects.find(names.BACKUP_KIND, action.name)
        if found is not None and not is_run_of(schedule, found):
            raise ActionRefused(
                f"the {names.BACKUP_KIND} {action.name} exists and is not of the schedule {schedule.name} for the "
                f"cluster {schedule.spec.cluster_name}: rename or delete it"
            )

    def _publish(self, body: Body, status: Any, now: float) -> None:
        made = msgspec.json.decode(msgspec.json.encode(status))
        if made == body.get("status"):
            return
        metadata = body["metadata"]
        self._objects.publish(body["kind"], metadata["name"], metadata["uid"], made)
        before = {one.get("type"): one.get("status") for one in (body.get("status") or {}).get("conditions") or ()}
        for one in status.conditions:
            if one.status == "True" and one.type == "Failed" and before.get("Failed") != "True":
                log.warning("backup.failed", subject=metadata["name"], reason=one.reason, detail=one.message)
                self._tell("Warning", "BackupFailed", metadata["name"], f"{one.reason}: {one.message}", now)
            if one.status == "True" and one.type == "Complete" and before.get("Complete") != "True":
                log.info("backup.completed", subject=metadata["name"], detail=one.message)
                self._tell("Normal", "BackupComplete", metadata["name"], one.message, now)

    def _tell(self, kind: Literal["Normal", "Warning"], reason: str, subject: str, message: str, now: float) -> None:
        self._record(Event(time=now, kind=kind, reason=reason, subject=subject, message=message))

    def _forget(self, present: set[str]) -> None:
        """Drop the series of schedules that are gone."""
        for name in self._reported - present:
            self._metrics.backups.forget((NAMESPACE, name))
        self._reported &= present
