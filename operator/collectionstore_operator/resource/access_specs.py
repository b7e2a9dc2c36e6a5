"""The specs of CollectionStoreUser and CollectionStoreRole: every field with its default and its bounds.

Defaults are applied here and are not in the schemas, as those of backups.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

from msgspec import Meta

from collectionstore_operator.resource import labels
from collectionstore_operator.resource.access_control import ROLES_MAX, Limits, RoleName
from collectionstore_operator.resource.fields import Name, Part, atomic, unique

LIFETIME_S: Final = 30 * 86_400
LIFETIME_MIN_S: Final = 600
LIFETIME_MAX_S: Final = 366 * 86_400
OVERLAP_S: Final = 3_600
OVERLAP_MAX_S: Final = 7 * 86_400
OVERLAP_SHARE: Final = 3
"""The overlap is at most this part of the lifetime: a credential is replaced after two thirds of it."""
RULES_MAX: Final = 64
NAMES_MAX: Final = 64
INHERITED_MAX: Final = 16
FILTER_BYTES_MAX: Final = 4_096
PLACE_PATTERN: Final = r"^([a-z0-9][a-z0-9_-]{0,62}[*]?|[*])$"
FIELD_PATTERN: Final = r"^[^.$][^$]{0,254}$"

DeletionPolicy: TypeAlias = Literal["Delete", "Retain"]
CredentialKind: TypeAlias = Literal["Token", "Certificate", "None"]
Verb: TypeAlias = Literal[
    "read", "write", "create", "drop", "index", "watch", "transact", "backup", "admin", "monitor", "*"
]

ClusterName: TypeAlias = Annotated[
    str,
    Meta(
        pattern=labels.NAME_PATTERN,
        max_length=labels.NAME_LENGTH_MAX,
        title="the name of a cluster, such as demo",
        description="clusterName is the name of the CollectionStoreCluster in the same namespace.",
    ),
]
Place: TypeAlias = Annotated[
    str,
    Meta(
        pattern=PLACE_PATTERN,
        max_length=64,
        title="a name such as orders, a prefix such as orders-*, or * for all",
        description="name is the name of a collection or bucket, a prefix that ends with *, or * for all.",
    ),
]
Field: TypeAlias = Annotated[
    str,
    Meta(
        pattern=FIELD_PATTERN,
        max_length=255,
        title="the path of a field, such as address.street",
        description="field is the path of a field, such as address.street.",
    ),
]


class FieldMask(Part, frozen=True):
    """FieldMask are the fields of documents that are shown, or those that are hidden: one of both."""

    show: Annotated[
        tuple[Field, ...],
        Meta(max_length=NAMES_MAX, description="show are the only fields that are shown.", extra_json_schema=unique()),
    ] = ()
    hide: Annotated[
        tuple[Field, ...],
        Meta(max_length=NAMES_MAX, description="hide are fields that are not shown.", extra_json_schema=unique()),
    ] = ()


class RoleRule(Part, frozen=True):
    """RoleRule allows or denies verbs on collections, buckets or the cluster."""

    verbs: Annotated[
        tuple[Annotated[Verb, Meta(description="verb is what is allowed or denied.")], ...],
        Meta(
            min_length=1,
            max_length=10,
            description="verbs are what is allowed or denied, or * alone for all that there are for what the rule "
            "names.",
            extra_json_schema=unique(),
        ),
    ]
    effect: Annotated[
        Literal["Allow", "Deny"],
        Meta(
            description="effect is what becomes of these requests. A rule that denies goes before all that allow, of "
            "every role. Defaults to Allow."
        ),
    ] = "Allow"
    collections: Annotated[
        tuple[Place, ...],
        Meta(
            max_length=NAMES_MAX,
            description="collections are the collections that are meant.",
            extra_json_schema=unique(),
        ),
    ] = ()
    buckets: Annotated[
        tuple[Place, ...],
        Meta(max_length=NAMES_MAX, description="buckets are the buckets that are meant.", extra_json_schema=unique()),
    ] = ()
    cluster: Annotated[
        bool,
        Meta(
            description="cluster is true for what concerns the whole cluster: transact, backup, admin, monitor, and "
            "the status. Defaults to false."
        ),
    ] = False
    filter: (
        Annotated[
            str,
            Meta(
                min_length=2,
                max_length=FILTER_BYTES_MAX,
                description='filter is a filter of documents as JSON text, such as {"tenant": "north"}: the rule is '
                "about documents that it matches alone; what no rule shows looks absent. Only with collections alone.",
            ),
        ]
        | None
    ) = None
    fields: (
        Annotated[
            FieldMask,
            Meta(description="fields restricts what is shown of documents. Only with collections alone."),
        ]
        | None
    ) = None


class RoleSpec(Part, frozen=True):
    """Desired role of a cluster. Its name is that of the resource."""

    cluster_name: ClusterName
    rules: Annotated[
        tuple[RoleRule, ...],
        Meta(
            max_length=RULES_MAX,
            description="rules are what the role allows and denies. Without rules it allows nothing.",
            extra_json_schema=atomic(),
        ),
    ] = ()
    inherits: Annotated[
        tuple[RoleName, ...],
        Meta(
            max_length=INHERITED_MAX,
            description="inherits are roles whose rules count as well.",
            extra_json_schema=unique(),
        ),
    ] = ()
    deletion_policy: Annotated[
        DeletionPolicy,
        Meta(
            description="deletionPolicy determines what becomes of the role when the resource is deleted. Delete: it "
            "is deleted from the cluster first. Retain: it stays. Defaults to Delete."
        ),
    ] = "Delete"


class UserSpec(Part, frozen=True):
    """Desired user of a cluster. Its name is that of the resource."""

    cluster_name: ClusterName
    roles: Annotated[
        tuple[RoleName, ...],
        Meta(
            max_length=ROLES_MAX,
            description="roles are the roles of the user: built-in ones (reader, writer, admin, backup, monitor), and "
            "those of the cluster. A role that does not exist grants nothing.",
            extra_json_schema=unique(),
        ),
    ] = ()
    credential: Annotated[
        CredentialKind,
        Meta(
            description="credential determines what the operator issues. Token: a bearer token. Certificate: a client "
            "certificate of the cluster's authority. None: nothing, for users of other issuers. Defaults to Token."
        ),
    ] = "Token"
    secret_name: (
        Annotated[
            Name,
            Meta(
                description="secretName is the name of the Secret in the same namespace that gets the credential, the "
                "addresses and the authority. One that belongs to another owner is never changed. Defaults to "
                "<name>-credentials."
            ),
        ]
        | None
    ) = None
    lifetime_seconds: Annotated[
        int,
        Meta(
            ge=LIFETIME_MIN_S,
            le=LIFETIME_MAX_S,
            description="lifetimeSeconds is for how long a credential is valid, in seconds. It is replaced after two "
            f"thirds of that. A change applies to the next one. Defaults to {LIFETIME_S} (30 days).",
        ),
    ] = LIFETIME_S
    overlap_seconds: (
        Annotated[
            int,
            Meta(
                ge=0,
                le=OVERLAP_MAX_S,
                description="overlapSeconds is for how long a replaced token works on, in seconds: at most a third of "
                f"lifetimeSeconds. Certificates work until they expire. Defaults to {OVERLAP_S}, or that third if it "
                "is less.",
            ),
        ]
        | None
    ) = None
    suspended: Annotated[
        bool,
        Meta(
            description="suspended refuses every request of the user, whatever the credential, within a second. "
            "Defaults to false."
        ),
    ] = False
    limits: (
        Annotated[
            Limits,
            Meta(description="limits bound the requests of the user at each member. If absent, those of the cluster."),
        ]
        | None
    ) = None
    deletion_policy: Annotated[
        DeletionPolicy,
        Meta(
            description="deletionPolicy determines what becomes of the user when the resource is deleted. Delete: it "
            "is deleted from the cluster first, with its tokens. Retain: it stays, and so do its tokens until they "
            "expire. The Secret is deleted with the resource. Defaults to Delete."
        ),
    ] = "Delete"

    @property
    def overlap_s(self) -> int:
        """Return for how long a replaced token works on, in seconds."""
        most = self.lifetime_seconds // OVERLAP_SHARE
        return min(OVERLAP_S, most) if self.overlap_seconds is None else self.overlap_seconds
