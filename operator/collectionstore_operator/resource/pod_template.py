"""Pod settings that users may configure: labels, environment variables, image pulls and scheduling.

Security context, probes, volumes, update strategy and node settings are not configurable: the operator owns them,
because the safety of the cluster depends on them.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

from msgspec import Meta, field

from collectionstore_operator.resource.fields import (
    VARIABLE_PATTERN,
    LabelKey,
    Labels,
    Name,
    Part,
    atomic,
    unique,
    unique_by,
)
from collectionstore_operator.resource.scheduling import Affinity, Toleration

RESERVED_VARIABLES: Final = "COLLECTIONSTORE_"
"""Prefix of the node settings, which the operator derives from the resource."""

AnnotationText: TypeAlias = Annotated[str, Meta(max_length=4_096, title="at most 4096 characters")]


class EnvironmentVariable(Part, frozen=True):
    """An environment variable of the node container."""

    name: Annotated[
        str,
        Meta(
            pattern=VARIABLE_PATTERN,
            max_length=253,
            title="a name of letters, digits and '_', such as TZ",
            description="name is the name of the variable. The prefix COLLECTIONSTORE_ is reserved for the operator.",
        ),
    ]
    value: Annotated[
        str, Meta(max_length=4_096, description="value is the literal value; $(NAME) is not expanded.")
    ] = ""


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
