"""Actions on backups and schedules. Nothing is decided: what an action names is created, or deleted with its uid."""

from __future__ import annotations

from collections.abc import Callable

from collectionstore_operator import faults
from collectionstore_operator.errors import ActionRefused, ActionUnfinished
from collectionstore_operator.kubernetes.api import AlreadyExists, ApiError, Body, Conflict, Kind, Kube, Unavailable
from collectionstore_operator.kubernetes.backups.admission import admit
from collectionstore_operator.manifests.backups.archive import build_archive
from collectionstore_operator.manifests.backups.jobs import build_job
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
from collectionstore_operator.resource.backups import names
from collectionstore_operator.resource.backups.desired import Schedule
from collectionstore_operator.resource.backups.names import FINALIZER


class Executor:
    """Performs actions; `may_act` says whether the Lease of this process is still held."""

    def __init__(self, kube: Kube, may_act: Callable[[], bool]) -> None:
        self._kube = kube
        self._may_act = may_act

    async def execute(self, action: BackupAction, work: Work, schedule: Schedule | None) -> None:
        """Perform one action. Raises ActionRefused or ActionUnfinished."""
        # This process may have been suspended past the end of its Lease since the last action.
        if not self._may_act():
            raise ActionRefused("the Lease was not renewed in time: another operator may be acting")
        name = type(action).__name__
        try:
            faults.reach(f"{name}.before")
            await self._perform(action, work, schedule)
            faults.reach(f"{name}.after")
        except Unavailable as error:
            raise ActionUnfinished(str(error)) from error
        except ApiError as error:
            raise ActionRefused(str(error)) from error

    async def _perform(self, action: BackupAction, work: Work, schedule: Schedule | None) -> None:
        kube, namespace = self._kube, work.namespace
        match action:
            case HoldBackup():
                await self._change_finalizer(work, held=True)
            case ReleaseBackup():
                await self._change_finalizer(work, held=False)
            case AdmitBackups():
                await admit(kube, work)
            case StartRun():
                retention = schedule.spec.retention if schedule is not None else None
                await self._create(build_job(work, action, retention).body)
            case RemoveRun():
                await kube.delete(Kind.JOB, action.name, namespace, uid=action.uid)
            case CreateBackup():
                await self._create_backup(action, _required(schedule))
            case ForgetBackup():
                await kube.delete(Kind.BACKUP, action.name, namespace, uid=action.uid)
            case ApplyArchive():
                await self._apply_archive(action, work)
            case RemoveArchive():
                await kube.delete(Kind.DEPLOYMENT, names.archive(work.name, work.uid), namespace, uid=action.uid)

    async def _create(self, body: Body) -> None:
        try:
            await self._kube.create(body)
        except AlreadyExists:
            return  # by an attempt whose answer was lost, or by another operator: the name says that it is the same

    async def _create_backup(self, action: CreateBackup, schedule: Schedule) -> None:
        """Create the backup of a run. The name is without a uid: a backup of another origin may have it."""
        body = build_backup(action, schedule)
        try:
            await self._kube.create(body)
        except AlreadyExists:
            found = await self._kube.find(Kind.BACKUP, action.name, schedule.namespace)
            if found is None or is_run_of(schedule, found):
                return  # gone again, which the next round sees; or ours, see `_create`
            raise ActionRefused(
                f"the {names.BACKUP_KIND} {action.name} exists and is not of the schedule {schedule.name} for the "
                f"cluster {schedule.spec.cluster_name}: rename or delete it"
            ) from None

    async def _apply_archive(self, action: ApplyArchive, work: Work) -> None:
        manifest = build_archive(work)
        if manifest.digest != action.digest:
            raise ActionRefused("the manifest of the archive differs from the planned one")
        await self._kube.apply(manifest.body)

    async def _change_finalizer(self, work: Work, *, held: bool) -> None:
        """Add or remove our finalizer from the newest list: a merge patch replaces all of it."""
        while True:
            found = await self._kube.find(Kind.BACKUP, work.name, work.namespace)
            if found is None or found["metadata"]["uid"] != work.uid:
                return
            metadata = found["metadata"]
            others = [one for one in metadata.get("finalizers") or () if one != FINALIZER]
            finalizers = [*others, FINALIZER] if held else others
            body: Body = {"metadata": {"resourceVersion": metadata["resourceVersion"], "finalizers": finalizers}}
            try:
                await self._kube.patch(Kind.BACKUP, work.name, work.namespace, body)
                return
            except Conflict:
                continue


def _required(schedule: Schedule | None) -> Schedule:
    if schedule is None:
        raise ActionRefused("only a schedule creates backups")
    return schedule
