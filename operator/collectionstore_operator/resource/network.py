"""The fields tls and networkPolicy of a spec: who reaches the members, and how."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta, field

from collectionstore_operator.resource.fields import Labels, Part, atomic

CERTIFICATE_LIFETIME_S: Final = 7_776_000
AUTHORITY_LIFETIME_S: Final = 315_360_000


class Tls(Part, frozen=True):
    """Tls configures encryption of client traffic. Traffic between members always uses mutual TLS."""

    client: Annotated[
        Literal["Required", "Disabled"],
        Meta(
            description="client determines whether clients must use TLS. Disabled is valid only for csctl local, where "
            "members listen on loopback. Defaults to Required."
        ),
    ] = "Required"
    # No defaults in the definition: the API server would write them into every resource, and an operator of a version
    # that does not know the fields would refuse it.
    certificate_lifetime_seconds: (
        Annotated[
            int,
            Meta(
                ge=60,
                le=31_536_000,
                description="certificateLifetimeSeconds is the lifetime of the certificates of members and of the "
                "operator. Each is renewed after two thirds of it. A change applies to new certificates. If absent, "
                "7776000 (90 days).",
            ),
        ]
        | None
    ) = None
    authority_lifetime_seconds: (
        Annotated[
            int,
            Meta(
                ge=360,
                le=630_720_000,
                description="authorityLifetimeSeconds is the lifetime of the cluster's certificate authority, at least "
                "six times certificateLifetimeSeconds. Its key is rotated after two thirds of it. If absent, "
                "315360000 (ten years).",
            ),
        ]
        | None
    ) = None

    @property
    def certificate_lifetime_s(self) -> int:
        """The lifetime of the certificates of members and of the operator."""
        return self.certificate_lifetime_seconds or CERTIFICATE_LIFETIME_S

    @property
    def authority_lifetime_s(self) -> int:
        """The lifetime of the authority."""
        return self.authority_lifetime_seconds or AUTHORITY_LIFETIME_S


class NetworkPeers(Part, frozen=True):
    """NetworkPeers selects the pods of some namespaces."""

    namespace_labels: Annotated[
        Labels,
        Meta(description="namespaceLabels select namespaces by their labels. If empty, all namespaces are selected."),
    ] = field(default_factory=dict)
    pod_labels: Annotated[
        Labels,
        Meta(description="podLabels select pods in these namespaces by their labels. If empty, all pods are selected."),
    ] = field(default_factory=dict)


class NetworkAccess(Part, frozen=True):
    """NetworkAccess configures the NetworkPolicy of the members. A change does not restart members.

    Without a network plugin that enforces NetworkPolicies it has no effect.
    """

    mode: Annotated[
        Literal["Enabled", "Disabled"],
        Meta(
            description="mode determines whether the operator creates a NetworkPolicy for the members: only members of "
            "the same cluster reach the peer port, and members reach only each other, DNS, the API server and the "
            "trace collectors in their environment. Further NetworkPolicies can allow more. Defaults to Enabled."
        ),
    ] = "Enabled"
    clients: Annotated[
        tuple[NetworkPeers, ...],
        Meta(
            max_length=16,
            description="clients are the pods that may use the client port, besides members and the operator. If "
            "empty, everybody may, also from outside of the Kubernetes cluster.",
            extra_json_schema=atomic(),
        ),
    ] = ()
    monitoring: Annotated[
        tuple[NetworkPeers, ...],
        Meta(
            max_length=16,
            description="monitoring are the pods that may use the metrics port. If empty, all pods of the Kubernetes "
            "cluster may. Probes of the kubelet are always allowed.",
            extra_json_schema=atomic(),
        ),
    ] = ()
