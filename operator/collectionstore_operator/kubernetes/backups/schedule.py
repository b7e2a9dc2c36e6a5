"""A CollectionStoreBackupSchedule: what is read of it, what is written to it, and its rounds."""

from __future__ import annotations

from collectionstore_operator.kubernetes import pod_diagnostics
from collectionstore_operator.kubernetes.api import Body, Kind, Kube
from collectionstore_operator.kubernetes.backups.admission import observe_admission
from collectionstore_operator.kubernetes.backups.archives import ReadLag, ask_pod, observe_archive
from collectionstore_operator.kubernetes.backups.clusters_seen import observe_cluster
from collectionstore_operator.kubernetes.backups.jobs import observe_run
from collectionstore_operator.manifests.backups.archive import build_archive
from collectionstore_operator.model.backups.observed import Archive, BackupSummary, ScheduleObserved
from collectionstore_operator.reconcile.backup_decisions import (
    Decision,
    decide_schedule,
    schedule_work,
    summaries,
    times_of,
)
from collectionstore_operator.resource.backups import names
from collectionstore_operator.resource.backups.desired import Schedule, parse_schedule
from collectionstore_operator.status.backups.fields import read_status
from collectionstore_operator.status.backups.schedule_fields import ScheduleStatus
from collectionstore_operator.status.backups.schedule_status import refused_schedule


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
        return decide_schedule(schedule, observed, previous, lambda work: build_archive(work).digest)

    def refuse(self, body: Body, message: str, generation: int, now: float) -> ScheduleStatus:
        """Return the status of a schedule whose spec is invalid."""
        return refused_schedule(message, generation, read_status(body, ScheduleStatus), now)

    async def _observe(self, schedule: Schedule, now: float) -> ScheduleObserved:
        kube, namespace, uid = self._kube, schedule.namespace, schedule.uid
        times, drill_times, invalid = times_of(schedule, now)
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
            admitted=await observe_admission(kube, schedule_work(schedule, cluster)) if archives else True,
            namespace_terminating=await pod_diagnostics.is_terminating(kube, namespace),
        )

    async def _backups(self, schedule: Schedule) -> tuple[BackupSummary, ...]:
        """Return the backups of the schedule, in the order of their times; raises ApiError, so none is missed."""
        bodies = await self._kube.find_all(Kind.BACKUP, schedule.namespace, {names.SCHEDULE: schedule.name})
        return summaries(schedule, bodies)
