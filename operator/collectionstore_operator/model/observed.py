"""The observed state of a cluster at one time: frozen values with simple lookups.

`Unknown` is a value: what could not be read is never treated as absent. Times are durations or Unix seconds supplied by
the observer, so that every decision can be reproduced from a recorded `Observed`.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import msgspec

from collectionstore_operator.model.access_seen import AccessSeen
from collectionstore_operator.model.final_backup import FinalBackupSeen
from collectionstore_operator.model.planned_work import PlannedWork
from collectionstore_operator.model.recovery import RecoveryRecord
from collectionstore_operator.resource.bootstrap import Origin

NodeId: TypeAlias = str
"""An incarnation, as on the wire: 16 hexadecimal digits. Drawn once per data directory."""


class Unknown(msgspec.Struct, frozen=True, tag=True):
    """It could not be observed. Nothing can be concluded from this about its existence or state."""

    reason: str


class Leader(msgspec.Struct, frozen=True):
    """The leader according to a node."""

    node_id: NodeId
    name: str = ""
    http_address: str = ""


class Configuration(msgspec.Struct, frozen=True):
    """The membership configuration at `index` of the log. Joint while `outgoing` is not empty."""

    index: int = 0
    voters: tuple[NodeId, ...] = ()
    outgoing: tuple[NodeId, ...] = ()
    learners: tuple[NodeId, ...] = ()
    learners_next: tuple[NodeId, ...] = ()
    joint: bool = False

    def members(self) -> frozenset[NodeId]:
        """Return every node that replicates the log."""
        return frozenset(self.voters) | frozenset(self.outgoing) | frozenset(self.learners)


class Member(msgspec.Struct, frozen=True):
    """A member according to the reporting node; the fields after `role` are None unless that node is the leader.

    `lag` in log entries behind the commit index; `silent_ms` since the leader last heard from it.
    """

    node_id: NodeId
    name: str = ""
    address: str = ""
    http_address: str = ""
    role: str = ""
    match_index: int | None = None
    lag: int | None = None
    active: bool | None = None
    silent_ms: float | None = None
    snapshot: bool = False


class Peer(msgspec.Struct, frozen=True):
    """A connection to another node; times in milliseconds, None before the first measurement."""

    node_id: NodeId
    name: str
    connected: bool
    round_trip_ms: float | None = None
    round_trip_p50_ms: float | None = None
    handshake_ms: float | None = None


class Space(msgspec.Struct, frozen=True, kw_only=True):
    """The disk of a node: `shortage` is Disk, Quota or empty, or what a newer node calls it."""

    shortage: str = ""
    free_bytes: int | None = None
    """Available above the reserve; None from a version that does not say."""
    used_bytes: int = 0
    """Size of the database; 0 before it was measured."""


class ShownCertificate(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate that a node uses, as it reports it; times in Unix seconds."""

    not_before: float
    not_after: float
    serial: str = ""
    authority: str = ""
    """Key identifier of the authority that signed it."""


class NodeTls(msgspec.Struct, frozen=True, kw_only=True):
    """The certificates that new connections of a node get, and the authorities that they trust."""

    peers: ShownCertificate
    clients: ShownCertificate | None = None
    """None where the client port has no TLS."""
    trusted: tuple[str, ...] = ()
    """Key identifiers of the authorities that every port trusts."""
    given: ShownCertificate | None = None
    """The certificate that the user gives for clients; None if the node has none in use."""
    peer_trusted: tuple[str, ...] = ()
    """Key identifiers of the authorities that the peer port trusts; empty from versions that do not tell the ports
    apart."""
    client_trusted: tuple[str, ...] = ()
    """Those that the client port trusts."""

    def certificates(self) -> tuple[ShownCertificate, ...]:
        """Return the certificate of each port that the cluster's authority has signed."""
        return (self.peers,) if self.clients is None else (self.peers, self.clients)


class AuditSink(msgspec.Struct, frozen=True, kw_only=True):
    """A sink of the audit log of a node."""

    name: str = ""
    failing: str = ""
    """Why it takes no records; empty if it does."""


class NodeAudit(msgspec.Struct, frozen=True, kw_only=True):
    """The audit log of a node."""

    sinks: tuple[AuditSink, ...] = ()


class NodeStatus(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The response of `GET /status` of a node. Unknown fields are ignored: nodes may be newer than the operator."""

    cluster_id: str
    node_id: NodeId
    name: str
    version: str = ""
    state: Literal["Uninitialized", "Joining", "Member", "Removed"] = "Uninitialized"
    role: Literal["Follower", "PreCandidate", "Candidate", "Leader", "Learner"] = "Follower"
    term: int = 0
    commit_index: int = 0
    applied_index: int = 0
    first_index: int = 0
    last_index: int = 0
    last_log_term: int = 0
    """Term of the entry at `last_index`; 0 also from a version that does not report it."""
    revision: int = 0
    epoch: int = 0
    configuration: Configuration = Configuration()
    leader: Leader | None = None
    members: tuple[Member, ...] = ()
    peers: tuple[Peer, ...] = ()
    transferring_to: NodeId | None = None
    data_bytes: int = 0
    uptime_s: float = 0.0
    pid: int = 0
    client_address: str = ""
    peer_address: str = ""
    metrics_address: str = ""
    space: Space | None = None
    """What it reports of its disk; None from a version that does not."""
    certificate_not_before: float = 0.0
    certificate_not_after: float = 0.0
    """Expiry of the certificate that it presented, in Unix seconds; 0 without TLS. On a kept connection that was when
    it was opened: `tls` says what is in use now."""
    staleness_ms: int | None = None
    """How stale its state can be at most; None before that was ever confirmed, on voters, and from older versions."""
    staleness_max_ms: int | None = None
    """Above which it refuses stale reads; None on voters and from older versions."""
    tls: NodeTls | None = None
    """None from a version that does not report it."""
    audit: NodeAudit | None = None
    """None where no audit log is kept, and from older versions."""

    @property
    def has_history(self) -> bool:
        """Whether this data directory was ever part of a cluster: it has log entries or a term."""
        return self.state != "Uninitialized" or self.last_index > 0 or self.term > 0


class Failure(enum.Enum):
    """Why a pod or process fails, according to the runtime; determines what can remedy it."""

    NONE = "None"
    """No known failure: starting, running, or unresponsive for an unknown reason."""
    DISK = "Disk"
    """Its disk failed (exit code 74)."""
    DAMAGED = "Damaged"
    """The node refused its data directory, which no restart heals (exit code 65)."""
    DOWNGRADED = "Downgraded"
    """Its data is of a newer feature level than its program (exit code 76); another version reads it."""
    MACHINE = "Machine"
    """Its Kubernetes node is deleted or unreachable."""
    SCHEDULING = "Scheduling"
    """The pod cannot be scheduled, or its volume cannot be bound."""
    IMAGE = "Image"
    """The image cannot be pulled, or the executable not started; a new volume would not help."""
    CONFIGURATION = "Configuration"
    """It rejects its settings (exit code 64), or its port is in use (69); a new volume would not help."""
    CRASH = "Crash"
    """It keeps terminating for another reason."""


class Preparation(msgspec.Struct, frozen=True, kw_only=True):
    """How what prepares the data directory of a pod has failed last."""

    exit_code: int | None
    """None if it could not be started."""
    message: str = ""


class Pod(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """An existing pod, or with csctl local a process. `unready_s` is 0 while it is ready."""

    uid: str
    """Changes whenever the pod is recreated (Kubernetes) or the process is restarted (local)."""
    running: bool
    """Its container is known to be running; False if pending, in back-off, or on a lost Kubernetes node."""
    ready: bool
    """Its readiness probe, a linearizable read, succeeds."""
    terminating: bool = False
    stuck_terminating: bool = False
    """It is terminating on a lost Kubernetes node and its volume is being deleted: no kubelet confirms its end."""
    revision: str = ""
    """The revision of the settings it was started with (`node_environment.revision`); empty if its template had been
    changed by somebody."""
    restarts: int = 0
    unready_s: float = 0.0
    failure: Failure = Failure.NONE
    detail: str = ""
    """Human-readable cause of the failure: `ImagePullBackOff: no such tag`."""
    gated: bool = False
    """It waits to be scheduled until we let it: its member is fenced, or it waits to be restored."""
    awaits_restore: bool = False
    """It waits to make its data of a backup: until it is recorded on which claim that may happen."""
    replace_requested: bool = False
    replace_in_place: bool = False
    """And its volume is to be retired at once, without a copy first."""
    """A user requested immediate replacement of this member."""
    labelled: bool = True
    """It has all our labels; without them it is in no Service and under no budget."""
    restart_reason: str = ""
    """Why it must restart at the same revision, such as a certificate it cannot reload; empty if it need not."""
    peer_address: str = ""
    """`host:port` for other members, assigned by the runtime."""
    http_address: str = ""
    """Base URL for clients, assigned by the runtime."""
    image: str = ""
    """The image of its container; empty if the runtime has none."""
    machine: str = ""
    """The Kubernetes node it runs on; empty if it is not scheduled, or if the runtime has one machine."""
    preparation: Preparation | None = None
    """The last failure of its init container; None if there is none, or it has not failed."""
    zone: str = ""
    """The zone of its machine; empty if it is not known."""


class Absent(msgspec.Struct, frozen=True, tag=True):
    """It is proved not to exist."""


ABSENT = Absent()


class Volume(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """An existing volume: a PersistentVolumeClaim, or with csctl local a data directory."""

    name: str
    uid: str = ""
    """Of the PersistentVolumeClaim; empty where there are none (local)."""
    node_id: NodeId | Absent | Unknown = Unknown("not recorded")
    """The incarnation that wrote it; `Absent` if it is proved to be empty."""
    removed: bool = False
    """Marked: its member was removed from the cluster, and no member may start on it again."""
    released_at: float = 0.0
    """When it was marked, in Unix seconds; 0 if it is not, or if that was not recorded."""
    mounted_by: str = ""
    """Name of a pod that mounts it, whose ever it is; empty if there is none, and unless it is released and due."""
    size_bytes: int | None = None
    """Requested size; None if the runtime has no sizes."""
    capacity_bytes: int = 0
    """Actual capacity; 0 while the claim is not bound."""
    not_expandable_reason: str = ""
    """Why it cannot be expanded; empty if it can."""
    resize_status: str = ""
    """Status of an expansion that is in progress, such as `FileSystemResizePending`."""
    labelled: bool = True
    """It has all our labels, by which people and we find it."""
    lost: bool = False
    """Its claim is bound to a PersistentVolume that does not exist any more: what it held is gone."""
    terminating: bool = False
    """Its claim is being deleted and waits only for its pod to end: a restart of the pod loses the volume."""
    persistent_volume: str = ""
    """Name of the PersistentVolume; empty while the claim is not bound, and where there is none (local)."""
    reclaim_policy: str = ""
    """What happens to the PersistentVolume when its claim is deleted; empty if unknown."""
    created_policy: str = ""
    """The reclaim policy that it had before we changed it; empty if we did not."""
    made_of: str = ""
    """Name of the VolumeSnapshot that it is made of; empty if of none."""


class SourceSnapshot(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A VolumeSnapshot, as its controllers report it."""

    ready: bool = False
    """Volumes can be made of it."""
    error: str = ""
    """Why it was not made; empty if nothing has failed."""
    restore_bytes: int = 0
    """What a volume that is made of it needs at least; 0 if the driver does not tell."""
    terminating: bool = False


class Slot(msgspec.Struct, frozen=True, kw_only=True):
    """One ordinal of the workload: its pod, the node that responds in it, and its volume."""

    ordinal: int
    pod: Pod | Absent | Unknown = ABSENT
    node: NodeStatus | Unknown = Unknown("not queried")
    volume: Volume | Absent | Unknown = ABSENT
    pending_reason: str = ""
    """Why its pod is not created or its volume not bound, such as an exceeded quota; empty if there is no cause."""
    pending_failed: bool = False
    """That does not pass by itself: it was refused, or names what does not exist. A volume being provisioned does."""


class Workload(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The controller of the pods of ordinals `[0, replicas)`: a StatefulSet, or the local supervisor."""

    replicas: int
    revision: str
    """The revision of pods that it creates from now on."""
    gated: bool | None = None
    """Pods that it creates from now on wait to be scheduled; None if we start them ourselves (local)."""
    settled: bool = True
    """Its controller has seen it as it is now: the next pod starts from this template."""
    volume_bytes: int | None = None
    """Size of the volumes that it creates from now on; None if the runtime has no sizes."""


class Replicas(msgspec.Struct, frozen=True, kw_only=True):
    """The read replicas: a workload of their own, with the meaning of the same fields of `Observed`."""

    workload: Workload | Absent | Unknown = ABSENT
    idle: tuple[int, ...] = ()
    surplus: tuple[int, ...] = ()
    slots: tuple[Slot, ...] = ()


class AppliedObject(msgspec.Struct, frozen=True, kw_only=True):
    """An existing object that belongs to the cluster; `digest` is that of the manifest it was applied from."""

    kind: str
    name: str
    digest: str = ""
    live: Mapping[str, Any] = {}
    """The object as the API server stores it: what it really says is compared with its manifest."""
    admitted: Mapping[str, str] = {}
    """Fields that the API server changed in our own apply of this digest (admission), with the JSON of their values:
    to apply again would change nothing."""


class ForeignObject(msgspec.Struct, frozen=True, kw_only=True):
    """An object under a name of the cluster that does not belong to it: it is neither used, changed nor deleted."""

    kind: str
    name: str
    owner: str
    """To whom it belongs: `Deployment web`, or who wrote it."""


class CertificateKind(enum.Enum):
    """The purpose of a certificate."""

    AUTHORITY = "Authority"
    """The CA, which signs all others of its cluster; its key is stored separately."""
    PEER_AUTHORITY = "PeerAuthority"
    """The CA of peers, where they have one of their own; then it signs MEMBER, and AUTHORITY the others."""
    MEMBER = "Member"
    """Of a member for its peer port, and for its client port unless there is a SERVER."""
    SERVER = "Server"
    """Of a member for its client port alone; worth nothing to a client."""
    OPERATOR = "Operator"
    USER = "User"
    """Of a user of the cluster, for clients."""


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate in use. Times in Unix seconds, names in the order of `certificates.Subject`."""

    kind: CertificateKind
    name: str
    not_before: float
    not_after: float
    names: tuple[str, ...] = ()
    """Subject alternative names as `URI:...`, `DNS:...`, `IP:...`, sorted."""
    authority: str = ""
    """Fingerprint of the CA that signed it; of itself for a CA."""


class AuthorityCertificate(msgspec.Struct, frozen=True, kw_only=True):
    """The certificate of an authority; times in Unix seconds."""

    key: str
    """Key identifier, hexadecimal. A renewal keeps the key, a rotation changes it."""
    since: float
    """When its key was made; a renewal under the same key keeps it."""
    not_after: float


class RotationPhase(enum.Enum):
    """What is stored of a rotation of the authority's key."""

    STEADY = "Steady"
    """One authority."""
    TRUSTING = "Trusting"
    """The old one signs, and both are to be trusted."""
    REISSUING = "Reissuing"
    """The new one signs, and both are trusted until nothing that the old one signed is in use."""


class Authority(msgspec.Struct, frozen=True, kw_only=True):
    """The authority of a cluster, as stored. The phase of a rotation is nothing else than what is stored."""

    trusted: tuple[AuthorityCertificate, ...]
    """One, or two during a rotation of the key. The first signs."""
    next_held: bool = False
    """The key of the second is stored as well: it is to sign next."""
    request: str = ""
    """Digest of the request of a user for a rotation that was carried out last, see `labels.ROTATE_AUTHORITY`."""
    requested: bool = False
    """A user has asked for the rotation that is under way."""

    @property
    def phase(self) -> RotationPhase:
        """Return the phase of the rotation."""
        if len(self.trusted) < 2:
            return RotationPhase.STEADY
        return RotationPhase.TRUSTING if self.next_held else RotationPhase.REISSUING


class RequestPurpose(enum.Enum):
    """What a node requests a certificate for; it decides which authority signs it."""

    MEMBER = ""
    """Both ports, by the cluster's one authority."""
    PEERS = "peers"
    CLIENTS = "clients"


class SigningRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A pending CertificateSigningRequest of a node. The API server vouches for the identity of the requester."""

    name: str
    member: str
    """Name of the requesting pod; empty if the requester is not a pod."""
    pod_uid: str
    node_id: NodeId = ""
    """The incarnation that the request names; empty from versions before certificates name one, or if unreadable."""
    purpose: RequestPurpose = RequestPurpose.MEMBER


class PublishedIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """The cluster's identity in the last published status; used only if the record is missing."""

    cluster_id: str = ""
    initialized: bool = False
    bootstrap_node: NodeId = ""


class ScheduleFreshness(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule of backups of the cluster, and what its condition BackupFresh says."""

    name: str
    fresh: Literal["True", "False", "Unknown"]
    reason: str
    message: str


class KnownBackup(msgspec.Struct, frozen=True, kw_only=True):
    """A complete backup, as the status of its resource says."""

    id: str
    cluster_id: str
    url: str
    """Of its repository."""
    revision: int
    completed: str
    """RFC 3339."""


class Observed(msgspec.Struct, frozen=True, kw_only=True):
    """Everything observed in one round, and the durable records of earlier rounds."""

    now: float
    """Time of the observation, in Unix seconds."""
    cluster_id: str = ""
    """Recorded by `EstablishIdentity` before any pod starts; empty until then. Proven where the record contradicts."""
    recorded_cluster_id: str = ""
    """What the record says instead, where it contradicts the proven `cluster_id`; empty if it does not."""
    identity_conflict: str = ""
    """Why the record is contradicted and nothing proves which ID is right; empty if nothing contradicts it."""
    authority_conflict: str = ""
    """Why the authority must be neither used nor replaced; empty if it is in order or was never made."""
    deletion_was_protected: bool = False
    """The deletion of this resource was requested while spec.deletionProtection was true."""
    deletion_held: bool = False
    """It is recorded as protected only so that an operator that knows no final backups keeps the volumes."""
    initialized: bool = False
    """The cluster has had data. Never reset."""
    initialized_recorded: bool = False
    """Whether `initialized` is recorded durably; until then only the answers of nodes say so."""
    bootstrap_node: NodeId = ""
    """The incarnation chosen by `Bootstrap`, recorded BEFORE the call."""
    recovery: RecoveryRecord | None = None
    """The last recovery from a lost quorum, as recorded."""
    restore: Origin | None = None
    """The restore that the cluster begins with, as recorded BEFORE any pod started."""
    snapshot: SourceSnapshot | Absent | Unknown | None = None
    """The VolumeSnapshot that it is made of, or is to be; None if there is none, and once it has had data."""
    restore_claim: str = ""
    """Uid of the claim on which it may happen, as recorded; empty until then."""
    recorded_revision: int = 0
    """A revision that the cluster has had, as recorded."""
    backups: tuple[KnownBackup, ...] | None = None
    """Complete backups, by the resources of the namespace; None if they were not asked for, or cannot be read."""
    quorum_lost_since: float = 0.0
    """Since when the status has said that the quorum is lost with its disks, in Unix seconds; 0 if it does not."""
    planned_work: PlannedWork = PlannedWork()
    """How far planned work has come, as recorded."""
    finalizer: bool | None = None
    """Whether the resource has our finalizer; None where resources have none (local)."""
    published: PublishedIdentity = PublishedIdentity()
    volume_cluster_ids: tuple[str, ...] = ()
    """Every cluster ID that is stamped on a volume of the cluster's name, sorted. More than one is a fault."""
    stamps_volumes: bool = False
    """Whether `Volume.node_id` is a stamp to be kept up to date; False where it is read from the disk (local)."""
    epoch: int = 0
    """The fencing epoch of this operator; nodes refuse membership changes with a lower one."""
    workload: Workload | Absent | Unknown = ABSENT
    idle: tuple[int, ...] = ()
    """Ordinals that the workload includes and that nothing will start; always empty where a controller does."""
    surplus: tuple[int, ...] = ()
    """Ordinals beyond the workload that are to run, and that nothing stops; always empty where a controller does."""
    slots: tuple[Slot, ...] = ()
    """Every ordinal with a pod or a volume, or below the replicas of the workload, ascending."""
    reads: Replicas | None = None
    """The read replicas; None if there are none, and none are desired. No field above contains them."""
    objects: tuple[AppliedObject, ...] | None = None
    """None if the runtime has no such objects (csctl local)."""
    foreign: tuple[ForeignObject, ...] = ()
    """Objects of others under names that the cluster needs."""
    schedules: tuple[ScheduleFreshness, ...] | None = ()
    """Of backups of the cluster; None if they cannot be read."""
    zones: dict[str, tuple[tuple[float, int], ...]] = {}
    """The offsets of the time zones that spec.updates names, around `now` (`update_windows.Offsets`)."""
    final_backup: FinalBackupSeen | Absent | Unknown = ABSENT
    """Of a resource that is being deleted with spec.deletion.finalBackup."""
    namespace_terminating: bool = False
    """The namespace is terminating: the API server refuses new objects in it."""
    certificates: tuple[Certificate, ...] | None = None
    """None where the runtime does not issue them itself."""
    authority: Authority | None = None
    """The stored authority and the phase of its rotation; None if there is none that may be used."""
    authority_published: bool | None = None
    """Whether members can read the stored authorities as their trust anchors; None where others publish them."""
    peer_authority: Authority | None = None
    """That of peers, where it is another one; None if there is none that may be used. Both are published together."""
    peer_authority_recorded: bool = False
    """It is recorded that peers trust an authority of their own."""
    peer_authority_conflict: str = ""
    """Why that of peers must be neither used, made nor replaced; empty if it is in order or was never made."""
    enrolment_granted: bool | None = None
    """Whether the members may request certificates; None where the operator does not manage that permission."""
    requests: tuple[SigningRequest, ...] | None = None
    """Pending requests of nodes; None if the runtime generates the keys of nodes itself."""
    access: AccessSeen | Unknown | None = None
    """The configuration of access control; None if it was not asked for."""
    access_begun: Literal["", "Disabled", "Enforced"] = ""
    """What a cluster without spec.access has had since it was made, see `model.access.configuration.Begun`."""

    def slot(self, ordinal: int) -> Slot:
        """Return the slot of an ordinal; one that was not observed has neither pod nor volume."""
        for slot in self.slots:
            if slot.ordinal == ordinal:
                return slot
        return Slot(ordinal=ordinal)

    def nodes(self) -> tuple[NodeStatus, ...]:
        """Return the nodes that responded, by ordinal."""
        return tuple(slot.node for slot in self.slots if isinstance(slot.node, NodeStatus))

    def of_reads(self) -> Observed:
        """Return the same observation with the read replicas in place of the voters."""
        reads = self.reads or Replicas()
        # Work that is planned concerns voters alone.
        return msgspec.structs.replace(
            self,
            workload=reads.workload,
            idle=reads.idle,
            surplus=reads.surplus,
            slots=reads.slots,
            reads=None,
            planned_work=PlannedWork(),
        )

    def all_slots(self) -> tuple[Slot, ...]:
        """Return the slots of voters and read replicas: ordinals may occur twice."""
        return self.slots if self.reads is None else (*self.slots, *self.reads.slots)

    def all_nodes(self) -> tuple[NodeStatus, ...]:
        """Return all nodes that responded, those of read replicas last."""
        return tuple(slot.node for slot in self.all_slots() if isinstance(slot.node, NodeStatus))
