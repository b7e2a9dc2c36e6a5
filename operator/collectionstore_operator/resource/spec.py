"""The spec of a CollectionStoreCluster: every field with its default, its bounds and its description.

The structs are the only source of the schema: `crds/` is generated from them. Constraints that involve more than one
field are in `rules`. Descriptions follow the Kubernetes API conventions: they begin with the name of the field, and
state the unit, the default, and whether a change restarts members.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal, NamedTuple, TypeAlias

from msgspec import Meta, field

from collectionstore_operator.resource.fields import (
    SIZE_PATTERN,
    Labels,
    Part,
    Quantity,
    atomic,
    quantity_bytes,
    stored_bytes,
)
from collectionstore_operator.resource.pod_template import PodTemplate
from collectionstore_operator.resource.scheduling import Spread

DEFAULT_VERSION: Final = "0.1.0"
"""A literal, not the operator's own version: upgrading the operator must not restart every cluster."""
IMAGE_REPOSITORY: Final = "collectionstore/node"
IMAGE_PATTERN: Final = r"^[A-Za-z0-9]([-A-Za-z0-9._:/@\[\]]*[A-Za-z0-9])?$"
VERSION_PATTERN: Final = r"^[0-9A-Za-z_][0-9A-Za-z_.-]{0,127}$"
REPLICAS_MAX: Final = 9
PORTS_PER_NODE: Final = 3
PORT_MAX: Final = 65_535


class Storage(Part, frozen=True):
    """Storage configures the persistent volume of each member."""

    size: Annotated[
        str,
        Meta(
            pattern=SIZE_PATTERN,
            max_length=32,
            title="a whole size such as 10Gi",
            description="size is the requested capacity of each member's volume, such as 10Gi. It can be increased if "
            "the StorageClass allows volume expansion, and cannot be decreased. Members are not restarted. Defaults "
            "to 10Gi.",
        ),
    ] = "10Gi"
    class_: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=253,
                description="class is the name of the StorageClass. If absent, the default StorageClass is used. "
                "Immutable.",
            ),
        ]
        | None
    ) = field(name="class", default=None)
    quota: (
        Annotated[
            str,
            Meta(
                pattern=SIZE_PATTERN,
                max_length=32,
                title="a whole size such as 8Gi",
                description="quota is the size of a member's database at which the cluster takes no more data: writes "
                "that add data are refused, reads and deletes work, until the database is a tenth smaller. At least "
                "256Mi, and less than size. If absent, the free space of the volume is the only bound. A change "
                "restarts the members, one at a time.",
            ),
        ]
        | None
    ) = None
    retention: Annotated[
        Literal["Retain", "Delete"],
        Meta(
            description="retention determines what happens to the volume of a member that was removed or replaced, and "
            "to all volumes when the cluster is deleted. Retain keeps the PersistentVolumeClaims; Delete deletes them "
            "and their data. Defaults to Retain."
        ),
    ] = "Retain"

    @property
    def size_bytes(self) -> int:
        """Return the size in bytes."""
        return quantity_bytes(self.size)

    @property
    def quota_bytes(self) -> int:
        """Return the quota in bytes; 0 without one."""
        return quantity_bytes(self.quota) if self.quota is not None else 0


ComputeResource: TypeAlias = Literal["cpu", "memory", "ephemeral-storage"]


class Resources(Part, frozen=True):
    """Resources are the compute resources of each member's container."""

    requests: Annotated[
        dict[ComputeResource, Quantity],
        Meta(description="requests is the amount of each resource that the scheduler reserves for a member."),
    ] = field(default_factory=dict)
    limits: Annotated[
        dict[ComputeResource, Quantity],
        Meta(description="limits is the maximum amount of each resource that a member may use."),
    ] = field(default_factory=dict)

    @property
    def memory_limit_bytes(self) -> int | None:
        """Return the memory limit in bytes; None without one."""
        limit = self.limits.get("memory")
        return None if limit is None else stored_bytes(str(limit))


DEFAULT_RESOURCES: Final = Resources(requests={"cpu": "100m", "memory": "256Mi"}, limits={"memory": "1Gi"})
"""For a resource that sets none: not BestEffort, whose pods are the first to be evicted. No limit of the processor,
which would throttle heartbeats."""


class Timings(NamedTuple):
    """Heartbeat interval and the range of the election timeout, in milliseconds."""

    heartbeat_ms: int
    election_min_ms: int
    election_max_ms: int


PROFILES: Final[Mapping[str, Timings]] = {
    # An election timeout of two heartbeats: one lost heartbeat does not cause an election. Tolerates cross-zone latency
    # and slow fsyncs.
    "default": Timings(150, 300, 600),
    # Four heartbeats, because pauses of the process and of the disk do not shrink with the interval. Only for one
    # low-latency network.
    "fast": Timings(15, 60, 120),
}
"""Timings of each profile; node/README.md describes their costs and risks."""


class Raft(Part, frozen=True):
    """Raft configures the timings of leader election. A change restarts the members, one at a time."""

    profile: Annotated[
        Literal["default", "fast"],
        Meta(
            description="profile selects a consistent set of timings. default (heartbeat 150 ms, election timeout "
            "300-600 ms) tolerates cross-zone latency and slow fsyncs. fast (15 ms, 60-120 ms) detects a failed leader "
            "within 0.12 s and requires a single low-latency network and disks that sync within milliseconds. Defaults "
            "to default."
        ),
    ] = "default"
    heartbeat_milliseconds: (
        Annotated[
            int,
            Meta(
                ge=5,
                le=10_000,
                description="heartbeatMilliseconds is the interval between heartbeats of the leader, in milliseconds. "
                "If absent, the value of the profile is used.",
            ),
        ]
        | None
    ) = None
    election_timeout_min_milliseconds: (
        Annotated[
            int,
            Meta(
                ge=10,
                le=100_000,
                description="electionTimeoutMinMilliseconds is the lower bound of the election timeout, in "
                "milliseconds: the time without heartbeats after which a follower starts an election. Must be at least "
                "twice the heartbeat interval. If absent, the value of the profile is used.",
            ),
        ]
        | None
    ) = None
    election_timeout_max_milliseconds: (
        Annotated[
            int,
            Meta(
                ge=15,
                le=200_000,
                description="electionTimeoutMaxMilliseconds is the upper bound of the election timeout, in "
                "milliseconds. Each member draws its timeout at random between the two bounds. A leader whose process "
                "or disk is blocked for this long steps down. Must exceed the lower bound by at least one heartbeat "
                "interval. If absent, the value of the profile is used.",
            ),
        ]
        | None
    ) = None

    @property
    def timings(self) -> Timings:
        """Return the timings of the profile, overridden by the fields that are set."""
        profile = PROFILES[self.profile]
        return Timings(
            self.heartbeat_milliseconds or profile.heartbeat_ms,
            self.election_timeout_min_milliseconds or profile.election_min_ms,
            self.election_timeout_max_milliseconds or profile.election_max_ms,
        )


class Snapshot(Part, frozen=True):
    """Snapshot configures log compaction. A member takes a snapshot as soon as either limit is reached.

    A change restarts the members, one at a time.
    """

    commands: Annotated[
        int,
        Meta(
            ge=1_000,
            le=100_000_000,
            description="commands is the number of applied commands after which a member takes a snapshot. Defaults to "
            "10000.",
        ),
    ] = 10_000
    log_bytes: Annotated[
        int,
        Meta(
            ge=1 << 20,
            le=16 << 30,
            description="logBytes is the size of the log, in bytes, at which a member takes a snapshot. Defaults to "
            "67108864 (64 MiB).",
        ),
    ] = 64 << 20


class Tls(Part, frozen=True):
    """Tls configures encryption of client traffic. Traffic between members always uses mutual TLS."""

    client: Annotated[
        Literal["Required", "Disabled"],
        Meta(
            description="client determines whether clients must use TLS. Disabled is valid only for csctl local, where "
            "members listen on loopback. Defaults to Required."
        ),
    ] = "Required"
    certificate_lifetime_seconds: Annotated[
        int,
        Meta(
            ge=60,
            le=31_536_000,
            description="certificateLifetimeSeconds is the lifetime of the certificates of members and of the "
            "operator. Each is renewed after two thirds of it. A change applies to new certificates. Defaults to "
            "7776000 (90 days).",
        ),
    ] = 7_776_000
    authority_lifetime_seconds: Annotated[
        int,
        Meta(
            ge=360,
            le=630_720_000,
            description="authorityLifetimeSeconds is the lifetime of the cluster's certificate authority, at least six "
            "times certificateLifetimeSeconds. Its key is rotated after two thirds of it. Defaults to 315360000 (ten "
            "years).",
        ),
    ] = 315_360_000


class FailedMember(Part, frozen=True):
    """FailedMember configures the replacement of members that do not recover."""

    replacement: Annotated[
        Literal["Automatic", "Manual"],
        Meta(
            description="replacement determines when a failed member is replaced by a new one with an empty volume. "
            "Automatic: after graceSeconds. Manual: only if its pod is annotated with collectionstore.io/replace. "
            "Defaults to Automatic."
        ),
    ] = "Automatic"
    grace_seconds: Annotated[
        int,
        Meta(
            ge=5,
            le=604_800,
            description="graceSeconds is the time a member may be down before it is replaced, in seconds. Defaults to "
            "300.",
        ),
    ] = 300


class Unsafe(Part, frozen=True):
    """Unsafe permits configurations that are usually a mistake. Flags in use are shown in the condition Accepted."""

    allow_even_replicas: Annotated[
        bool,
        Meta(
            description="allowEvenReplicas permits 2, 4, 6 or 8 replicas, which tolerate no more failures than one "
            "replica fewer. Defaults to false."
        ),
    ] = False
    allow_single_replica: Annotated[
        bool,
        Meta(
            description="allowSingleReplica permits a single replica, which tolerates no failure: its volume is the "
            "only copy of the data. Defaults to false."
        ),
    ] = False


class NetworkPeers(Part, frozen=True):
    """NetworkPeers selects the pods of some namespaces."""

    namespace_labels: Annotated[
        Labels,
        Meta(description="namespaceLabels select namespaces by their labels. If empty, all namespaces are selected."),
    ] = field(default_factory=dict)
    pod_labels: Annotated[
        Labels,
        Meta(description="podLabels select pods in these namespaces by their labels. If empty, all pods are selected."),
    ] = field(default_factory=dict)


class NetworkAccess(Part, frozen=True):
    """NetworkAccess configures the NetworkPolicy of the members. A change does not restart members.

    Without a network plugin that enforces NetworkPolicies it has no effect.
    """

    mode: Annotated[
        Literal["Enabled", "Disabled"],
        Meta(
            description="mode determines whether the operator creates a NetworkPolicy for the members: only members of "
            "the same cluster reach the peer port, and members reach only each other, DNS, the API server and the "
            "trace collectors in their environment. Further NetworkPolicies can allow more. Defaults to Enabled."
        ),
    ] = "Enabled"
    clients: Annotated[
        tuple[NetworkPeers, ...],
        Meta(
            max_length=16,
            description="clients are the pods that may use the client port, besides members and the operator. If "
            "empty, everybody may, also from outside of the Kubernetes cluster.",
            extra_json_schema=atomic(),
        ),
    ] = ()
    monitoring: Annotated[
        tuple[NetworkPeers, ...],
        Meta(
            max_length=16,
            description="monitoring are the pods that may use the metrics port. If empty, all pods of the Kubernetes "
            "cluster may. Probes of the kubelet are always allowed.",
            extra_json_schema=atomic(),
        ),
    ] = ()


class Monitoring(Part, frozen=True):
    """Monitoring configures discovery by Prometheus. Members serve their metrics regardless."""

    pod_monitor: Annotated[
        Literal["Enabled", "Disabled"],
        Meta(
            description="podMonitor determines whether the operator creates a PodMonitor for the Prometheus Operator. "
            "Defaults to Disabled."
        ),
    ] = "Disabled"
    labels: Annotated[
        Labels,
        Meta(description="labels are added to the PodMonitor, so that a Prometheus instance can select it."),
    ] = field(default_factory=dict)
    interval_seconds: Annotated[
        int,
        Meta(ge=5, le=3_600, description="intervalSeconds is the scrape interval, in seconds. Defaults to 30."),
    ] = 30


SlowMilliseconds: TypeAlias = Annotated[int, Meta(ge=0, le=600_000)]


class SlowOperations(Part, frozen=True):
    """SlowOperations are the thresholds of the slow log, in milliseconds; 0 disables a threshold."""

    write: Annotated[
        SlowMilliseconds,
        Meta(
            description="write is the threshold for a log entry, from the proposal of its first command to its "
            "response. Defaults to 500."
        ),
    ] = 500
    read: Annotated[
        SlowMilliseconds,
        Meta(description="read is the threshold for confirming a linearizable read. Defaults to 300."),
    ] = 300
    fsync: Annotated[
        SlowMilliseconds, Meta(description="fsync is the threshold for one sync of the log. Defaults to 100.")
    ] = 100
    apply: Annotated[
        SlowMilliseconds,
        Meta(description="apply is the threshold for applying one batch of committed entries. Defaults to 100."),
    ] = 100
    http: Annotated[
        SlowMilliseconds, Meta(description="http is the threshold for one client request. Defaults to 1000.")
    ] = 1_000


class Diagnostics(Part, frozen=True):
    """Diagnostics configures logging and profiling. A change restarts the members, one at a time."""

    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Meta(
            description="logLevel is the log level at startup. The level of a running member can be changed without a "
            "restart. Defaults to info."
        ),
    ] = "info"
    profiling: Annotated[
        Literal["Enabled", "Disabled"],
        Meta(
            description="profiling determines whether members serve profiles at GET /debug/profile. Defaults to "
            "Disabled."
        ),
    ] = "Disabled"
    slow_milliseconds: Annotated[
        SlowOperations,
        Meta(
            description="slowMilliseconds are the durations, in milliseconds, from which an operation is logged as "
            "slow. 0 disables a threshold."
        ),
    ] = SlowOperations()


class Local(Part, frozen=True):
    """Local configures the ports on 127.0.0.1 used by csctl local. Ignored on Kubernetes."""

    base_port: Annotated[
        int,
        Meta(
            ge=1_024,
            le=PORT_MAX,
            description="basePort is the client port of member 0; the next two ports are its peer and metrics ports. "
            "Defaults to 7400.",
        ),
    ] = 7_400
    port_step: Annotated[
        int,
        Meta(
            ge=PORTS_PER_NODE,
            le=1_000,
            description="portStep is the difference between the client ports of consecutive members. Defaults to 10.",
        ),
    ] = 10

    def client_port(self, ordinal: int) -> int:
        """Return the client port of a member; its peer and metrics ports are the two that follow."""
        return self.base_port + ordinal * self.port_step


class Spec(Part, frozen=True):
    """Desired state of the cluster."""

    replicas: Annotated[
        int,
        Meta(
            ge=1,
            le=REPLICAS_MAX,
            description="replicas is the number of voting members. Must be odd: a cluster of 2n+1 members tolerates n "
            "failures. spec.unsafe permits other numbers. Scaling changes all voters in one joint configuration "
            "change. Defaults to 3.",
        ),
    ] = 3
    version: Annotated[
        str,
        Meta(
            pattern=VERSION_PATTERN,
            max_length=128,
            title="a version such as 0.1.0",
            description="version is the version of the storage node and the tag of the default image. A change "
            f"restarts the members, one at a time, the leader last. Defaults to {DEFAULT_VERSION}.",
        ),
    ] = DEFAULT_VERSION
    image: (
        Annotated[
            str,
            Meta(
                pattern=IMAGE_PATTERN,
                max_length=512,
                title="an image such as registry.example.com/collectionstore/node:0.1.0",
                description="image is the container image of the storage node. A change restarts the members, one at a "
                f"time, the leader last. If absent, {IMAGE_REPOSITORY}:<version> is used.",
            ),
        ]
        | None
    ) = None
    storage: Annotated[Storage, Meta(description="storage configures the persistent volume of each member.")] = (
        Storage()
    )
    resources: Annotated[
        Resources,
        Meta(
            description="resources are the compute resources of each member's container. A change restarts the "
            "members, one at a time. Defaults to requests of 100m cpu and 256Mi memory and a limit of 1Gi memory; a "
            "value replaces all of them, and {} sets none."
        ),
    ] = field(default_factory=lambda: DEFAULT_RESOURCES)
    raft: Annotated[
        Raft,
        Meta(
            description="raft configures the timings of leader election. A change restarts the members, one at a time."
        ),
    ] = Raft()
    snapshot: Annotated[
        Snapshot,
        Meta(
            description="snapshot configures log compaction: a member takes a snapshot as soon as either limit is "
            "reached. A change restarts the members, one at a time."
        ),
    ] = Snapshot()
    tls: Annotated[
        Tls,
        Meta(
            description="tls configures encryption of client traffic. Traffic between members always uses mutual TLS."
        ),
    ] = Tls()
    failed_member: Annotated[
        FailedMember,
        Meta(description="failedMember configures the replacement of members that do not recover."),
    ] = FailedMember()
    spread: Annotated[
        Spread,
        Meta(
            description="spread configures how members are distributed over zones and nodes. A change restarts the "
            "members, one at a time."
        ),
    ] = Spread()
    pod: Annotated[
        PodTemplate,
        Meta(
            description="pod configures the members' pods: labels, environment variables, scheduling. A change "
            "restarts the members, one at a time. Ignored by csctl local."
        ),
    ] = field(default_factory=PodTemplate)
    network_policy: Annotated[
        NetworkAccess,
        Meta(
            description="networkPolicy configures the NetworkPolicy of the members. A change does not restart members. "
            "Ignored by csctl local."
        ),
    ] = NetworkAccess()
    monitoring: Annotated[Monitoring, Meta(description="monitoring configures discovery by Prometheus.")] = field(
        default_factory=Monitoring
    )
    diagnostics: Annotated[
        Diagnostics,
        Meta(description="diagnostics configures logging and profiling. A change restarts the members, one at a time."),
    ] = Diagnostics()
    paused: Annotated[
        bool,
        Meta(
            description="paused suspends reconciliation: the operator updates the status and makes no changes. "
            "Defaults to false."
        ),
    ] = False
    deletion_protection: Annotated[
        bool,
        Meta(
            description="deletionProtection blocks deletion: the cluster keeps running after the resource is deleted "
            "until this field is set to false. Defaults to false."
        ),
    ] = False
    unsafe: Annotated[Unsafe, Meta(description="unsafe permits configurations that are usually a mistake.")] = Unsafe()
    local: Annotated[
        Local, Meta(description="local configures the ports used by csctl local. Ignored on Kubernetes.")
    ] = Local()

    @property
    def effective_image(self) -> str:
        """Return the image to run."""
        return self.image or f"{IMAGE_REPOSITORY}:{self.version}"
