"""The actions of the planner.

Every action is a frozen value with a human-readable `reason`. Executing an action is idempotent: identities (`uid`,
`node_id`, `expected_index`) are preconditions, and if one no longer holds the executor raises `ActionRefused` without
any effect. The executor adds the fencing epoch to every call to a node.

A `disruptive` action makes a healthy member unavailable for a while, or may do so; a plan has at most one.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from collectionstore_operator.model.observed import CertificateKind, NodeId
from collectionstore_operator.model.planned_work import PlannedWork
from collectionstore_operator.model.recovery import OldVolume, RecoveryPhase, RecoveryRecord
from collectionstore_operator.resource.desired import Group


class MemberRef(msgspec.Struct, frozen=True, kw_only=True):
    """A member in a membership request; addresses are required only when it is added."""

    node_id: NodeId
    name: str
    address: str = ""
    http_address: str = ""


class _Action(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Base of all actions; `reason` is one human-readable clause without a full stop."""

    reason: str
    group: Group = "voters"
    """Whose workload, pods, ordinals and objects are meant."""


class AddFinalizer(_Action, frozen=True):
    """Add our finalizer to the resource, so that a deletion waits until the cluster is torn down.

    BEFORE anything is created for the resource: without the finalizer nothing would ever delete it.
    """


class RemoveFinalizer(_Action, frozen=True):
    """Remove our finalizer from the resource. AFTER everything else: the API server may delete it then."""


class RaiseEpoch(_Action, frozen=True):
    """Take a higher fencing epoch than a node has seen, while the Lease of the cluster is held. Refused otherwise.

    BEFORE any change of the cluster: what an operator with a lower epoch asks for is refused by nodes.
    """

    epoch: int


class RestoreIdentity(_Action, frozen=True):
    """Record the proven cluster ID again, in place of another one that was written over it."""

    cluster_id: str
    recorded: str
    """What the record says instead; refused when it says something else by now."""


class RecordProtectedDeletion(_Action, frozen=True):
    """Record that the deletion was requested while spec.deletionProtection was true: its volumes are always retained.

    A deletion cannot be taken back. Without the record it would destroy the data as soon as the protection is removed.
    """

    uid: str
    """Of the resource: the record does not apply to a later one of the same name."""
    awaits_backup: bool = False
    """Recorded as protected for operators that know no final backups; this one deletes the volumes after the backup."""


class RestoreLabels(_Action, frozen=True):
    """Set our labels again on a pod or a claim that lost them, by its uid; other labels stay.

    A claim gets the labels and annotations of spec.storage as well.
    """

    kind: Literal["Pod", "PersistentVolumeClaim"]
    name: str
    uid: str


class SetReclaimPolicy(_Action, frozen=True):
    """Set the reclaim policy of the PersistentVolume of a claim, and remember the one it was created with.

    `Retain` keeps the data when the claim is deleted, whoever deletes it, also with its namespace.
    """

    ordinal: int
    name: str
    """Of the claim."""
    volume: str
    """Of the PersistentVolume; refused when the claim is bound to another one by now."""
    policy: Literal["Retain", "Delete"]


class EstablishIdentity(_Action, frozen=True):
    """Record the cluster's identity durably. BEFORE anything that carries the cluster ID is created.

    Once in a cluster's life, and again when the record was deleted. An identity that is recorded already is kept;
    when it is another one the action is refused.
    """

    cluster_id: str = ""
    """The ID to adopt; empty for a new cluster, whose ID the executor draws at random (the plan is pure)."""
    initialized: bool = False
    """What the deleted record said, as far as the status repeats it."""
    bootstrap_node: NodeId = ""


class DeleteIdentity(_Action, frozen=True):
    """Delete the record of the cluster and the Secrets with its keys.

    AFTER the last volume is gone: a volume without its record and authority could not be used again. BEFORE
    `RemoveFinalizer`: afterwards nothing is left that could repeat it.
    """


class RecordInitialized(_Action, frozen=True):
    """Record durably that the cluster has had data (`Observed.initialized_recorded`). Never undone.

    BEFORE all other changes of a round: the record is what prevents a second bootstrap while no member answers.
    """


class RecordPlannedWork(_Action, frozen=True):
    """Record durably how far planned work has come (`Observed.planned_work`).

    BEFORE what it announces. Refused when the record says something else than `was` and `work` by now.
    """

    work: PlannedWork
    was: PlannedWork


class CreateFinalBackup(_Action, frozen=True):
    """Create the last backup of a cluster whose resource is being deleted; one that exists is left as it is."""

    name: str


class StampVolume(_Action, frozen=True):
    """Record on a volume which incarnation runs on it (`Volume.node_id`); the cluster and its pods do not change."""

    ordinal: int
    name: str
    node_id: NodeId
    uid: str = ""
    """Of the claim that was observed; refused when another one has its name by now. Empty where there are none."""


class IssueCertificate(_Action, frozen=True):
    """Generate a key and issue or renew its certificate; an authority is made anew only if none was ever trusted."""

    kind: CertificateKind
    name: str
    """Member name, `labels.ADMINISTRATOR`, or the name of the cluster for the CA."""
    lifetime_s: int
    names: tuple[str, ...] = ()
    """Subject alternative names as `URI:...`, `DNS:...`, `IP:...`, sorted."""


class PrepareAuthority(_Action, frozen=True):
    """Generate the key that is to sign next, and store it beside the one that signs: the phase Trusting.

    One durable write. Refused unless the key that signs is `key`; done already if another one is prepared.
    The first time for peers there is none of theirs yet: it begins with the key of the cluster's authority, which they
    trust, and the one that is made is theirs alone.
    """

    name: str
    key: str
    lifetime_s: int
    request: str = ""
    """Digest of the user's request that this carries out; empty if it is due by age."""
    peers: bool = False
    """Of the authority of peers, where it is another one."""


class PromoteAuthority(_Action, frozen=True):
    """Sign with the key that was prepared from now on, and forget the one before: the phase Reissuing.

    AFTER every member trusts both. One durable write. Refused unless `key` is prepared and published.
    """

    key: str
    request: str = ""
    """Digest of a user's request that came while it was under way."""
    peers: bool = False


class RetireAuthority(_Action, frozen=True):
    """Trust the authority with `key`, which signs no more, no longer. AFTER nothing that it signed is in use."""

    key: str
    peers: bool = False


class PublishAuthority(_Action, frozen=True):
    """Copy the trusted authorities from their Secrets into the record, from where pods mount them as trust anchors.

    AFTER the Secret is stored, BEFORE pods start. A copy, not a decision: the Secret is read again when it is done.
    """


class GrantEnrolment(_Action, frozen=True):
    """Let the ServiceAccount of the members, and no other one, request certificates. BEFORE pods need it.

    Taken back when the finalizer is removed.
    """


class ApplyObject(_Action, frozen=True):
    """Create or update an object from its manifest with server-side apply."""

    kind: str
    name: str
    digest: str
    """Of the manifest that was planned; refused when the resource yields another one by now."""
    max_unavailable: int | None = None
    """For a PodDisruptionBudget: how many pods a drain may evict concurrently, as planned from the live voters."""
    drifted: bool = False
    """Somebody else has changed the object; the reason says which fields, and who."""


class SignRequest(_Action, frozen=True):
    """Sign a node's CertificateSigningRequest, only for the pod with this UID. A decided request is left unchanged."""

    request: str
    name: str
    """Name of the member."""
    uid: str
    names: tuple[str, ...]
    """Subject alternative names, as in IssueCertificate. The names in the request are ignored."""
    lifetime_s: int
    kind: CertificateKind = CertificateKind.MEMBER
    peers: bool = False
    """Signed by the authority of peers, where it is another one."""


class DenyRequest(_Action, frozen=True):
    """Deny a CertificateSigningRequest; the requester can read the reason in its status."""

    request: str


class DeleteObject(_Action, frozen=True):
    """Delete an object that the resource no longer requires."""

    kind: str
    name: str


class EnsureWorkload(_Action, frozen=True):
    """Scale the workload to the ordinals `[0, replicas)` and set the revision of pods that start from now on.

    Running pods are not restarted. Pods with an ordinal of at least `replicas` are terminated, their volumes retained.
    """

    replicas: int
    revision: str
    shrinks: bool = False
    drifted: bool = False
    """As for ApplyObject."""


class ScaleWorkload(_Action, frozen=True):
    """Change the number of pods, and nothing else: the revision of pods that start stays. Members and volumes stay.

    `was` is a precondition.
    """

    replicas: int
    was: int


class GateWorkload(_Action, frozen=True):
    """Let pods that are created from now on wait to be scheduled, until `EnsureWorkload` applies the manifest again.

    Pods that exist are not changed.
    """


class ReleasePod(_Action, frozen=True):
    """Let a pod be scheduled that waits at our gate, by its uid."""

    ordinal: int
    name: str
    uid: str
    claim_uid: str = ""
    """Of a pod that waits to make its data of a backup: its claim, on which that was recorded to happen."""


class StopPod(_Action, frozen=True):
    """Stop the process of one ordinal; nothing starts it again. Only where no controller does (local)."""

    ordinal: int
    name: str
    uid: str


class StartPod(_Action, frozen=True):
    """Start the process of one ordinal that the workload includes. Only where no controller does (local)."""

    ordinal: int
    name: str


class Bootstrap(_Action, frozen=True):
    """Make an empty node the first voter. The executor stores `Observed.bootstrap_node` durably BEFORE the call.

    The response `already_bootstrapped` counts as success.
    """

    ordinal: int
    node_id: NodeId


class AddLearners(_Action, frozen=True):
    """Add new members as learners, which replicate the log and do not vote; all in one request."""

    members: tuple[MemberRef, ...]
    expected_index: int


class ChangeVoters(_Action, frozen=True):
    """Promote `add` and remove `remove` in ONE joint configuration change."""

    expected_index: int
    add: tuple[MemberRef, ...] = ()
    remove: tuple[MemberRef, ...] = ()


class RemoveLearners(_Action, frozen=True):
    """Remove learners from the configuration; all in one request."""

    members: tuple[MemberRef, ...]
    expected_index: int


class TransferLeadership(_Action, frozen=True):
    """Ask the leader to transfer leadership; the leader aborts a transfer that takes too long."""

    leader: MemberRef
    to: MemberRef


class RestartPod(_Action, frozen=True):
    """Remove the pod with this UID, or stop the process, so that the workload starts it at the current revision."""

    ordinal: int
    name: str
    uid: str
    force: bool = False
    """Delete the pod object without waiting for its kubelet; only for `Pod.stuck_terminating`."""
    evict: bool = False
    """Ask for an eviction under the PodDisruptionBudget: of two operators, or an operator and a drain, one is refused.

    For a pod that counts towards the quorum. A pod that does not is deleted: no budget protects it.
    """


class MarkVolume(_Action, frozen=True):
    """Mark the volume of a removed member (`Volume.removed`), so that no member starts on it again."""

    ordinal: int
    name: str
    node_id: NodeId = ""
    """The incarnation that was removed; empty if unknown."""


class RetireVolume(_Action, frozen=True):
    """Terminate the pod of an ordinal if it exists, and detach its volume: the next pod starts on an empty one.

    If `keep`, the volume is retained under another name, otherwise deleted. `uid` is that of the pod, if any.
    """

    ordinal: int
    name: str
    uid: str = ""
    node_id: NodeId = ""
    """The incarnation that wrote the volume; empty if unknown. The executor refuses if the volume has another one."""
    keep: bool = True


class DeleteReleased(_Action, frozen=True):
    """Delete the claim of a member that has left, with its data. AFTER all of `model.released` is proved.

    Refused when it is another claim, is not marked as removed, or a pod mounts it.
    """

    ordinal: int
    name: str
    """Of the claim."""
    uid: str
    node_id: NodeId


class GrowVolume(_Action, frozen=True):
    """Request expansion of a volume; its pod keeps running."""

    ordinal: int
    name: str
    size: str
    """Quantity as in the resource, such as `20Gi`."""


class ReplaceWorkload(_Action, frozen=True):
    """Delete the workload and orphan its pods; `EnsureWorkload` then creates one with new volume claim templates.

    A pod that terminates in between is not restarted. `replicas` is a precondition.
    """

    replicas: int


class RecordRestore(_Action, frozen=True):
    """Record with which backup the new cluster begins, BEFORE any pod starts. Refused once it has had data."""

    restore: str
    """As it is recorded (`model.restore.written`)."""


class CreateClaim(_Action, frozen=True):
    """Create the claim of the first member, of a VolumeSnapshot, BEFORE the workload, which would make an empty one.

    AFTER the restore is recorded. Refused when a claim of this name exists that is not made of the snapshot.
    """

    name: str
    """Of the claim."""
    snapshot: str


class RecordRestoreClaim(_Action, frozen=True):
    """Record the claim on which the first member of a new cluster is restored, BEFORE its pod may start.

    Refused when another one is recorded: restored twice, a cluster would give the same revisions twice.
    """

    uid: str


class RecordRevision(_Action, frozen=True):
    """Record a revision that the cluster has had: a restore goes on above it, also if no member can say it any more."""

    revision: int


class DiscardVolumes(_Action, frozen=True):
    """Delete PersistentVolumes that an in-place restore has set aside, with their data; then record that.

    One that has another claim by now, or none, is left alone and forgotten. Refused, after the others, for one that is
    still bound.
    """

    volumes: tuple[OldVolume, ...]
    record: RecoveryRecord
    """The record of the restore, without them."""


class RecordRecovery(_Action, frozen=True):
    """Record a recovery from a lost quorum, or its next phase, BEFORE the phase acts. One durable write.

    With the phase Forming, the cluster ID becomes that of the new cluster in the same write. Refused unless the record
    is as it was planned from: the nonce is that of the recovery, and the phase is `before`; None for a first record,
    which no other recovery may be in the way of.
    """

    record: RecoveryRecord
    before: RecoveryPhase | None


class AdoptVolume(_Action, frozen=True):
    """Stamp the claim of a recovery's survivor with the ID of the new cluster. AFTER that was recorded.

    Refused when it is another claim than that of the chosen survivor, or of a third cluster.
    """

    ordinal: int
    name: str
    """Of the member."""
    uid: str
    """Of the claim."""
    from_cluster: str
    cluster_id: str


class ConfigureAccess(_Action, frozen=True):
    """Replace the configuration of access control in the cluster, by a member. Done twice it changes nothing."""

    config: str
    """Canonical JSON text, see `model.access.configuration`. It holds no secret."""


Action: TypeAlias = (
    AddFinalizer
    | RemoveFinalizer
    | RaiseEpoch
    | RestoreIdentity
    | RecordProtectedDeletion
    | RestoreLabels
    | SetReclaimPolicy
    | EstablishIdentity
    | DeleteIdentity
    | RecordInitialized
    | RecordPlannedWork
    | CreateFinalBackup
    | StampVolume
    | IssueCertificate
    | PrepareAuthority
    | PromoteAuthority
    | RetireAuthority
    | PublishAuthority
    | SignRequest
    | DenyRequest
    | GrantEnrolment
    | ApplyObject
    | DeleteObject
    | EnsureWorkload
    | ScaleWorkload
    | GateWorkload
    | ReleasePod
    | CreateClaim
    | RecordRestoreClaim
    | RecordRevision
    | DiscardVolumes
    | StopPod
    | StartPod
    | Bootstrap
    | AddLearners
    | ChangeVoters
    | RemoveLearners
    | TransferLeadership
    | RestartPod
    | MarkVolume
    | RetireVolume
    | DeleteReleased
    | GrowVolume
    | ReplaceWorkload
    | RecordRecovery
    | RecordRestore
    | AdoptVolume
    | ConfigureAccess
)


def disruptive(action: Action) -> bool:
    """Return whether an action makes a healthy member unavailable for a while, or may do so."""
    match action:
        case ChangeVoters() | RemoveLearners() | TransferLeadership() | Bootstrap():
            return True
        case DeleteReleased():
            return True  # not to be undone: the Lease is read again before, and one at a time
        case RestartPod() | RetireVolume() | ReplaceWorkload() | ScaleWorkload() | StopPod():
            return True
        case DiscardVolumes():
            return True  # it is for ever: the Lease is read again
        case RecordRecovery():
            return True  # what follows stops every member: the Lease is read again, and the result observed
        case EnsureWorkload():
            return action.shrinks
        case _:
            return False


def drifted_kind(action: Action) -> str:
    """Return the kind of the object whose foreign changes an action takes back; empty for any other action."""
    match action:
        case ApplyObject(drifted=True):
            return action.kind
        case EnsureWorkload(drifted=True):
            return "StatefulSet"
        case _:
            return ""
