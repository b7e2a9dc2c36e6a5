"""Pod settings that users may configure: labels, environment variables, image pulls, scheduling, security contexts.

Probes, volumes, update strategy and node settings are not configurable: the operator owns them, because the safety of
the cluster depends on them.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

from msgspec import Meta, field

from collectionstore_operator.resource.environment import EnvironmentVariable
from collectionstore_operator.resource.fields import LabelKey, Labels, Name, Part, atomic, unique, unique_by
from collectionstore_operator.resource.pod_security import PodSecurityContext, SecurityContext
from collectionstore_operator.resource.scheduling import Affinity, Toleration, TopologySpreadConstraint

AnnotationText: TypeAlias = Annotated[str, Meta(max_length=4_096, title="at most 4096 characters")]


class HostAlias(Part, frozen=True):
    """Names of one address in the file of hosts of the pods."""

    ip: Annotated[
        str,
        Meta(
            pattern=r"^[0-9A-Fa-f:.]{2,45}$",
            max_length=45,
            title="an IP address such as 10.0.0.5",
            description="ip is the address.",
        ),
    ]
    hostnames: Annotated[
        tuple[Name, ...],
        Meta(
            min_length=1,
            max_length=16,
            description="hostnames are the names of the address.",
            extra_json_schema=unique(),
        ),
    ]


class PodTemplate(Part, frozen=True):
    """PodTemplate configures the members' pods. A change restarts the members, one at a time.

    Ignored by csctl local.
    """

    labels: Annotated[Labels, Meta(description="labels are added to the pods.")] = field(default_factory=dict)
    annotations: Annotated[
        dict[LabelKey, AnnotationText], Meta(max_length=32, description="annotations are added to the pods.")
    ] = field(default_factory=dict)
    environment: Annotated[
        tuple[EnvironmentVariable, ...],
        Meta(
            max_length=64,
            description="environment are additional environment variables of the node container.",
            extra_json_schema=unique_by("name"),
        ),
    ] = ()
    image_pull_policy: Annotated[
        Literal["Always", "IfNotPresent", "Never"],
        Meta(description="imagePullPolicy determines when the image is pulled. Defaults to IfNotPresent."),
    ] = "IfNotPresent"
    image_pull_secrets: Annotated[
        tuple[Name, ...],
        Meta(
            max_length=8,
            description="imagePullSecrets are names of Secrets in the same namespace with registry credentials.",
            extra_json_schema=unique(),
        ),
    ] = ()
    node_selector: Annotated[Labels, Meta(description="nodeSelector is a set of labels that a node must have.")] = (
        field(default_factory=dict)
    )
    tolerations: Annotated[
        tuple[Toleration, ...],
        Meta(
            max_length=32, description="tolerations allow the pods to run on tainted nodes.", extra_json_schema=atomic()
        ),
    ] = ()
    affinity: (
        Annotated[Affinity, Meta(description="affinity is the affinity of the pods to nodes and to other pods.")] | None
    ) = None
    priority_class_name: (
        Annotated[Name, Meta(description="priorityClassName is the PriorityClass of the pods.")] | None
    ) = None
    termination_grace_period_seconds: (
        Annotated[
            int,
            Meta(
                ge=10,
                le=3_600,
                description="terminationGracePeriodSeconds is the time that a member has to hand over leadership and "
                "to close its database before it is killed, in seconds. If absent, 30.",
            ),
        ]
        | None
    ) = None
    runtime_class_name: (
        Annotated[Name, Meta(description="runtimeClassName is the RuntimeClass of the pods.")] | None
    ) = None
    scheduler_name: (
        Annotated[
            Name, Meta(description="schedulerName is the scheduler of the pods. If absent, that of the Kubernetes.")
        ]
        | None
    ) = None
    host_aliases: (
        Annotated[
            tuple[HostAlias, ...],
            Meta(
                max_length=32,
                description="hostAliases are added to the file of hosts of the pods.",
                extra_json_schema=unique_by("ip"),
            ),
        ]
        | None
    ) = None
    topology_spread_constraints: (
        Annotated[
            tuple[TopologySpreadConstraint, ...],
            Meta(
                max_length=8,
                description="topologySpreadConstraints distribute the members over further topologies, such as racks; "
                "spec.spread does over zones and nodes.",
                extra_json_schema=unique_by("topologyKey"),
            ),
        ]
        | None
    ) = None
    pod_security_context: (
        Annotated[
            PodSecurityContext,
            Meta(description="podSecurityContext is merged over the security context of the pods."),
        ]
        | None
    ) = None
    security_context: (
        Annotated[
            SecurityContext,
            Meta(description="securityContext is merged over the security context of the node container."),
        ]
        | None
    ) = None


LATER: Final = frozenset(
    {
        "terminationGracePeriodSeconds",
        "runtimeClassName",
        "schedulerName",
        "hostAliases",
        "topologySpreadConstraints",
        "podSecurityContext",
        "securityContext",
    }
)
"""Fields that older operators do not know: the revision of a pod template covers them only where they are used."""
