"""What users may add to the pods of a cluster: labels, environment, scheduling. Nothing that would take safety away.

Security context, probes, volumes, update strategy and the node's settings are not among it: they are the operator's.
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
"""Variables that begin so are a node's settings, which come from the resource."""

AnnotationText: TypeAlias = Annotated[str, Meta(max_length=4_096, title="at most 4096 characters")]


class EnvironmentVariable(Part, frozen=True):
    """One variable of the node's process."""

    name: Annotated[
        str,
        Meta(
            pattern=VARIABLE_PATTERN,
            max_length=253,
            title="a name of letters, digits and '_', such as TZ",
            description="The variable's name; COLLECTIONSTORE_ is the operator's.",
        ),
    ]
    value: Annotated[str, Meta(max_length=4_096, description="Its value; $(NAME) is not expanded.")] = ""


class PodTemplate(Part, frozen=True):
    """What is added to every pod; a change restarts the members, one after the other. Ignored by csctl local."""

    labels: Annotated[Labels, Meta(description="Further labels.")] = field(default_factory=dict)
    annotations: Annotated[dict[LabelKey, AnnotationText], Meta(max_length=32, description="Further annotations.")] = (
        field(default_factory=dict)
    )
    environment: Annotated[
        tuple[EnvironmentVariable, ...],
        Meta(
            max_length=64, description="Further variables of the node's process.", extra_json_schema=unique_by("name")
        ),
    ] = ()
    image_pull_policy: Annotated[
        Literal["Always", "IfNotPresent", "Never"], Meta(description="When the image is pulled.")
    ] = "IfNotPresent"
    image_pull_secrets: Annotated[
        tuple[Name, ...],
        Meta(
            max_length=8,
            description="Secrets of this namespace with which the image is pulled.",
            extra_json_schema=unique(),
        ),
    ] = ()
    node_selector: Annotated[Labels, Meta(description="Labels that a node must have.")] = field(default_factory=dict)
    tolerations: Annotated[
        tuple[Toleration, ...],
        Meta(max_length=32, description="Taints that do not keep the pods away.", extra_json_schema=atomic()),
    ] = ()
    affinity: (
        Annotated[Affinity, Meta(description="Which nodes and neighbours the pods need, want or avoid.")] | None
    ) = None
    priority_class_name: Annotated[Name, Meta(description="PriorityClass of the pods.")] | None = None
