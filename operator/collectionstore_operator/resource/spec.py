"""The spec of a CollectionStoreCluster: every field with its default, its bounds and its description.

The structs are the only source of the schema: `crds/` is generated from them. Those of larger fields have modules of
their own beside this one. Constraints that involve more than one field are in `rules`. Descriptions follow the
Kubernetes API conventions: they begin with the name of the field, and state the unit, the default, and whether a change
restarts members.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta, field

from collectionstore_operator.resource.access_control import Access
from collectionstore_operator.resource.auditing import Audit
from collectionstore_operator.resource.bootstrap import Beginning, Source
from collectionstore_operator.resource.compute import DEFAULT_RESOURCES, Resources
from collectionstore_operator.resource.deletion import Deletion
from collectionstore_operator.resource.diagnostics import Diagnostics, Monitoring
from collectionstore_operator.resource.fields import Part
from collectionstore_operator.resource.network import NetworkAccess, Tls
from collectionstore_operator.resource.pod_template import PodTemplate
from collectionstore_operator.resource.raft import Raft, Snapshot
from collectionstore_operator.resource.recovery import Recovery
from collectionstore_operator.resource.restore import InPlaceRestore
from collectionstore_operator.resource.scheduling import Spread
from collectionstore_operator.resource.service import Service
from collectionstore_operator.resource.storage import Storage
from collectionstore_operator.resource.updates import Updates

DEFAULT_VERSION: Final = "0.1.0"
"""A literal, not the operator's own version: upgrading the operator must not restart every cluster."""
IMAGE_REPOSITORY: Final = "collectionstore/node"
IMAGE_PATTERN: Final = r"^[A-Za-z0-9]([-A-Za-z0-9._:/@\[\]]*[A-Za-z0-9])?$"
VERSION_PATTERN: Final = r"^[0-9A-Za-z_][0-9A-Za-z_.-]{0,127}$"
REPLICAS_MAX: Final = 9
READ_REPLICAS_MAX: Final = 9
PORTS_PER_NODE: Final = 3
PORT_MAX: Final = 65_535


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


class Local(Part, frozen=True):
    """Local configures the ports on 127.0.0.1 used by csctl local. Ignored on Kubernetes."""

    base_port: Annotated[
        int,
        Meta(
            ge=1_024,
            le=PORT_MAX,
            description="basePort is the client port of member 0; the next two ports are its peer and metrics ports. "
            f"Read replicas follow after the ports of {REPLICAS_MAX} members. Defaults to 7400.",
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
    read_replicas: (
        Annotated[
            int,
            Meta(
                ge=0,
                le=READ_REPLICAS_MAX,
                description="readReplicas is the number of members without a vote, which serve stale reads: pods "
                "<name>-read-0 and following, behind the Service <name>-read. They never count for the quorum, and are "
                "never promoted. If absent, there are none.",
            ),
        ]
        | None
    ) = None
    read_replicas_max: (
        Annotated[
            int,
            Meta(
                ge=1,
                le=READ_REPLICAS_MAX,
                description="readReplicasMax leaves the number of read replicas to an autoscaler: it scales the "
                "StatefulSet <name>-read, and the operator follows, from readReplicas, then at least 1, to "
                "readReplicasMax. If absent, readReplicas is the number.",
            ),
        ]
        | None
    ) = None
    read_replica_max_staleness_seconds: (
        Annotated[
            int,
            Meta(
                ge=1,
                le=3_600,
                description="readReplicaMaxStalenessSeconds is how stale the state of a read replica may be before it "
                "is not ready and refuses stale reads, in seconds. A change restarts the read replicas, one at a time. "
                "If absent, 10.",
            ),
        ]
        | None
    ) = None
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
    audit: (
        Annotated[
            Audit,
            Meta(
                description="audit configures the audit log of each member. A change restarts the members, one at a "
                "time. If absent, none is kept."
            ),
        ]
        | None
    ) = None
    paused: Annotated[
        bool,
        Meta(
            description="paused suspends reconciliation: the operator updates the status and makes no changes. "
            "Defaults to false."
        ),
    ] = False
    service: (
        Annotated[
            Service,
            Meta(
                description="service configures the Service for clients: its type, annotations and labels. A change "
                "restarts no member. If absent, it is of type ClusterIP. Ignored by csctl local."
            ),
        ]
        | None
    ) = None
    updates: (
        Annotated[
            Updates,
            Meta(
                description="updates determines when members that work are restarted for a change of the resource. "
                "If absent, at once."
            ),
        ]
        | None
    ) = None
    hibernate: (
        Annotated[
            bool,
            Meta(
                description="hibernate stops all members and keeps their volumes: nothing is read or written, and "
                "other changes wait. A healthy cluster is stopped as soon as every member has all that is committed. "
                "If absent or false, the members start again, and the cluster is available when they have at least "
                "that."
            ),
        ]
        | None
    ) = None
    deletion_protection: Annotated[
        bool,
        Meta(
            description="deletionProtection blocks deletion: the cluster keeps running after the resource is deleted "
            "until this field is set to false. Defaults to false."
        ),
    ] = False
    deletion: (
        Annotated[
            Deletion,
            Meta(description="deletion configures what is done before a deleted cluster ends. If absent, nothing."),
        ]
        | None
    ) = None
    recovery: (
        Annotated[
            Recovery,
            Meta(
                description="recovery acknowledges the recovery of a cluster whose quorum is lost for good, with the "
                "nonce that status.recovery offers. What only the lost members had is lost."
            ),
        ]
        | None
    ) = None
    bootstrap: (
        Annotated[
            Beginning,
            Meta(
                description="bootstrap is what a new cluster begins with; if absent, with nothing. It can be removed, "
                "and not changed or added, once the cluster has its ID."
            ),
        ]
        | None
    ) = None
    restore: (
        Annotated[
            InPlaceRestore,
            Meta(
                description="restore replaces what the cluster has by a backup, in place, once the nonce of "
                "status.restore acknowledges it: all members stop, the first is made of the backup under another "
                "cluster ID, and the others join it on empty volumes. Refused by csctl local: csctl restore."
            ),
        ]
        | None
    ) = None
    access: (
        Annotated[
            Access,
            Meta(
                description="access configures who may do what, by which credentials. A change restarts no member. If "
                "absent, a new cluster on Kubernetes refuses every request without the right to what it asks; a "
                "cluster that is older than this field serves every request (Permissive), as csctl local does "
                "(Disabled)."
            ),
        ]
        | None
    ) = None
    unsafe: Annotated[Unsafe, Meta(description="unsafe permits configurations that are usually a mistake.")] = Unsafe()
    local: Annotated[
        Local, Meta(description="local configures the ports used by csctl local. Ignored on Kubernetes.")
    ] = Local()

    @property
    def has_read_replicas(self) -> bool:
        """Return whether the resource asks for read replicas: copies, which a cluster that sleeps has none of."""
        return bool(self.read_replicas) and not self.asleep

    @property
    def asleep(self) -> bool:
        """Whether no member is to run."""
        return self.hibernate is True

    @property
    def beginning(self) -> Source | None:
        """Return what a new cluster is made of; None if it begins with nothing."""
        origin = self.bootstrap.restore if self.bootstrap is not None else None
        return origin.source if origin is not None else None

    @property
    def effective_image(self) -> str:
        """Return the image to run."""
        return self.image or f"{IMAGE_REPOSITORY}:{self.version}"
