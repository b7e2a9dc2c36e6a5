"""A CollectionStoreBackupSchedule: what is read of it, what is written to it, and its rounds."""

from __future__ import annotations

from collectionstore_operator.errors import InvalidResource
from collectionstore_operator.kubernetes import pod_diagnostics
from collectionstore_operator.kubernetes.api import Body, Kind, Kube
from collectionstore_operator.kubernetes.backups.admission import observe_admission
from collectionstore_operator.kubernetes.backups.archives import ReadLag, ask_pod, observe_archive
from collectionstore_operator.kubernetes.backups.clusters_seen import observe_cluster
from collectionstore_operator.kubernetes.backups.jobs import observe_run
from collectionstore_operator.kubernetes.backups.rounds import Decision
from collectionstore_operator.manifests.backups.archive import build_archive
from collectionstore_operator.manifests.backups.work import Work, work_of_schedule
from collectionstore_operator.model.backups.assessment import assess_schedule
from collectionstore_operator.model.backups.observed import (
    Archive,
    BackupSummary,
    ClusterSeen,
    ScheduleObserved,
    Times,
)
from collectionstore_operator.model.observed import Absent, Unknown
from collectionstore_operator.model.timestamps import seconds
from collectionstore_operator.planning.backups.schedule import plan_schedule
from collectionstore_operator.reconcile import timetable
from collectionstore_operator.resource.backups import names
from collectionstore_operator.resource.backups.desired import Schedule, parse_backup, parse_schedule
from collectionstore_operator.status.backups.backup_status import BackupStatus, summary_of
from collectionstore_operator.status.backups.fields import read_status
from collectionstore_operator.status.backups.schedule_fields import ScheduleStatus
from collectionstore_operator.status.backups.schedule_status import refused_schedule, schedule_status


class ScheduleRounds:
    """The rounds of schedules."""

    kind = Kind.BACKUP_SCHEDULE

    def __init__(self, kube: Kube, read_lag: ReadLag = ask_pod) -> None:
        self._kube = kube
        self._read_lag = read_lag

    async def decide(self, body: Body, now: float) -> Decision[ScheduleStatus]:
        """Return what the status is to be and what is to be done. Raises InvalidResource and ApiError."""
        schedule, previous = parse_schedule(body), read_status(body, ScheduleStatus)
        observed = await self._observe(schedule, now)
        view = assess_schedule(schedule, observed, (previous or ScheduleStatus()).memory())
        seen = observed.cluster if isinstance(observed.cluster, ClusterSeen) else None
        work = _work(schedule, observed.cluster)
        # Behind a backup of the cluster: without one there is nothing that the log could continue.
        before = previous is not None and bool(previous.last_success_time) and not view.renewed
        begun = view.success is not None or before
        archives = schedule.spec.archive and begun and seen is not None and seen.readable
        digest = build_archive(work).digest if archives else ""
        # A cluster that cannot be read says nothing about its archive: what there is stays. One that is to be
        # hibernated is archived until its members are stopped: what they have committed until then as well.
        keeps = schedule.spec.archive and (seen is None or (seen.desired.spec.asleep and not seen.hibernated))
        plan = plan_schedule(schedule, observed, view, _present(observed) if keeps else digest)
        return Decision(
            status=schedule_status(schedule, observed, view, previous),
            plan=plan,
            work=work,
            subject=schedule.name,
            cluster=work.cluster,
            schedule=schedule,
            observed=observed,
        )

    def refuse(self, body: Body, message: str, generation: int, now: float) -> ScheduleStatus:
        """Return the status of a schedule whose spec is invalid."""
        return refused_schedule(message, generation, read_status(body, ScheduleStatus), now)

    async def _observe(self, schedule: Schedule, now: float) -> ScheduleObserved:
        kube, namespace, uid = self._kube, schedule.namespace, schedule.uid
        times, drill_times, invalid = _times(schedule, now)
        cluster = await observe_cluster(kube, schedule.spec.cluster_name, namespace)
        archive = await observe_archive(kube, names.archive(schedule.name, uid), namespace, uid, self._read_lag)
        archives = isinstance(archive, Archive)
        return ScheduleObserved(
            now=now,
            cluster=cluster,
            backups=await self._backups(schedule),
            times=times,
            drill_times=drill_times,
            invalid=invalid,
            prune=await observe_run(kube, names.job(schedule.name, uid, "prune"), namespace, uid),
            drill=await observe_run(kube, names.job(schedule.name, uid, "drill"), namespace, uid),
            archive=archive,
            admitted=await observe_admission(kube, _work(schedule, cluster)) if archives else True,
            namespace_terminating=await pod_diagnostics.is_terminating(kube, namespace),
        )

    async def _backups(self, schedule: Schedule) -> tuple[BackupSummary, ...]:
        """Return the backups of the schedule, in the order of their times; raises ApiError, so none is missed."""
        bodies = await self._kube.find_all(Kind.BACKUP, schedule.namespace, {names.SCHEDULE: schedule.name})
        found = []
        for body in bodies:
            try:
                backup = parse_backup(body)
            except InvalidResource:
                continue  # not one of ours: what a schedule creates is valid
            if backup.spec.cluster_name == schedule.spec.cluster_name:
                found.append(summary_of(backup, _due(body), read_status(body, BackupStatus)))
        return tuple(sorted(found, key=lambda one: (one.due, one.backup.name)))


def _work(schedule: Schedule, cluster: ClusterSeen | Absent | Unknown) -> Work:
    seen = cluster if isinstance(cluster, ClusterSeen) else None
    return work_of_schedule(schedule, seen.desired if seen else None, seen.cluster_id if seen else "")


def _times(schedule: Schedule, now: float) -> tuple[Times, Times, str]:
    spec = schedule.spec
    try:
        main = timetable.due(spec.schedule, spec.time_zone, now)
        drill = timetable.due(spec.drill, spec.time_zone, now) if spec.drill is not None else timetable.Due(None, None)
    except timetable.InvalidTimetable as error:
        return Times(), Times(), str(error)
    return Times(last=main.last, next=main.next), Times(last=drill.last, next=drill.next), ""


def _due(body: Body) -> float:
    """Return the time that a backup was made for; of another one that carries the label, its creation."""
    told = (body["metadata"].get("annotations") or {}).get(names.DUE, "")
    return float(told) if told.isdigit() else seconds(body["metadata"]["creationTimestamp"])


def _present(observed: ScheduleObserved) -> str:
    return getattr(observed.archive, "digest", "")
