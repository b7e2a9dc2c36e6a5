"""spec.service: how the Service for clients is published."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta

from collectionstore_operator.resource.fields import LabelKey, Labels, Part, atomic
from collectionstore_operator.resource.pod_template import AnnotationText

RANGE_PATTERN: Final = r"^([0-9]{1,3}(\.[0-9]{1,3}){3}/[0-9]{1,2}|[0-9a-fA-F:]{2,39}/[0-9]{1,3})$"
RANGES_MAX: Final = 64


class Service(Part, frozen=True):
    """Service configures the Service for clients. A change restarts no member. Ignored by csctl local."""

    type: (
        Annotated[
            Literal["ClusterIP", "NodePort", "LoadBalancer"],
            Meta(description="type determines who can reach the Service. If absent, ClusterIP."),
        ]
        | None
    ) = None
    annotations: (
        Annotated[
            dict[LabelKey, AnnotationText],
            Meta(max_length=32, description="annotations are added to the Service, such as those of a cloud provider."),
        ]
        | None
    ) = None
    labels: Annotated[Labels, Meta(description="labels are added to the Service.")] | None = None
    external_traffic_policy: (
        Annotated[
            Literal["Cluster", "Local"],
            Meta(
                description="externalTrafficPolicy determines whether traffic from outside is passed on between "
                "Kubernetes nodes. Only with type NodePort or LoadBalancer. If absent, that of Kubernetes."
            ),
        ]
        | None
    ) = None
    load_balancer_source_ranges: (
        Annotated[
            tuple[
                Annotated[
                    str,
                    Meta(
                        pattern=RANGE_PATTERN,
                        max_length=43,
                        title="a range of addresses such as 10.0.0.0/8",
                        description="range is a range of client addresses, such as 10.0.0.0/8.",
                    ),
                ],
                ...,
            ],
            Meta(
                max_length=RANGES_MAX,
                description="loadBalancerSourceRanges are the addresses that may use the load balancer. Only with type "
                "LoadBalancer. If absent, all.",
                extra_json_schema=atomic(),
            ),
        ]
        | None
    ) = None

    @property
    def effective_type(self) -> Literal["ClusterIP", "NodePort", "LoadBalancer"]:
        """Return the type of the Service."""
        return self.type or "ClusterIP"
