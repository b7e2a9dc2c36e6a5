"""The custom resource CollectionStoreCluster: its typed spec with defaults, bounds and descriptions, and its parser.

The structs are the one source of the schema: descriptions, defaults and bounds stand on the fields. What a schema
cannot say (rules between fields) is in `_cross_checks`. Parsing reports every fault at once and changes nothing; the
spec is never rewritten, only read.

Rules of size, which hold for a new cluster as for one that is scaled:
- an odd number of members, unless `spec.unsafe.allowEvenReplicas`: an even one tolerates no more failures than the
  odd number below it;
- one member needs `spec.unsafe.allowSingleReplica`, because its disk is then the only copy.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, field

from collectionstore_operator import labels, schema
from collectionstore_operator.errors import FieldError, InvalidResource

DEFAULT_VERSION: Final = "0.1.0"
"""Written out, not taken from the operator's own version: a new operator must not restart every cluster."""
IMAGE_REPOSITORY: Final = "collectionstore/node"
REPLICAS_MAX: Final = 9
PORTS_PER_NODE: Final = 3
PORT_MAX: Final = 65_535

CLIENT_PORT: Final = 7400
PEER_PORT: Final = 7401
METRICS_PORT: Final = 7402

_QUANTITY: Final = r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$"
_SIZE: Final = r"^[1-9][0-9]*(k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$"
_NAME: Final = f"at most {labels.NAME_LENGTH_MAX} of a-z, 0-9 and '-', beginning with a letter and not ending with '-'"
_NAMESPACE: Final = "at most 63 of a-z, 0-9 and '-', not at the ends"
_VERSION: Final = r"^[0-9A-Za-z_][0-9A-Za-z_.-]{0,127}$"
_UNITS: Final = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15} | {
    f"{letter}i": 1 << 10 * power for power, letter in enumerate("KMGTP", start=1)
}

Quantity = (
    Annotated[str, Meta(pattern=_QUANTITY, max_length=32, title="a quantity such as 500m or 2Gi")]
    | Annotated[int, Meta(ge=0)]
)


class Runtime(enum.Enum):
    """Where the cluster will run; a few values are fit for one of them only."""

    KUBERNETES = "Kubernetes"
    LOCAL = "Local"
    """Processes of this machine, reachable on loopback only."""


class _Part(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True, repr_omit_defaults=True
):
    """A piece of the spec: immutable, camelCase in YAML, strict about names."""


class Storage(_Part, frozen=True):
    """The disk of every member."""

    size: Annotated[
        str,
        Meta(
            pattern=_SIZE,
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


class Resources(_Part, frozen=True):
    """CPU and memory of every member, as in a container."""

    requests: Annotated[
        dict[Literal["cpu", "memory", "ephemeral-storage"], Quantity],
        Meta(description="What the scheduler reserves for each member."),
    ] = field(default_factory=dict)
    limits: Annotated[
        dict[Literal["cpu", "memory", "ephemeral-storage"], Quantity],
        Meta(description="What a member may not exceed."),
    ] = field(default_factory=dict)


class Raft(_Part, frozen=True):
    """Timings of the consensus protocol; changing one restarts the members, one after the other."""

    heartbeat_milliseconds: Annotated[
        int, Meta(ge=5, le=10_000, description="How often the leader shows that it lives.")
    ] = 150
    election_timeout_min_milliseconds: Annotated[
        int, Meta(ge=10, le=100_000, description="Shortest silence after which a follower campaigns.")
    ] = 300
    election_timeout_max_milliseconds: Annotated[
        int, Meta(ge=15, le=200_000, description="Longest such silence; each member draws at random between the two.")
    ] = 600


class Snapshot(_Part, frozen=True):
    """When a member compacts its log: at whichever limit comes first."""

    commands: Annotated[int, Meta(ge=1_000, le=100_000_000, description="Commands applied since the last.")] = 10_000
    log_bytes: Annotated[int, Meta(ge=1 << 20, le=16 << 30, description="Bytes of log kept since the last.")] = 64 << 20


class Tls(_Part, frozen=True):
    """Encryption. Traffic between members is always mutual TLS; there is no setting for it."""

    client: Annotated[
        Literal["Required", "Disabled"],
        Meta(
            description="Whether clients must use TLS. Disabled is accepted on loopback only, that is by csctl local."
        ),
    ] = "Required"


class FailedMember(_Part, frozen=True):
    """What happens to a member that does not come back."""

    replacement: Annotated[
        Literal["Automatic", "Manual"],
        Meta(description="Automatic: replaced after the grace time. Manual: only when annotated for replacement."),
    ] = "Automatic"
    grace_seconds: Annotated[
        int, Meta(ge=5, le=604_800, description="How long a member may be down before it is replaced.")
    ] = 300


class Unsafe(_Part, frozen=True):
    """Named permissions for what is usually a mistake; each one set is shown in the status."""

    allow_even_replicas: Annotated[
        bool, Meta(description="Accept 2, 4, 6 or 8 replicas, which tolerate no more failures than one fewer would.")
    ] = False
    allow_single_replica: Annotated[
        bool, Meta(description="Accept one replica: no failure is tolerated, and its disk is the only copy.")
    ] = False


class Local(_Part, frozen=True):
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


class Spec(_Part, frozen=True):
    """What the user wants."""

    replicas: Annotated[
        int, Meta(ge=1, le=REPLICAS_MAX, description="Number of members; odd unless an unsafe flag allows otherwise.")
    ] = 3
    version: Annotated[
        str,
        Meta(
            pattern=_VERSION,
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
    paused: Annotated[bool, Meta(description="Change nothing, and keep the status fresh.")] = False
    deletion_protection: Annotated[bool, Meta(description="Refuse to take the cluster down on deletion.")] = False
    unsafe: Annotated[Unsafe, Meta(description="Named permissions for what is usually a mistake.")] = Unsafe()
    local: Annotated[Local, Meta(description="Settings of csctl local; ignored on Kubernetes.")] = Local()

    @property
    def effective_image(self) -> str:
        """Return the image to run."""
        return self.image or f"{IMAGE_REPOSITORY}:{self.version}"


class Desired(msgspec.Struct, frozen=True, kw_only=True):
    """An accepted resource: everything the planner may know of the user's wish."""

    name: str
    namespace: str = "default"
    uid: str = ""
    generation: int = 1
    annotations: Mapping[str, str] = field(default_factory=dict)
    deleting: bool = False
    """The resource has a deletion timestamp."""
    spec: Spec = Spec()

    def member(self, ordinal: int) -> str:
        """Return the name of a member of this cluster."""
        return labels.member_name(self.name, ordinal)

    def ordinal(self, member: str) -> int | None:
        """Return the ordinal of a member of this cluster, or None for a foreign name."""
        return labels.ordinal_of(self.name, member)


class _Metadata(msgspec.Struct, frozen=True, rename="camel"):
    """The metadata of any object; what an API server adds is accepted and not looked at, a misspelt field is not."""

    name: Annotated[str, Meta(pattern=labels.NAME_PATTERN, max_length=labels.NAME_LENGTH_MAX, title=_NAME)]
    namespace: Annotated[str, Meta(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63, title=_NAMESPACE)] = (
        "default"
    )
    uid: str = ""
    generation: int = 1
    annotations: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    deletion_timestamp: str | None = None
    creation_timestamp: Any = None
    deletion_grace_period_seconds: Any = None
    finalizers: Any = None
    generate_name: Any = None
    managed_fields: Any = None
    owner_references: Any = None
    resource_version: Any = None
    self_link: Any = None


def parse(resource: object, *, runtime: Runtime = Runtime.KUBERNETES) -> Desired:
    """Check a decoded manifest and fill in its defaults.

    Raises `InvalidResource` with every fault found. `runtime` decides whether plain-text clients can be accepted.
    """
    if not isinstance(resource, Mapping):
        raise InvalidResource([FieldError("", f"{schema.shown(resource)} is not an object", "one resource")])
    errors = _envelope_errors(resource)
    metadata, metadata_errors = schema.convert(_or_empty(resource, "metadata"), _Metadata, "metadata")
    spec, spec_errors = schema.convert(_or_empty(resource, "spec"), Spec, "spec")
    errors += metadata_errors + spec_errors
    if spec is not None:
        errors += _cross_checks(spec, runtime)
    if errors or metadata is None or spec is None:
        raise InvalidResource(errors, generation=_generation(resource))
    return Desired(
        name=metadata.name,
        namespace=metadata.namespace,
        uid=metadata.uid,
        generation=metadata.generation,
        annotations=metadata.annotations,
        deleting=metadata.deletion_timestamp is not None,
        spec=spec,
    )


def quantity_bytes(quantity: str) -> int:
    """Return a whole quantity such as 10Gi in bytes. Raises ValueError for another form."""
    match = re.fullmatch(r"([0-9]+)([kMGTP]?|[KMGTP]i)", quantity)
    if match is None:
        raise ValueError(f"{quantity!r} is not a whole quantity of bytes")
    return int(match[1]) * _UNITS[match[2]]


def _generation(resource: Mapping[str, object]) -> int:
    metadata = resource.get("metadata")
    generation = metadata.get("generation") if isinstance(metadata, Mapping) else None
    return generation if isinstance(generation, int) else 0


def _or_empty(resource: Mapping[str, object], key: str) -> object:
    value = resource.get(key)
    return {} if value is None else value


def _envelope_errors(resource: Mapping[str, object]) -> list[FieldError]:
    errors = []
    for key, wanted in (("apiVersion", labels.API_VERSION), ("kind", labels.KIND)):
        value = resource.get(key)
        if value is None:
            errors.append(FieldError(key, "is required", wanted))
        elif value != wanted:
            errors.append(FieldError(key, f"{schema.shown(value)} is not allowed", wanted))
    known = ("apiVersion", "kind", "metadata", "spec", "status")
    return errors + [
        FieldError(schema.child("", key), "unknown field", ", ".join(known)) for key in resource if key not in known
    ]


def _cross_checks(spec: Spec, runtime: Runtime) -> list[FieldError]:
    return [*_size_errors(spec), *_timing_errors(spec.raft), *_runtime_errors(spec, runtime)]


def _size_errors(spec: Spec) -> list[FieldError]:
    if spec.replicas == 1 and not spec.unsafe.allow_single_replica:
        message = "one replica tolerates no failure and keeps no second copy"
        return [FieldError("spec.replicas", message, "3, 5, 7 or 9; 1 with spec.unsafe.allowSingleReplica: true")]
    if spec.replicas % 2 == 0 and not spec.unsafe.allow_even_replicas:
        message = f"{spec.replicas} replicas tolerate no more failures than {spec.replicas - 1}"
        return [FieldError("spec.replicas", message, "3, 5, 7 or 9; even with spec.unsafe.allowEvenReplicas: true")]
    return []


def _timing_errors(raft: Raft) -> list[FieldError]:
    errors = []
    heartbeat, lowest = raft.heartbeat_milliseconds, raft.election_timeout_min_milliseconds
    if lowest < 2 * heartbeat:
        message = f"{lowest} is too close to the heartbeat: one late heartbeat would cause an election"
        allowed = f"at least {2 * heartbeat}, twice spec.raft.heartbeatMilliseconds"
        errors.append(FieldError("spec.raft.electionTimeoutMinMilliseconds", message, allowed))
    if raft.election_timeout_max_milliseconds < lowest + heartbeat:
        message = f"{raft.election_timeout_max_milliseconds} leaves no room to draw at random: members would tie"
        allowed = f"at least {lowest + heartbeat}, electionTimeoutMinMilliseconds plus heartbeatMilliseconds"
        errors.append(FieldError("spec.raft.electionTimeoutMaxMilliseconds", message, allowed))
    return errors


def _runtime_errors(spec: Spec, runtime: Runtime) -> list[FieldError]:
    if runtime is Runtime.KUBERNETES:
        if spec.tls.client == "Disabled":
            message = "clients would reach the members over the network in plain text"
            return [FieldError("spec.tls.client", message, "Required; Disabled with csctl local, on loopback")]
        return []
    highest = spec.local.client_port(REPLICAS_MAX - 1) + PORTS_PER_NODE - 1
    if highest > PORT_MAX:
        message = f"with portStep {spec.local.port_step} the last member's port would be {highest}"
        lowest_excess = spec.local.base_port - (highest - PORT_MAX)
        return [FieldError("spec.local.basePort", message, f"at most {lowest_excess}")]
    return []
