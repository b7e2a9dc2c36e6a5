"""Pod scheduling with the fields of the pod API: spread, node selection, tolerations, affinity.

Field names, meanings and bounds are those of core/v1, so that a user can write what they know from a Deployment.
Source: Kubernetes API reference, PodSpec.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, field

from collectionstore_operator.resource.fields import LabelKey, Labels, LabelValue, Name, Part, Policy, atomic, unique

Weight: TypeAlias = Annotated[
    int, Meta(ge=1, le=100, description="weight is added to the score of a node that matches the term, from 1 to 100.")
]
Values: TypeAlias = Annotated[
    tuple[LabelValue, ...],
    Meta(
        max_length=64, description="values are the values that the operator compares with.", extra_json_schema=atomic()
    ),
]
TopologyKey: TypeAlias = Annotated[
    LabelKey,
    Meta(
        description="topologyKey is the node label that defines a topology domain, such as topology.kubernetes.io/zone."
    ),
]


class Spread(Part, frozen=True):
    """Spread configures how members are distributed, so that the loss of a domain affects few voters."""

    zones: Annotated[
        Policy,
        Meta(
            description="zones configures the distribution over zones (topology.kubernetes.io/zone). Preferred: the "
            "scheduler spreads members if possible. Required: a pod stays Pending rather than be placed unevenly. "
            "Disabled: no constraint. Defaults to Preferred."
        ),
    ] = "Preferred"
    nodes: Annotated[
        Policy,
        Meta(
            description="nodes configures the distribution over nodes (kubernetes.io/hostname), with the same values "
            "as zones. Defaults to Preferred."
        ),
    ] = "Preferred"


class TopologySpreadConstraint(Part, frozen=True):
    """A distribution of the members over the domains of a topology, such as racks."""

    topology_key: TopologyKey
    max_skew: (
        Annotated[
            int,
            Meta(
                ge=1,
                le=9,
                description="maxSkew is the permitted difference between the numbers of members in two domains. If "
                "absent, 1.",
            ),
        ]
        | None
    ) = None
    when_unsatisfiable: (
        Annotated[
            Literal["DoNotSchedule", "ScheduleAnyway"],
            Meta(
                description="whenUnsatisfiable is ScheduleAnyway for a preference, DoNotSchedule for a pod that rather "
                "stays Pending. If absent, ScheduleAnyway."
            ),
        ]
        | None
    ) = None
    min_domains: (
        Annotated[
            int,
            Meta(ge=1, le=64, description="minDomains is how many domains there must be; only with DoNotSchedule."),
        ]
        | None
    ) = None
    node_affinity_policy: (
        Annotated[
            Literal["Honor", "Ignore"],
            Meta(
                description="nodeAffinityPolicy is Honor to count only the nodes that nodeAffinity and nodeSelector "
                "permit, or Ignore. If absent, Honor."
            ),
        ]
        | None
    ) = None
    node_taints_policy: (
        Annotated[
            Literal["Honor", "Ignore"],
            Meta(
                description="nodeTaintsPolicy is Honor to count only nodes whose taints are tolerated, or Ignore. If "
                "absent, Ignore."
            ),
        ]
        | None
    ) = None


class Toleration(Part, frozen=True):
    """A toleration allows the pods to run on nodes with a matching taint."""

    key: (
        Annotated[
            LabelKey,
            Meta(description="key is the taint key. If absent, operator must be Exists and every taint matches."),
        ]
        | None
    ) = None
    operator: Annotated[
        Literal["Equal", "Exists"],
        Meta(description="operator is Equal or Exists. Exists matches any value. Defaults to Equal."),
    ] = "Equal"
    value: Annotated[LabelValue, Meta(description="value is the taint value; only with operator Equal.")] | None = None
    effect: (
        Annotated[
            Literal["NoSchedule", "PreferNoSchedule", "NoExecute"],
            Meta(description="effect is the taint effect. If absent, every effect matches."),
        ]
        | None
    ) = None
    toleration_seconds: (
        Annotated[
            int,
            Meta(
                ge=0,
                le=604_800,
                description="tolerationSeconds is the time before a pod is evicted by a taint with effect NoExecute, "
                "in seconds. If absent, the pod is not evicted.",
            ),
        ]
        | None
    ) = None


class LabelRequirement(Part, frozen=True):
    """A requirement on one label."""

    key: Annotated[LabelKey, Meta(description="key is the label key.")]
    operator: Annotated[
        Literal["In", "NotIn", "Exists", "DoesNotExist"], Meta(description="operator relates the label to the values.")
    ]
    values: Values = ()


class LabelSelector(Part, frozen=True):
    """Selects objects by label; all requirements must be satisfied."""

    match_labels: Annotated[Labels, Meta(description="matchLabels are labels and their required values.")] = field(
        default_factory=dict
    )
    match_expressions: Annotated[
        tuple[LabelRequirement, ...],
        Meta(max_length=16, description="matchExpressions are further requirements.", extra_json_schema=atomic()),
    ] = ()


class NodeRequirement(Part, frozen=True):
    """A requirement on one label or field of a node."""

    key: Annotated[LabelKey, Meta(description="key is the label key or the field name.")]
    operator: Annotated[
        Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"],
        Meta(description="operator relates the label or field to the values; Gt and Lt take one integer."),
    ]
    values: Values = ()


NodeRequirements: TypeAlias = Annotated[tuple[NodeRequirement, ...], Meta(max_length=16, extra_json_schema=atomic())]


class NodeTerm(Part, frozen=True):
    """Selects nodes that satisfy all requirements."""

    match_expressions: Annotated[
        NodeRequirements, Meta(description="matchExpressions are requirements on node labels.")
    ] = ()
    match_fields: Annotated[
        NodeRequirements, Meta(description="matchFields are requirements on node fields: metadata.name.")
    ] = ()


class NodeSelector(Part, frozen=True):
    """Selects nodes that match at least one term."""

    node_selector_terms: Annotated[
        tuple[NodeTerm, ...],
        Meta(
            min_length=1,
            max_length=16,
            description="nodeSelectorTerms are alternatives: a node must match one.",
            extra_json_schema=atomic(),
        ),
    ]


class PreferredNodeTerm(Part, frozen=True):
    """A preferred node selector term with its weight."""

    weight: Weight
    preference: Annotated[NodeTerm, Meta(description="preference selects the preferred nodes.")]


class NodeAffinity(Part, frozen=True):
    """NodeAffinity restricts the nodes on which pods are scheduled."""

    required_during_scheduling_ignored_during_execution: (
        Annotated[
            NodeSelector,
            Meta(
                description="requiredDuringSchedulingIgnoredDuringExecution "
                "selects the nodes on which pods can be scheduled. Without a match a pod stays Pending."
            ),
        ]
        | None
    ) = None
    preferred_during_scheduling_ignored_during_execution: Annotated[
        tuple[PreferredNodeTerm, ...],
        Meta(
            max_length=16,
            description="preferredDuringSchedulingIgnoredDuringExecution "
            "selects nodes that the scheduler prefers, by weight.",
            extra_json_schema=atomic(),
        ),
    ] = ()


class PodTerm(Part, frozen=True):
    """Selects the topology domains in which matching pods run."""

    topology_key: TopologyKey
    label_selector: (
        Annotated[LabelSelector, Meta(description="labelSelector selects the pods; none if absent.")] | None
    ) = None
    namespaces: Annotated[
        tuple[Name, ...],
        Meta(
            max_length=16,
            description="namespaces are the namespaces of the pods; that of the cluster if absent.",
            extra_json_schema=unique(),
        ),
    ] = ()
    namespace_selector: (
        Annotated[LabelSelector, Meta(description="namespaceSelector selects further namespaces by label.")] | None
    ) = None


class PreferredPodTerm(Part, frozen=True):
    """A preferred pod affinity term with its weight."""

    weight: Weight
    pod_affinity_term: Annotated[PodTerm, Meta(description="podAffinityTerm selects the topology domains.")]


PodTerms: TypeAlias = Annotated[tuple[PodTerm, ...], Meta(max_length=8, extra_json_schema=atomic())]
PreferredPodTerms: TypeAlias = Annotated[tuple[PreferredPodTerm, ...], Meta(max_length=8, extra_json_schema=atomic())]


class PodAffinity(Part, frozen=True):
    """PodAffinity schedules the pods into topology domains in which matching pods run."""

    required_during_scheduling_ignored_during_execution: Annotated[
        PodTerms,
        Meta(
            description="requiredDuringSchedulingIgnoredDuringExecution "
            "selects the domains in which pods can be scheduled. Without a match a pod stays Pending."
        ),
    ] = ()
    preferred_during_scheduling_ignored_during_execution: Annotated[
        PreferredPodTerms,
        Meta(
            description="preferredDuringSchedulingIgnoredDuringExecution "
            "selects domains that the scheduler prefers, by weight."
        ),
    ] = ()


class PodAntiAffinity(Part, frozen=True):
    """PodAntiAffinity keeps the pods out of topology domains in which matching pods run."""

    required_during_scheduling_ignored_during_execution: Annotated[
        PodTerms,
        Meta(
            description="requiredDuringSchedulingIgnoredDuringExecution "
            "selects the domains in which pods cannot be scheduled. Without another domain a pod stays Pending."
        ),
    ] = ()
    preferred_during_scheduling_ignored_during_execution: Annotated[
        PreferredPodTerms,
        Meta(
            description="preferredDuringSchedulingIgnoredDuringExecution "
            "selects domains that the scheduler avoids, by weight."
        ),
    ] = ()


class Affinity(Part, frozen=True):
    """Affinity of the pods to nodes and to other pods; the distribution of the members is configured in spec.spread."""

    node_affinity: (
        Annotated[NodeAffinity, Meta(description="nodeAffinity restricts the nodes on which pods are scheduled.")]
        | None
    ) = None
    pod_affinity: Annotated[PodAffinity, Meta(description="podAffinity schedules pods near other pods.")] | None = None
    pod_anti_affinity: (
        Annotated[PodAntiAffinity, Meta(description="podAntiAffinity schedules pods away from other pods.")] | None
    ) = None
