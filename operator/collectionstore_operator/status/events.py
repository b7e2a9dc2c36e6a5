"""Events of the reconcile loop: actions that were executed, refused or abandoned, as shown by `kubectl get events`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

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
    MemberRef,
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
)
from collectionstore_operator.resource.desired import Desired


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One event: an action that was executed, refused or abandoned. `time` in Unix seconds."""

    time: float
    kind: Literal["Normal", "Warning"] = "Normal"
    reason: str
    """CamelCase: the name of the action or of the failure."""
    subject: str = ""
    message: str
    seconds: float | None = None
    """Duration of the action; None if it was not executed."""
    generation: int = 0


def subject_of(action: Action, desired: Desired) -> str:
    """Return the human-readable object of an action: `demo-3, demo-4`."""
    match action:
        case AddFinalizer() | RemoveFinalizer() | EstablishIdentity() | DeleteIdentity() | RecordInitialized():
            return desired.name
        case PrepareAuthority() | PromoteAuthority() | RetireAuthority():
            return desired.name
        case PublishAuthority() | GrantEnrolment() | ReplaceWorkload() | GateWorkload() | RaiseEpoch():
            return desired.name
        case RestoreIdentity() | RecordProtectedDeletion() | RecordPlannedWork() | RecordRestore():
            return desired.name
        case RecordRestoreClaim() | RecordRevision() | ConfigureAccess():
            return desired.name
        case DiscardVolumes():
            return ", ".join(one.name for one in action.volumes)
        case RecordRecovery():
            return action.record.survivor
        case AdoptVolume() | IssueCertificate() | SignRequest() | StartPod() | StopPod() | RestartPod() | ReleasePod():
            return action.name
        case StampVolume() | MarkVolume() | RetireVolume() | DeleteReleased() | GrowVolume() | SetReclaimPolicy():
            return action.name
        case CreateFinalBackup() | CreateClaim():
            return action.name
        case DenyRequest():
            return action.request
        case ApplyObject() | DeleteObject() | RestoreLabels():
            return f"{action.kind} {action.name}"
        case EnsureWorkload() | ScaleWorkload():
            return "1 node" if action.replicas == 1 else f"{action.replicas} nodes"
        case Bootstrap():
            return desired.member(action.ordinal)
        case AddLearners() | RemoveLearners():
            return _names(action.members)
        case ChangeVoters():
            parts = [f"+{member.name}" for member in action.add] + [f"-{member.name}" for member in action.remove]
            return " ".join(parts)
        case TransferLeadership():
            return f"{action.leader.name} to {action.to.name}"


def _names(members: Iterable[MemberRef]) -> str:
    return ", ".join(member.name for member in members)
