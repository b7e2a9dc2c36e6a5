"""Where pods may run, in the words of the pod API: spread, node selection, tolerations, affinity.

Field names, meanings and bounds are those of core/v1, so that what is known from a Deployment can be written here.
Source: Kubernetes API reference, PodSpec.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, field

from collectionstore_operator.resource.fields import LabelKey, Labels, LabelValue, Name, Part, Policy, atomic, unique

Weight: TypeAlias = Annotated[int, Meta(ge=1, le=100, description="How much it counts against other preferences.")]
Values: TypeAlias = Annotated[
    tuple[LabelValue, ...], Meta(max_length=64, description="Values to compare with.", extra_json_schema=atomic())
]
TopologyKey: TypeAlias = Annotated[
    LabelKey, Meta(description="Label of the nodes that makes a place, such as topology.kubernetes.io/zone.")
]


class Spread(Part, frozen=True):
    """How members are kept apart, so that the loss of one place takes as few voters as possible."""

    zones: Annotated[
        Policy,
        Meta(
            description="Preferred: spread over zones where there is room. Required: a pod waits rather than share a "
            "zone unevenly. Disabled: zones are ignored."
        ),
    ] = "Preferred"
    nodes: Annotated[
        Policy,
        Meta(description="The same for nodes. Required: a pod waits rather than share a node unevenly."),
    ] = "Preferred"


class Toleration(Part, frozen=True):
    """A taint that does not keep the pods away."""

    key: (
        Annotated[LabelKey, Meta(description="Key of the taint; every taint when absent, with operator Exists.")] | None
    ) = None
    operator: Annotated[Literal["Equal", "Exists"], Meta(description="Exists matches any value.")] = "Equal"
    value: Annotated[LabelValue, Meta(description="Value of the taint, with operator Equal.")] | None = None
    effect: (
        Annotated[
            Literal["NoSchedule", "PreferNoSchedule", "NoExecute"],
            Meta(description="Effect of the taint; every effect when absent."),
        ]
        | None
    ) = None
    toleration_seconds: (
        Annotated[
            int,
            Meta(
                ge=0, le=604_800, description="How long a taint with effect NoExecute is tolerated; for ever if absent."
            ),
        ]
        | None
    ) = None


class LabelRequirement(Part, frozen=True):
    """One condition on labels."""

    key: Annotated[LabelKey, Meta(description="The label's key.")]
    operator: Annotated[
        Literal["In", "NotIn", "Exists", "DoesNotExist"], Meta(description="How the label is compared with the values.")
    ]
    values: Values = ()


class LabelSelector(Part, frozen=True):
    """Objects by their labels; all conditions must hold."""

    match_labels: Annotated[Labels, Meta(description="Labels with the values they must have.")] = field(
        default_factory=dict
    )
    match_expressions: Annotated[
        tuple[LabelRequirement, ...],
        Meta(max_length=16, description="Further conditions.", extra_json_schema=atomic()),
    ] = ()


class NodeRequirement(Part, frozen=True):
    """One condition on a node's labels or fields."""

    key: Annotated[LabelKey, Meta(description="The label's key, or the field's name.")]
    operator: Annotated[
        Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"],
        Meta(description="How it is compared with the values; Gt and Lt take one whole number."),
    ]
    values: Values = ()


NodeRequirements: TypeAlias = Annotated[tuple[NodeRequirement, ...], Meta(max_length=16, extra_json_schema=atomic())]


class NodeTerm(Part, frozen=True):
    """Nodes for which all conditions hold."""

    match_expressions: Annotated[NodeRequirements, Meta(description="Conditions on the node's labels.")] = ()
    match_fields: Annotated[NodeRequirements, Meta(description="Conditions on the node's fields: metadata.name.")] = ()


class NodeSelector(Part, frozen=True):
    """Nodes for which any of the terms holds."""

    node_selector_terms: Annotated[
        tuple[NodeTerm, ...],
        Meta(min_length=1, max_length=16, description="Terms, of which one must hold.", extra_json_schema=atomic()),
    ]


class PreferredNodeTerm(Part, frozen=True):
    """Nodes that are better than others."""

    weight: Weight
    preference: Annotated[NodeTerm, Meta(description="Which nodes.")]


class NodeAffinity(Part, frozen=True):
    """Which nodes pods may or should run on."""

    required_during_scheduling_ignored_during_execution: (
        Annotated[NodeSelector, Meta(description="Nodes the pods may run on; a pod waits while there is none.")] | None
    ) = None
    preferred_during_scheduling_ignored_during_execution: Annotated[
        tuple[PreferredNodeTerm, ...],
        Meta(max_length=16, description="Nodes that are better than others.", extra_json_schema=atomic()),
    ] = ()


class PodTerm(Part, frozen=True):
    """Places where pods with certain labels run."""

    topology_key: TopologyKey
    label_selector: Annotated[LabelSelector, Meta(description="Which pods; none when absent.")] | None = None
    namespaces: Annotated[
        tuple[Name, ...],
        Meta(
            max_length=16,
            description="Namespaces of those pods; the cluster's when absent.",
            extra_json_schema=unique(),
        ),
    ] = ()
    namespace_selector: (
        Annotated[LabelSelector, Meta(description="Namespaces of those pods by label, beside those listed.")] | None
    ) = None


class PreferredPodTerm(Part, frozen=True):
    """Places that are better, or worse, than others."""

    weight: Weight
    pod_affinity_term: Annotated[PodTerm, Meta(description="Which places.")]


PodTerms: TypeAlias = Annotated[tuple[PodTerm, ...], Meta(max_length=8, extra_json_schema=atomic())]
PreferredPodTerms: TypeAlias = Annotated[tuple[PreferredPodTerm, ...], Meta(max_length=8, extra_json_schema=atomic())]


class PodAffinity(Part, frozen=True):
    """Places to look for: where certain pods run."""

    required_during_scheduling_ignored_during_execution: Annotated[
        PodTerms, Meta(description="Places the pods must be in; a pod waits while there is none.")
    ] = ()
    preferred_during_scheduling_ignored_during_execution: Annotated[
        PreferredPodTerms, Meta(description="Places that are better than others.")
    ] = ()


class PodAntiAffinity(Part, frozen=True):
    """Places to keep away from: where certain pods run."""

    required_during_scheduling_ignored_during_execution: Annotated[
        PodTerms, Meta(description="Places the pods must not be in; a pod waits while there is no other.")
    ] = ()
    preferred_during_scheduling_ignored_during_execution: Annotated[
        PreferredPodTerms, Meta(description="Places that are worse than others.")
    ] = ()


class Affinity(Part, frozen=True):
    """Which nodes and which neighbours the pods need, want or avoid; the members' own spread is in spec.spread."""

    node_affinity: Annotated[NodeAffinity, Meta(description="Which nodes pods may or should run on.")] | None = None
    pod_affinity: Annotated[PodAffinity, Meta(description="Pods whose neighbourhood is looked for.")] | None = None
    pod_anti_affinity: Annotated[PodAntiAffinity, Meta(description="Pods whose neighbourhood is avoided.")] | None = (
        None
    )
