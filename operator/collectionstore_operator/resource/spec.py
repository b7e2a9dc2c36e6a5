"""The spec of a CollectionStoreCluster: every field with its default, its bounds and its description.

The structs are the one source of the schema: `crds/` is generated from them. What a schema cannot say of one field
alone is in `rules`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal, NamedTuple, TypeAlias

from msgspec import Meta, field

from collectionstore_operator.resource.fields import SIZE_PATTERN, Labels, Part, Quantity, quantity_bytes
from collectionstore_operator.resource.pod_template import PodTemplate
from collectionstore_operator.resource.scheduling import Spread

DEFAULT_VERSION: Final = "0.1.0"
"""Written out, not taken from the operator's own version: a new operator must not restart every cluster."""
IMAGE_REPOSITORY: Final = "collectionstore/node"
VERSION_PATTERN: Final = r"^[0-9A-Za-z_][0-9A-Za-z_.-]{0,127}$"
REPLICAS_MAX: Final = 9
PORTS_PER_NODE: Final = 3
PORT_MAX: Final = 65_535


class Storage(Part, frozen=True):
    """The disk of every member."""

    size: Annotated[
        str,
        Meta(
            pattern=SIZE_PATTERN,
            max_length=32,
            title="a whole size such as 10Gi",
            description="Size of each member's volume, such as 10Gi; only grows.",
        ),
    ] = "10Gi"
    class_: (
        Annotated[
            str, Meta(min_length=1, max_length=253, description="StorageClass; the cluster's default when absent.")
        ]
        | None
    ) = field(name="class", default=None)
    retention: Annotated[
        Literal["Retain", "Delete"],
        Meta(description="What happens to the volume of a removed member, or of a deleted cluster."),
    ] = "Retain"

    @property
    def size_bytes(self) -> int:
        """Return the size in bytes."""
        return quantity_bytes(self.size)


class Resources(Part, frozen=True):
    """CPU and memory of every member, as in a container."""

    requests: Annotated[
        dict[Literal["cpu", "memory", "ephemeral-storage"], Quantity],
        Meta(description="What the scheduler reserves for each member."),
    ] = field(default_factory=dict)
    limits: Annotated[
        dict[Literal["cpu", "memory", "ephemeral-storage"], Quantity],
        Meta(description="What a member may not exceed."),
    ] = field(default_factory=dict)


class Timings(NamedTuple):
    """How soon the members notice that a leader is gone, in milliseconds."""

    heartbeat_ms: int
    election_min_ms: int
    election_max_ms: int


PROFILES: Final[Mapping[str, Timings]] = {
    # Two heartbeats: a lost one is survived. Bears networks of several zones, and disks that hesitate.
    "default": Timings(150, 300, 600),
    # Four, because a pause of a process or a disk is as long as before. Only for one quiet network.
    "fast": Timings(15, 60, 120),
}
"""What a profile stands for; node/README.md says what each costs and risks."""


class Raft(Part, frozen=True):
    """Timings of the consensus protocol; changing one restarts the members, one after the other."""

    profile: Annotated[
        Literal["default", "fast"],
        Meta(
            description="Timings that fit together. fast notices a dead leader within 0.12 s and is for members in one "
            "network whose disks sync within milliseconds."
        ),
    ] = "default"
    heartbeat_milliseconds: (
        Annotated[
            int, Meta(ge=5, le=10_000, description="How often the leader shows that it lives; the profile's if absent.")
        ]
        | None
    ) = None
    election_timeout_min_milliseconds: (
        Annotated[
            int,
            Meta(
                ge=10,
                le=100_000,
                description="Shortest silence after which a follower campaigns; the profile's if absent.",
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
                description="Longest such silence, each member drawing at random between the two; a leader that is "
                "stuck for as long steps down. The profile's if absent.",
            ),
        ]
        | None
    ) = None

    @property
    def timings(self) -> Timings:
        """Return the profile's timings, with those that are given in their place."""
        profile = PROFILES[self.profile]
        return Timings(
            self.heartbeat_milliseconds or profile.heartbeat_ms,
            self.election_timeout_min_milliseconds or profile.election_min_ms,
            self.election_timeout_max_milliseconds or profile.election_max_ms,
        )


class Snapshot(Part, frozen=True):
    """When a member compacts its log: at whichever limit comes first."""

    commands: Annotated[int, Meta(ge=1_000, le=100_000_000, description="Commands applied since the last.")] = 10_000
    log_bytes: Annotated[int, Meta(ge=1 << 20, le=16 << 30, description="Bytes of log kept since the last.")] = 64 << 20


class Tls(Part, frozen=True):
    """Encryption. Traffic between members is always mutual TLS; there is no setting for it."""

    client: Annotated[
        Literal["Required", "Disabled"],
        Meta(
            description="Whether clients must use TLS. Disabled is accepted on loopback only, that is by csctl local."
        ),
    ] = "Required"


class FailedMember(Part, frozen=True):
    """What happens to a member that does not come back."""

    replacement: Annotated[
        Literal["Automatic", "Manual"],
        Meta(description="Automatic: replaced after the grace time. Manual: only when annotated for replacement."),
    ] = "Automatic"
    grace_seconds: Annotated[
        int, Meta(ge=5, le=604_800, description="How long a member may be down before it is replaced.")
    ] = 300


class Unsafe(Part, frozen=True):
    """Named permissions for what is usually a mistake; each one set is shown in the status."""

    allow_even_replicas: Annotated[
        bool, Meta(description="Accept 2, 4, 6 or 8 replicas, which tolerate no more failures than one fewer would.")
    ] = False
    allow_single_replica: Annotated[
        bool, Meta(description="Accept one replica: no failure is tolerated, and its disk is the only copy.")
    ] = False


class Monitoring(Part, frozen=True):
    """How Prometheus finds the members; they serve their metrics in any case."""

    pod_monitor: Annotated[
        Literal["Enabled", "Disabled"],
        Meta(description="Whether to make a PodMonitor, which the Prometheus operator reads."),
    ] = "Disabled"
    labels: Annotated[Labels, Meta(description="Labels of the PodMonitor, by which a Prometheus selects it.")] = field(
        default_factory=dict
    )
    interval_seconds: Annotated[int, Meta(ge=5, le=3_600, description="How often the members are asked.")] = 30


SlowMilliseconds: TypeAlias = Annotated[int, Meta(ge=0, le=600_000)]


class SlowOperations(Part, frozen=True):
    """From how many milliseconds on an operation is logged as slow; 0 never."""

    write: Annotated[SlowMilliseconds, Meta(description="An entry, from its first command to its answer.")] = 500
    read: Annotated[SlowMilliseconds, Meta(description="The confirmation of a linearizable read.")] = 300
    fsync: Annotated[SlowMilliseconds, Meta(description="A sync of the log.")] = 100
    apply: Annotated[SlowMilliseconds, Meta(description="Applying committed entries in one go.")] = 100
    http: Annotated[SlowMilliseconds, Meta(description="A request of a client.")] = 1_000


class Diagnostics(Part, frozen=True):
    """What members say of themselves; a change restarts them, one after the other."""

    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Meta(description="What is logged from the start; it can be changed while a member runs."),
    ] = "info"
    profiling: Annotated[
        Literal["Enabled", "Disabled"],
        Meta(description="Whether operators may take profiles of a member: GET /debug/profile."),
    ] = "Disabled"
    slow_milliseconds: Annotated[
        SlowOperations, Meta(description="From how many milliseconds on an operation is logged as slow; 0 never.")
    ] = SlowOperations()


class Local(Part, frozen=True):
    """Read by `csctl local` alone: where members listen on 127.0.0.1. Ignored on Kubernetes."""

    base_port: Annotated[
        int, Meta(ge=1_024, le=PORT_MAX, description="Client port of member 0; peers use the next, metrics the third.")
    ] = 7_400
    port_step: Annotated[
        int, Meta(ge=PORTS_PER_NODE, le=1_000, description="Distance between the ports of one member and the next.")
    ] = 10

    def client_port(self, ordinal: int) -> int:
        """Return the client port of a member; its peer and metrics ports are the two that follow."""
        return self.base_port + ordinal * self.port_step


class Spec(Part, frozen=True):
    """What the user wants."""

    replicas: Annotated[
        int, Meta(ge=1, le=REPLICAS_MAX, description="Number of members; odd unless an unsafe flag allows otherwise.")
    ] = 3
    version: Annotated[
        str,
        Meta(
            pattern=VERSION_PATTERN,
            max_length=128,
            title="a version such as 0.1.0",
            description="Version of the storage node, and tag of the default image.",
        ),
    ] = DEFAULT_VERSION
    image: (
        Annotated[
            str,
            Meta(min_length=1, max_length=512, description="Image of the storage node; made from version if absent."),
        ]
        | None
    ) = None
    storage: Annotated[Storage, Meta(description="The disk of every member.")] = Storage()
    resources: Annotated[Resources, Meta(description="CPU and memory of every member.")] = field(
        default_factory=Resources
    )
    raft: Annotated[Raft, Meta(description="Timings of the consensus protocol.")] = Raft()
    snapshot: Annotated[Snapshot, Meta(description="When members compact their logs.")] = Snapshot()
    tls: Annotated[Tls, Meta(description="Encryption of client traffic.")] = Tls()
    failed_member: Annotated[FailedMember, Meta(description="Replacement of members that do not come back.")] = (
        FailedMember()
    )
    spread: Annotated[Spread, Meta(description="How members are kept apart, over zones and nodes.")] = Spread()
    pod: Annotated[
        PodTemplate, Meta(description="What is added to every pod; a change restarts the members. Not by csctl local.")
    ] = field(default_factory=PodTemplate)
    monitoring: Annotated[Monitoring, Meta(description="How Prometheus finds the members.")] = field(
        default_factory=Monitoring
    )
    diagnostics: Annotated[
        Diagnostics, Meta(description="What members log, and whether they may be profiled; a change restarts them.")
    ] = Diagnostics()
    paused: Annotated[bool, Meta(description="Change nothing, and keep the status fresh.")] = False
    deletion_protection: Annotated[bool, Meta(description="Refuse to take the cluster down on deletion.")] = False
    unsafe: Annotated[Unsafe, Meta(description="Named permissions for what is usually a mistake.")] = Unsafe()
    local: Annotated[Local, Meta(description="Settings of csctl local; ignored on Kubernetes.")] = Local()

    @property
    def effective_image(self) -> str:
        """Return the image to run."""
        return self.image or f"{IMAGE_REPOSITORY}:{self.version}"
