"""Parsing of the custom resource CollectionStoreCluster, with all validation errors of an invalid one.

Fields are in `spec`, rules between fields in `rules`. Parsing reports every error at once. The operator never writes
the spec.

Rules for the number of replicas, on creation and on scaling:
- odd, unless `spec.unsafe.allowEvenReplicas`: an even number tolerates no more failures than the odd number below it;
- a single replica requires `spec.unsafe.allowSingleReplica`, because its volume is the only copy of the data.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta, field

from collectionstore_operator.errors import FieldError, InvalidResource
from collectionstore_operator.resource import labels, rules, schema
from collectionstore_operator.resource.compute import Resources
from collectionstore_operator.resource.diagnostics import Diagnostics, Monitoring, SlowOperations
from collectionstore_operator.resource.environment import EnvironmentVariable
from collectionstore_operator.resource.fields import quantity_bytes
from collectionstore_operator.resource.network import NetworkAccess, NetworkPeers, Tls
from collectionstore_operator.resource.pod_template import PodTemplate
from collectionstore_operator.resource.raft import PROFILES, Raft, Snapshot, Timings
from collectionstore_operator.resource.scheduling import Spread, Toleration
from collectionstore_operator.resource.spec import (
    DEFAULT_VERSION,
    IMAGE_REPOSITORY,
    PORT_MAX,
    PORTS_PER_NODE,
    READ_REPLICAS_MAX,
    REPLICAS_MAX,
    FailedMember,
    Local,
    Spec,
    Unsafe,
)
from collectionstore_operator.resource.storage import Storage

__all__ = [
    "CLIENT_PORT",
    "DEFAULT_VERSION",
    "IMAGE_REPOSITORY",
    "METRICS_PORT",
    "PEER_PORT",
    "PORTS_PER_NODE",
    "PORT_MAX",
    "PROFILES",
    "READ_REPLICAS_MAX",
    "REPLICAS_MAX",
    "Desired",
    "Diagnostics",
    "EnvironmentVariable",
    "FailedMember",
    "Group",
    "Local",
    "Monitoring",
    "NetworkAccess",
    "NetworkPeers",
    "PodTemplate",
    "Raft",
    "Resources",
    "Runtime",
    "SlowOperations",
    "Snapshot",
    "Spec",
    "Spread",
    "Storage",
    "Timings",
    "Tls",
    "Toleration",
    "Unsafe",
    "parse",
    "quantity_bytes",
    "to_take_down",
    "waits_for_backup",
]

CLIENT_PORT: Final = 7400
PEER_PORT: Final = 7401
METRICS_PORT: Final = 7402

_NAME: Final = f"at most {labels.NAME_LENGTH_MAX} of a-z, 0-9 and '-', beginning with a letter and not ending with '-'"
_NAMESPACE: Final = "at most 63 of a-z, 0-9 and '-', not at the ends"


Group: TypeAlias = Literal["voters", "reads"]


class Runtime(enum.Enum):
    """The platform of the cluster; a few values are valid on one of them only."""

    KUBERNETES = "Kubernetes"
    LOCAL = "Local"
    """Processes on the local machine, reachable on loopback only."""


class Desired(msgspec.Struct, frozen=True, kw_only=True):
    """A valid resource: the desired state, as the planner sees it."""

    name: str
    namespace: str = "default"
    uid: str = ""
    generation: int = 1
    annotations: Mapping[str, str] = field(default_factory=dict)
    deleting: bool = False
    """The resource has a deletion timestamp."""
    spec: Spec = Spec()
    group: Group = "voters"
    """Which members are meant: by default those that vote. Of `reads`, `spec.replicas` is the number of those."""

    @property
    def workload(self) -> str:
        """Return the name of the StatefulSet of the group, from which those of its pods and Services are derived."""
        return self.name if self.group == "voters" else labels.read_workload(self.name)

    @property
    def object_labels(self) -> dict[str, str]:
        """Return the labels of the objects, pods and volumes of the group."""
        return labels.object_labels(self.name, self.workload)

    def member(self, ordinal: int) -> str:
        """Return the name of a member of the group."""
        return labels.member_name(self.workload, ordinal)

    def ordinal(self, member: str) -> int | None:
        """Return the ordinal of a member of the group, or None for a foreign name."""
        return labels.ordinal_of(self.workload, member)

    def local_port(self, ordinal: int) -> int:
        """Return the client port of a member of the group under csctl local; those of read replicas come last."""
        first = 0 if self.group == "voters" else REPLICAS_MAX
        return self.spec.local.client_port(first + ordinal)

    def reads(self, scaled_to: int | None = None) -> Desired:
        """Return the desired state of the read replicas; `scaled_to` is the number that an autoscaler has set."""
        spec = self.spec
        number = (spec.read_replicas or 0) if spec.has_read_replicas else 0
        if spec.has_read_replicas and spec.read_replicas_max is not None and scaled_to is not None:
            number = min(max(number, scaled_to), spec.read_replicas_max)
        return msgspec.structs.replace(self, group="reads", spec=msgspec.structs.replace(spec, replicas=number))

    @property
    def autoscaled(self) -> bool:
        """Return whether another one than the operator sets the number of the group's pods."""
        return self.group == "reads" and self.spec.read_replicas_max is not None


class _Metadata(msgspec.Struct, frozen=True, rename="camel"):
    """Object metadata. Fields that the API server sets are accepted and ignored; unknown fields are errors."""

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
    """Validate a decoded manifest and apply defaults.

    Raises `InvalidResource` with every error. `runtime` determines whether spec.tls.client may be Disabled.
    """
    if not isinstance(resource, Mapping):
        raise InvalidResource(
            [FieldError("", f"{schema.shown(resource)} is not an object", "a CollectionStoreCluster")]
        )
    errors = _envelope_errors(resource)
    metadata, metadata_errors = schema.convert(_or_empty(resource, "metadata"), _Metadata, "metadata")
    spec, spec_errors = schema.convert(_or_empty(resource, "spec"), Spec, "spec")
    errors += metadata_errors + spec_errors
    if metadata is not None and not _was_accepted(resource):
        errors += rules.name_errors(metadata.name)
    if spec is not None:
        errors += [*rules.violations(spec, "spec"), *_runtime_errors(spec, runtime)]
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


def waits_for_backup(resource: Mapping[str, Any]) -> bool:
    """Return whether a resource that may be invalid asks for a final backup, and the user has not given it up."""
    spec, metadata = resource.get("spec"), resource["metadata"]
    deletion = spec.get("deletion") if isinstance(spec, Mapping) else None
    wanted = isinstance(deletion, Mapping) and deletion.get("finalBackup") is not None
    return wanted and (metadata.get("annotations") or {}).get(labels.SKIP_FINAL_BACKUP) != "true"


def to_take_down(resource: Mapping[str, Any]) -> Desired:
    """Return the desired state of an invalid resource that is being deleted, sufficient to delete its cluster.

    Volumes are deleted only if retention is exactly Delete; deletionProtection is respected if it can be read.
    """
    metadata = resource["metadata"]
    given = resource.get("spec")
    spec = given if isinstance(given, Mapping) else {}
    storage = spec.get("storage")
    destroys = isinstance(storage, Mapping) and storage.get("retention") == "Delete"
    return Desired(
        name=metadata["name"],
        namespace=metadata.get("namespace", "default"),
        uid=metadata.get("uid", ""),
        generation=metadata.get("generation", 1),
        deleting=True,
        spec=Spec(
            deletion_protection=spec.get("deletionProtection") is True,
            storage=Storage(retention="Delete" if destroys else "Retain"),
        ),
    )


def _generation(resource: Mapping[str, object]) -> int:
    metadata = resource.get("metadata")
    generation = metadata.get("generation") if isinstance(metadata, Mapping) else None
    return generation if isinstance(generation, int) else 0


def _was_accepted(resource: Mapping[str, object]) -> bool:
    """Return whether the resource has a cluster already: a rule that is newer than it must not strand the cluster."""
    status = resource.get("status")
    return isinstance(status, Mapping) and bool(status.get("clusterID"))


def _or_empty(resource: Mapping[str, object], key: str) -> object:
    value = resource.get(key)
    return {} if value is None else value


def _envelope_errors(resource: Mapping[str, object]) -> list[FieldError]:
    errors = []
    for key, expected in (("apiVersion", labels.API_VERSION), ("kind", labels.KIND)):
        value = resource.get(key)
        if value is None:
            errors.append(FieldError(key, "is required", expected))
        elif value != expected:
            errors.append(FieldError(key, f"{schema.shown(value)} is not allowed", expected))
    known = ("apiVersion", "kind", "metadata", "spec", "status")
    return errors + [
        FieldError(schema.child("", key), "unknown field", ", ".join(known)) for key in resource if key not in known
    ]


def _runtime_errors(spec: Spec, runtime: Runtime) -> list[FieldError]:
    if runtime is Runtime.KUBERNETES:
        return list(rules.violations(spec, "spec", rules.KUBERNETES_RULES))
    found = list(rules.violations(spec, "spec", rules.LOCAL_RULES))
    members = REPLICAS_MAX + (READ_REPLICAS_MAX if spec.has_read_replicas else 0)
    highest = spec.local.client_port(members - 1) + PORTS_PER_NODE - 1
    if highest > PORT_MAX:
        message = f"with portStep {spec.local.port_step} the last member's port would be {highest}"
        lowest_excess = spec.local.base_port - (highest - PORT_MAX)
        found.append(FieldError("spec.local.basePort", message, f"at most {lowest_excess}"))
    return found
