"""What was seen of a cluster in one look: frozen values without behaviour beyond simple lookups.

`Unknown` is a value: what could not be read is never taken for absent. Times are durations or Unix seconds supplied
by the observer, so that everything decided from an `Observed` can be decided again from a recording.
"""

from __future__ import annotations

import enum
from typing import Literal, TypeAlias

import msgspec

NodeId: TypeAlias = str
"""An incarnation, as on the wire: 16 hexadecimal digits. Drawn once per data directory."""


class Unknown(msgspec.Struct, frozen=True, tag=True):
    """It could not be learnt; nothing follows from this about the thing itself."""

    reason: str


class Leader(msgspec.Struct, frozen=True):
    """Whom a node takes for the leader."""

    node_id: NodeId
    name: str = ""
    http_address: str = ""


class Configuration(msgspec.Struct, frozen=True):
    """Who votes, as applied at `index` of the log. Joint while `outgoing` is not empty."""

    index: int = 0
    voters: tuple[NodeId, ...] = ()
    outgoing: tuple[NodeId, ...] = ()
    learners: tuple[NodeId, ...] = ()
    learners_next: tuple[NodeId, ...] = ()
    joint: bool = False

    def members(self) -> frozenset[NodeId]:
        """Return every node that receives the log."""
        return frozenset(self.voters) | frozenset(self.outgoing) | frozenset(self.learners)


class Member(msgspec.Struct, frozen=True):
    """A member as the answering node sees it; the fields after `role` are None on every node but the leader.

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


class NodeStatus(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """What `GET /status` of a node says. Fields that this operator does not know are ignored: nodes may be newer."""

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
    certificate_not_before: float = 0.0
    certificate_not_after: float = 0.0
    """Of the certificate it showed when it was asked, in Unix seconds; 0 without TLS."""

    @property
    def has_history(self) -> bool:
        """Whether this disk has ever been part of a cluster: it holds log, or has taken part in an election."""
        return self.state != "Uninitialized" or self.last_index > 0 or self.term > 0


class Failure(enum.Enum):
    """Why a pod or process does not work, as far as the runtime can tell; decides what could cure it."""

    NONE = "None"
    """Nothing known to be wrong: starting, working, or silent without a cause."""
    DISK = "Disk"
    """The node refused its data directory or its disk failed (exit codes 65 and 74)."""
    MACHINE = "Machine"
    """The machine under it is gone, or no longer heard of."""
    SCHEDULING = "Scheduling"
    """No machine can take it, or its volume cannot be bound."""
    IMAGE = "Image"
    """The image or executable cannot be had or started; a new disk would not help."""
    CONFIGURATION = "Configuration"
    """It refuses its settings (exit code 64), or its port is taken (69); a new disk would not help."""
    CRASH = "Crash"
    """It keeps ending for another reason."""


class Pod(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A pod, or locally a process, that exists. `unready_s` is 0 while it is ready."""

    uid: str
    """Changes whenever the pod is made again (Kubernetes) or the process is started again (local)."""
    running: bool
    """A process is known to run in it; False for pending, waiting to restart, or on a machine that is gone."""
    ready: bool
    """It answered a linearizable read lately."""
    terminating: bool = False
    stuck_terminating: bool = False
    """It was told to stop on a machine that is lost, and its disk is on its way out: nobody will say that it has."""
    revision: str = ""
    """The revision of the settings it was started with (`environment.revision`)."""
    restarts: int = 0
    unready_s: float = 0.0
    failure: Failure = Failure.NONE
    detail: str = ""
    """The failure in words, for people: `ImagePullBackOff: no such tag`."""
    replace_requested: bool = False
    """A user asked for this member to be replaced without waiting."""
    restart_reason: str = ""
    """Why it must restart although its revision is current, such as a certificate it cannot reload; empty if not."""
    peer_address: str = ""
    """`host:port` at which other members reach it, as the runtime assigned it."""
    http_address: str = ""
    """Base URL at which clients reach it, as the runtime assigned it."""


class Absent(msgspec.Struct, frozen=True, tag=True):
    """It certainly does not exist."""


ABSENT = Absent()


class Volume(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A disk that exists. Its content is known only as far as it is recorded outside it, or can be looked at."""

    name: str
    node_id: NodeId | Absent | Unknown = Unknown("not recorded")
    """The incarnation that wrote it; `Absent` when it is proved to be empty."""
    removed: bool = False
    """Marked: it held a member that was taken out of the cluster; nothing may start on it again."""
    size_bytes: int | None = None
    """What was asked of the storage; None where the runtime has no sizes."""
    capacity_bytes: int = 0
    """What the storage has given; 0 while it has not given any."""
    not_expandable_reason: str = ""
    """Why it cannot be made larger; empty when it can."""
    resize_status: str = ""
    """What the storage says of a growth that is under way."""


class Slot(msgspec.Struct, frozen=True, kw_only=True):
    """One ordinal of the workload: its pod, the node that answers in it, and its disk."""

    ordinal: int
    pod: Pod | Absent | Unknown = ABSENT
    node: NodeStatus | Unknown = Unknown("not asked")
    volume: Volume | Absent | Unknown = ABSENT
    pending_reason: str = ""
    """Why it has no pod, or its pod no disk, in the words of whoever refuses it; empty when nobody does."""


class Workload(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """What keeps the pods of ordinals `[0, replicas)` running: a StatefulSet, or the local supervisor's list."""

    replicas: int
    revision: str
    """The revision that pods started from now on will have."""
    volume_bytes: int | None = None
    """Size of the disks that pods started from now on will get; None where the runtime has no sizes."""


class AppliedObject(msgspec.Struct, frozen=True, kw_only=True):
    """An object that exists for the cluster; `digest` is of the manifest it was applied from, empty if not ours."""

    kind: str
    name: str
    digest: str = ""


class CertificateKind(enum.Enum):
    """What a certificate is for."""

    AUTHORITY = "Authority"
    """Signs all others of its cluster; its key is kept apart from theirs."""
    MEMBER = "Member"
    OPERATOR = "Operator"


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate in use. Times in Unix seconds, names as `certificates.Subject` orders them."""

    kind: CertificateKind
    name: str
    not_before: float
    not_after: float
    names: tuple[str, ...] = ()
    """Subject alternative names as `URI:...`, `DNS:...`, `IP:...`, sorted."""
    authority: str = ""
    """Fingerprint of the authority that signed it, or of itself for an authority."""


class SigningRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A node's request for a certificate that nobody has answered. Who asks is what the API server says of it."""

    name: str
    member: str
    """Name of the pod that asks; empty when no pod did."""
    pod_uid: str


class PublishedIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """What the status published last says of the cluster's identity; used only when the record is missing."""

    cluster_id: str = ""
    initialized: bool = False
    bootstrap_node: NodeId = ""


class Observed(msgspec.Struct, frozen=True, kw_only=True):
    """Everything seen in one look, and what earlier looks recorded."""

    now: float
    """Unix seconds of the look."""
    cluster_id: str = ""
    """Recorded once by `EstablishIdentity`, before anything starts; empty before."""
    initialized: bool = False
    """Latched: the cluster has had data. Never cleared."""
    initialized_recorded: bool = False
    """Whether `initialized` is recorded durably; until then only the answers of nodes say so."""
    bootstrap_node: NodeId = ""
    """The incarnation that `Bootstrap` was decided for, recorded BEFORE it was called."""
    finalizer: bool | None = None
    """Whether the resource has our finalizer; None where resources have none (local)."""
    published: PublishedIdentity = PublishedIdentity()
    volume_cluster_ids: tuple[str, ...] = ()
    """Every cluster ID that is stamped on a volume of the cluster's name, sorted. More than one is a fault."""
    stamps_volumes: bool = False
    """Whether `Volume.node_id` is a stamp to be kept up to date; False where it is read from the disk (local)."""
    epoch: int = 0
    """The fencing epoch this operator holds; nodes refuse membership changes with a lower one."""
    workload: Workload | Absent | Unknown = ABSENT
    idle: tuple[int, ...] = ()
    """Ordinals that the workload includes and that nothing will start; always empty where a controller does."""
    slots: tuple[Slot, ...] = ()
    """Every ordinal of which a pod or volume exists or is wanted by the workload, ascending."""
    objects: tuple[AppliedObject, ...] | None = None
    """None where the runtime has no such objects (local)."""
    namespace_terminating: bool = False
    """The namespace is being deleted: nothing can be made in it any more."""
    certificates: tuple[Certificate, ...] | None = None
    """None where the runtime does not issue them itself."""
    authority_published: bool | None = None
    """Whether pods can mount the current authority as their trust anchor; None where they read it elsewhere (local)."""
    requests: tuple[SigningRequest, ...] | None = None
    """What nodes ask to be signed; None where the runtime makes their keys and certificates itself."""

    def slot(self, ordinal: int) -> Slot:
        """Return what is known of an ordinal; one that was not seen has neither pod nor volume."""
        for slot in self.slots:
            if slot.ordinal == ordinal:
                return slot
        return Slot(ordinal=ordinal)

    def nodes(self) -> tuple[NodeStatus, ...]:
        """Return the nodes that answered, by ordinal."""
        return tuple(slot.node for slot in self.slots if isinstance(slot.node, NodeStatus))
