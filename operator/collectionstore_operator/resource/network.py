"""The fields tls and networkPolicy of a spec: who reaches the members, and how."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Final, Literal, TypeAlias

from msgspec import Meta, field

from collectionstore_operator.resource.fields import Labels, Name, Part, atomic, unique

CERTIFICATE_LIFETIME_S: Final = 7_776_000
AUTHORITY_LIFETIME_S: Final = 315_360_000
CLUSTER_DOMAIN: Final = "cluster.local"

_LABEL: Final = "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
DnsName: TypeAlias = Annotated[
    str,
    Meta(
        pattern=rf"^([*]\.)?{_LABEL}(\.{_LABEL})*$",
        max_length=253,
        title="a DNS name such as store.example.org or *.example.org",
    ),
]
_BYTE: Final = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_GROUP: Final = "[0-9a-f]{1,4}"
_IPV6: Final = "|".join(
    [f"({_GROUP}:){{7}}{_GROUP}", f"({_GROUP}:){{1,7}}:", f":(:{_GROUP}){{1,7}}", "::"]
    + [f"({_GROUP}:){{1,{7 - behind}}}(:{_GROUP}){{1,{behind}}}" for behind in range(1, 7)]
)
IpAddress: TypeAlias = Annotated[
    str,
    Meta(
        pattern=rf"^({_BYTE}(\.{_BYTE}){{3}}|{_IPV6})$",
        max_length=39,
        title="an IPv4 or IPv6 address in lower case, such as 192.0.2.1 or 2001:db8::1",
    ),
]


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

    dns_names: (
        Annotated[
            tuple[DnsName, ...],
            Meta(
                max_length=32,
                description="dnsNames are further DNS names of the members' certificates, such as the name of a load "
                "balancer; * may be their first label. A change restarts the members, one at a time.",
                extra_json_schema=unique(),
            ),
        ]
        | None
    ) = None
    ip_addresses: (
        Annotated[
            tuple[IpAddress, ...],
            Meta(
                max_length=32,
                description="ipAddresses are further IP addresses of the members' certificates. A change restarts "
                "the members, one at a time.",
                extra_json_schema=unique(),
            ),
        ]
        | None
    ) = None
    cluster_domain: (
        Annotated[
            Name,
            Meta(
                description="clusterDomain is the DNS domain of the Kubernetes cluster, for the names of the members' "
                "certificates. If absent, cluster.local. A change restarts the members, one at a time."
            ),
        ]
        | None
    ) = None

    client_secret_name: (
        Annotated[
            Name,
            Meta(
                description="clientSecretName is the name of a Secret in the same namespace, with tls.crt and tls.key: "
                "the certificate that clients get, from a public authority, or from cert-manager. Names that it does "
                "not have are answered with the certificate of the cluster's authority. A change of the Secret is "
                "loaded without a restart, another name restarts the members, one at a time. Ignored by csctl local."
            ),
        ]
        | None
    ) = None

    authorities: (
        Annotated[
            Literal["Shared", "Separate"],
            Meta(
                description="authorities determines whether peers and clients share one certificate authority. With "
                "Separate, members know each other by an authority that signs nothing else, and the peer port trusts "
                "no other one; clients and the operator keep theirs. A running cluster changes in phases, in which its "
                "members restart, one at a time; it cannot be taken back. If absent, Shared."
            ),
        ]
        | None
    ) = None

    @property
    def separate(self) -> bool:
        """Whether peers have an authority of their own."""
        return self.authorities == "Separate"

    @property
    def domain(self) -> str:
        """The DNS domain of the Kubernetes cluster."""
        return self.cluster_domain or CLUSTER_DOMAIN

    @property
    def further_names(self) -> tuple[str, ...]:
        """The names of members' certificates that the resource adds: `DNS:<name>` and `IP:<address>`, normalized."""
        addresses = (str(ipaddress.ip_address(one)) for one in self.ip_addresses or ())
        return (*(f"DNS:{one}" for one in self.dns_names or ()), *(f"IP:{one}" for one in addresses))

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
