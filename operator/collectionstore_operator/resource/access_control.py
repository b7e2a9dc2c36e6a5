"""spec.access: who may do what in a cluster, and by which credentials.

Users and roles of the cluster are resources of their own. Here is what concerns all of them: whether rights are
enforced, whose tokens of others are accepted, and what a request without a credential may do.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

from msgspec import Meta

from collectionstore_operator.resource.fields import Part, atomic, unique, unique_by

ISSUERS_MAX: Final = 8
RULES_MAX: Final = 64
ROLES_MAX: Final = 16
AUTHORITY_BYTES_MAX: Final = 16_384
REVOKED_MAX: Final = 1_000
NAME_PATTERN: Final = r"^[a-z0-9][a-z0-9_-]{0,62}$"

AccessMode: TypeAlias = Literal["Disabled", "Permissive", "Enforced"]
RoleName: TypeAlias = Annotated[
    str,
    Meta(
        pattern=NAME_PATTERN,
        max_length=63,
        title="the name of a role, such as reader",
        description="role is the name of a role: reader, writer, admin, backup, monitor, or one of the cluster.",
    ),
]
Roles: TypeAlias = Annotated[tuple[RoleName, ...], Meta(max_length=ROLES_MAX, extra_json_schema=unique())]


class ClaimRule(Part, frozen=True):
    """ClaimRule grants roles by a claim of a token."""

    claim: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=256,
            description="claim is the name of the claim, such as groups.",
        ),
    ]
    values: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=256, description="value is a value of the claim.")], ...],
        Meta(
            min_length=1,
            max_length=16,
            description="values are what the claim is, or holds one of if it is a list; * is any.",
            extra_json_schema=unique(),
        ),
    ]
    roles: Annotated[Roles, Meta(min_length=1, description="roles are granted to tokens with this claim.")]


class JwtIssuer(Part, frozen=True):
    """JwtIssuer accepts tokens (JWT) of an issuer, such as an OpenID Connect provider."""

    name: Annotated[
        str,
        Meta(
            pattern=NAME_PATTERN,
            max_length=63,
            title="a name of a-z, 0-9, '-' and '_', such as company",
            description="name identifies the issuer; users of its tokens are called <name>:<user claim>.",
        ),
    ]
    issuer: Annotated[
        str,
        Meta(min_length=1, max_length=512, description="issuer is the claim iss of its tokens, exactly."),
    ]
    audiences: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=256, description="audience is a claim aud.")], ...],
        Meta(
            min_length=1,
            max_length=8,
            description="audiences are the claims aud, one of which a token must have.",
            extra_json_schema=unique(),
        ),
    ]
    jwks_url: (
        Annotated[
            str,
            Meta(
                pattern=r"^https://[^\s]{1,500}$",
                max_length=512,
                title="a URL such as https://login.example.org/keys",
                description="jwksUrl is where the issuer publishes its keys. If neither it nor jwks is given, that is "
                "discovered at the issuer (OpenID Connect Discovery).",
            ),
        ]
        | None
    ) = None
    authority: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=AUTHORITY_BYTES_MAX,
                description="authority are certificates (PEM) that vouch for the server of jwksUrl. If absent, those "
                "of the system of the members.",
            ),
        ]
        | None
    ) = None
    keys_max_age_seconds: Annotated[
        int,
        Meta(
            ge=60,
            le=2_592_000,
            description="keysMaxAgeSeconds is for how long keys are used that cannot be read again, in seconds: then "
            "tokens of the issuer are refused. Defaults to 86400.",
        ),
    ] = 86_400
    algorithms: Annotated[
        tuple[
            Annotated[
                Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"],
                Meta(description="algorithm is the name of a signature algorithm (RFC 7518)."),
            ],
            ...,
        ],
        Meta(
            min_length=1,
            max_length=10,
            description="algorithms are those that are accepted, whatever a token says. Defaults to RS256 and ES256.",
            extra_json_schema=unique(),
        ),
    ] = ("RS256", "ES256")
    user_claim: Annotated[
        str,
        Meta(min_length=1, max_length=256, description="userClaim is the claim that names the user. Defaults to sub."),
    ] = "sub"
    rules: Annotated[
        tuple[ClaimRule, ...],
        Meta(
            max_length=RULES_MAX,
            description="rules grant roles, beside those of the user <name>:<user claim>, if there is one.",
            extra_json_schema=atomic(),
        ),
    ] = ()
    leeway_seconds: Annotated[
        int,
        Meta(
            ge=0,
            le=300,
            description="leewaySeconds is how far clocks may differ, in seconds. Defaults to 30.",
        ),
    ] = 30


class ServiceAccountRule(Part, frozen=True):
    """ServiceAccountRule grants roles to pods by their ServiceAccount."""

    namespace: Annotated[
        str,
        Meta(
            pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$",
            max_length=63,
            title="the name of a namespace",
            description="namespace is that of the ServiceAccount.",
        ),
    ]
    name: (
        Annotated[
            str,
            Meta(
                pattern=r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$",
                max_length=253,
                title="the name of a ServiceAccount",
                description="name is that of the ServiceAccount. If absent, all of the namespace are meant.",
            ),
        ]
        | None
    ) = None
    user: (
        Annotated[
            str,
            Meta(
                pattern=r"^[A-Za-z0-9][A-Za-z0-9._@:|+-]{0,127}$",
                max_length=128,
                title="the name of a user",
                description="user is the name of its user, whose roles count as well. If absent, "
                "system:serviceaccount:<namespace>:<name>.",
            ),
        ]
        | None
    ) = None
    roles: Annotated[Roles, Meta(description="roles are granted to its tokens.")] = ()


class ServiceAccounts(Part, frozen=True):
    """ServiceAccounts accepts tokens of ServiceAccounts of this Kubernetes cluster."""

    audience: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=256,
            description="audience is the one that tokens must be for: those of the API server are refused. Defaults to "
            "collectionstore.",
        ),
    ] = "collectionstore"
    rules: Annotated[
        tuple[ServiceAccountRule, ...],
        Meta(
            max_length=RULES_MAX,
            description="rules grant roles; the first that fits counts.",
            extra_json_schema=atomic(),
        ),
    ] = ()


class Limits(Part, frozen=True):
    """Limits bound the requests of a user at each member; 0 is no bound."""

    requests_per_second: Annotated[
        int, Meta(ge=0, le=1_000_000_000, description="requestsPerSecond bounds requests. Defaults to 0.")
    ] = 0
    bytes_per_second: Annotated[
        int, Meta(ge=0, le=1_000_000_000, description="bytesPerSecond bounds bytes of bodies. Defaults to 0.")
    ] = 0
    streams: Annotated[
        int, Meta(ge=0, le=100_000, description="streams bounds watches and streams at a time. Defaults to 0.")
    ] = 0


class UnsafeAccess(Part, frozen=True):
    """UnsafeAccess permits what is usually a mistake."""

    anonymous: (
        Annotated[
            Roles,
            Meta(
                description="anonymous are the roles of every request without a credential: with admin, all that "
                "reaches the port owns the data. If absent, such requests are refused."
            ),
        ]
        | None
    ) = None


class Access(Part, frozen=True):
    """Access configures who may do what in the cluster. A change restarts no member."""

    mode: (
        Annotated[
            AccessMode,
            Meta(
                description="mode determines what becomes of requests without the right to what they ask. Enforced: "
                "they are refused. Permissive: they are carried out and logged, to see what Enforced would refuse. "
                "Disabled: nothing is checked. If absent, Enforced."
            ),
        ]
        | None
    ) = None
    jwt_issuers: (
        Annotated[
            tuple[JwtIssuer, ...],
            Meta(
                max_length=ISSUERS_MAX,
                description="jwtIssuers are issuers whose tokens (JWT, OpenID Connect) are accepted.",
                extra_json_schema=unique_by("name"),
            ),
        ]
        | None
    ) = None
    service_accounts: (
        Annotated[
            ServiceAccounts,
            Meta(
                description="serviceAccounts accepts tokens of ServiceAccounts of this Kubernetes cluster. If absent, "
                "none. Ignored by csctl local."
            ),
        ]
        | None
    ) = None
    limits: (
        Annotated[
            Limits,
            Meta(description="limits bound the requests of every user that has none of its own. If absent, nothing."),
        ]
        | None
    ) = None
    session_seconds: (
        Annotated[
            int,
            Meta(
                ge=60,
                le=2_592_000,
                description="sessionSeconds is how long a login with a password lasts, in seconds. If absent, 3600.",
            ),
        ]
        | None
    ) = None
    revoked_certificates: (
        Annotated[
            tuple[
                Annotated[
                    str,
                    Meta(
                        pattern=r"^(0|[1-9a-f][0-9a-f]{0,39})$",
                        max_length=40,
                        title="a serial number in 0-9 and a-f, without leading zeros",
                        description="serial is a serial number in hexadecimal digits, as status.credentialID of a "
                        "user has it.",
                    ),
                ],
                ...,
            ],
            Meta(
                max_length=REVOKED_MAX,
                description="revokedCertificates are the serial numbers of client certificates that are refused, "
                "within a second.",
                extra_json_schema=unique(),
            ),
        ]
        | None
    ) = None
    unsafe: Annotated[UnsafeAccess, Meta(description="unsafe permits what is usually a mistake.")] | None = None

    @property
    def effective_mode(self) -> AccessMode:
        """Return the mode."""
        return self.mode or "Enforced"

    @property
    def anonymous(self) -> tuple[str, ...]:
        """Return the roles of requests without a credential."""
        return (self.unsafe.anonymous or ()) if self.unsafe is not None else ()
