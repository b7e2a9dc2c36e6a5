"""Actions on a cluster in Kubernetes: each is one case here and one function of the module that knows its objects.

Nothing is decided: an action carries the uid, the resourceVersion, the configuration index or the epoch that it was
planned from, and is refused when that no longer holds. None is performed without the Lease of the cluster; before a
disruptive one that Lease is read again.
"""

from __future__ import annotations

import time
from typing import TypeAlias

import msgspec

from collectionstore_operator import faults
from collectionstore_operator.errors import ActionRefused, ActionUnfinished
from collectionstore_operator.kubernetes import volumes
from collectionstore_operator.kubernetes.api import ApiError, Kind, Unavailable
from collectionstore_operator.kubernetes.cluster_access import ClusterAccess
from collectionstore_operator.model.actions import (
    Action,
    AddFinalizer,
    AddLearners,
    AdoptVolume,
    ApplyObject,
    Bootstrap,
    ChangeVoters,
    ConfigureAccess,
    CreateClaim,
    CreateFinalBackup,
    DeleteIdentity,
    DeleteObject,
    DeleteReleased,
    DenyRequest,
    DiscardVolumes,
    EnsureWorkload,
    EstablishIdentity,
    GateWorkload,
    GrantEnrolment,
    GrowVolume,
    IssueCertificate,
    MarkVolume,
    PrepareAuthority,
    PromoteAuthority,
    PublishAuthority,
    RaiseEpoch,
    RecordInitialized,
    RecordPlannedWork,
    RecordProtectedDeletion,
    RecordRecovery,
    RecordRestore,
    RecordRestoreClaim,
    RecordRevision,
    ReleasePod,
    RemoveFinalizer,
    RemoveLearners,
    ReplaceWorkload,
    RestartPod,
    RestoreIdentity,
    RestoreLabels,
    RetireAuthority,
    RetireVolume,
    ScaleWorkload,
    SetReclaimPolicy,
    SignRequest,
    StampVolume,
    StartPod,
    StopPod,
    TransferLeadership,
    disruptive,
)
from collectionstore_operator.model.observed import Observed
from collectionstore_operator.model.recovery import instruction
from collectionstore_operator.model.restore import restoring
from collectionstore_operator.reconcile.execute import perform_on_nodes
from collectionstore_operator.resource.desired import Desired

RecordAction: TypeAlias = (
    EstablishIdentity
    | RestoreIdentity
    | RecordInitialized
    | RecordPlannedWork
    | RecordProtectedDeletion
    | DeleteIdentity
)
RotationAction: TypeAlias = PrepareAuthority | PromoteAuthority | RetireAuthority
CertificateAction: TypeAlias = IssueCertificate | RotationAction | PublishAuthority | SignRequest | DenyRequest


class Executor:
    """Performs the actions of one cluster."""

    def __init__(self, access: ClusterAccess) -> None:
        self._access = access

    async def execute(self, action: Action, desired: Desired, observed: Observed) -> None:
        """Perform one action. Raises ActionRefused or ActionUnfinished."""
        # Checked for every action: this process may have been suspended past the end of its Lease since the last one.
        # Not for the finalizer: it is removed also where nothing, and so no Lease, can be kept any more.
        tenure = self._access.tenure
        if not tenure.holds and not isinstance(action, RemoveFinalizer):
            raise ActionRefused("the Lease was not renewed in time: another operator may be acting")
        if action.group == "reads":
            desired = desired.reads()
        try:
            if disruptive(action):
                await tenure.confirm(desired)
            await self._perform(action, desired, observed)
        except Unavailable as error:
            # The request may have arrived and only its answer been lost: "unfinished", never "failed".
            raise ActionUnfinished(str(error)) from error
        except ApiError as error:
            raise ActionRefused(str(error)) from error

    async def _perform(self, action: Action, desired: Desired, observed: Observed) -> None:
        match action:
            case AddFinalizer():
                await self._access.resource.add_finalizer()
            case RemoveFinalizer():
                # BEFORE the finalizer: afterwards nothing is left that would repeat it.
                await self._access.enrolment.revoke(desired)
                faults.reach("RemoveFinalizer.revoked")
                await self._access.resource.remove_finalizer()
            case RaiseEpoch():
                await self._access.tenure.advance(action.epoch, desired)
            case (
                EstablishIdentity()
                | RestoreIdentity()
                | RecordInitialized()
                | RecordPlannedWork()
                | RecordProtectedDeletion()
                | DeleteIdentity()
            ):
                await self._change_record(action, desired)
            case PrepareAuthority() | PromoteAuthority() | RetireAuthority():
                await self._certify(action, desired, cluster_id=observed.cluster_id)
            case IssueCertificate() | PublishAuthority() | SignRequest() | DenyRequest():
                await self._certify(action, desired, cluster_id=observed.cluster_id)
            case RecordRecovery():
                await self._access.record.advance(action, desired)
            case RecordRestore():
                await self._access.record.begin_restore(action, desired)
            case CreateClaim():
                await volumes.create(self._access.kube, action, desired, cluster_id=observed.cluster_id)
            case RecordRestoreClaim():
                await self._access.record.record_restore_claim(action, desired)
            case RecordRevision():
                await self._access.record.record_revision(action, desired)
            case DiscardVolumes():
                await self._discard(action, desired)
            case CreateFinalBackup():
                await self._access.final_backups.create(action, desired)
            case GrantEnrolment():
                await self._access.enrolment.grant(desired)
            case ApplyObject():
                await self._access.children.apply(action, desired, restoring(observed))
            case DeleteObject():
                await self._access.children.delete(action, desired)
            case EnsureWorkload():
                recover = instruction(observed.recovery)
                await self._access.children.ensure_workload(
                    action,
                    desired,
                    cluster_id=observed.cluster_id,
                    recover=recover,
                    restore=restoring(observed),
                    access=observed.access_begun,
                )
            case ScaleWorkload():
                await self._access.children.scale_workload(action, desired)
            case ReplaceWorkload():
                await self._access.children.release_workload(action, desired)
            case GateWorkload():
                await self._access.children.gate_workload(desired)
            case ReleasePod():
                await self._access.children.release_pod(action, desired)
            case StartPod() | StopPod():
                raise ActionRefused("the StatefulSet's controller starts and stops pods")
            case Bootstrap():
                # Durable BEFORE the call: after a crash in between, no other node may be chosen to form the cluster.
                await self._access.record.change(desired, bootstrap_node=action.node_id)
                faults.reach("Bootstrap.recorded")
                await perform_on_nodes(action, observed, self._access.nodes)
            case AddLearners() | ChangeVoters() | RemoveLearners() | TransferLeadership():
                await perform_on_nodes(action, observed, self._access.nodes)
            case ConfigureAccess():
                await self._access.control.configure(action.config)
            case RestartPod():
                await self._restart(action, desired)
            case RestoreLabels():
                await self._access.children.restore_labels(action, desired)
            case AdoptVolume():
                await volumes.adopt(self._access.kube, action, desired)
            case StampVolume() | MarkVolume() | RetireVolume() | DeleteReleased() | GrowVolume() | SetReclaimPolicy():
                await volumes.perform(self._access.kube, action, desired)

    async def _restart(self, action: RestartPod, desired: Desired) -> None:
        kube = self._access.kube
        if action.evict:
            await kube.evict(action.name, desired.namespace, uid=action.uid)
            return
        # A pod that no budget protects: it does not count towards the quorum, or the quorum cannot be kept anyway.
        grace_s = 0 if action.force else None
        await kube.delete(Kind.POD, action.name, desired.namespace, uid=action.uid, grace_s=grace_s)

    async def _discard(self, action: DiscardVolumes, desired: Desired) -> None:
        bound = await volumes.discard(self._access.kube, action)
        record = msgspec.structs.replace(action.record, overdue=bound)
        done = RecordRecovery(record=record, before=record.phase, reason=action.reason)
        await self._access.record.advance(done, desired)
        if bound:
            names = ", ".join(one.name for one in bound)
            raise ActionRefused(f"the volumes {names} are still bound to the claims that were deleted")

    async def _change_record(self, action: RecordAction, desired: Desired) -> None:
        match action:
            case EstablishIdentity():
                await self._access.record.establish(action, desired)
            case RestoreIdentity():
                await self._access.record.restore(action, desired)
            case RecordProtectedDeletion():
                held = action.uid if action.awaits_backup else ""
                # One write: at no moment is a deletion taken for a protected one that only waits, or the reverse.
                await self._access.record.change(desired, protected_deletion=action.uid, deletion_held=held)
            case RecordInitialized():
                await self._access.record.change(desired, initialized="true")
            case RecordPlannedWork():
                await self._access.record.plan_work(action, desired)
            case DeleteIdentity():
                # The record is deleted LAST: as long as it exists, an interrupted deletion is detected and repeated.
                await self._access.authority.delete(desired)
                faults.reach("DeleteIdentity.keys-deleted")
                await self._access.record.delete(desired)

    async def _certify(self, action: CertificateAction, desired: Desired, *, cluster_id: str) -> None:
        match action:
            case IssueCertificate():
                await self._access.authority.issue(action, desired, cluster_id=cluster_id, now=time.time())
            case PrepareAuthority() | PromoteAuthority() | RetireAuthority():
                await self._access.authority.rotate(action, desired, cluster_id=cluster_id, now=time.time())
            case PublishAuthority():
                await self._access.authority.publish(desired)
            case SignRequest():
                await self._access.authority.sign(action, desired, now=time.time())
            case DenyRequest():
                await self._access.authority.deny(action, desired)
