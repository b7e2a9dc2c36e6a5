"""The CustomResourceDefinitions of users and roles."""

from __future__ import annotations

from typing import Final

from collectionstore_operator.crd.backups import Column, CompanionResource, condition_path
from collectionstore_operator.resource.access import names
from collectionstore_operator.resource.access_specs import RoleSpec, UserSpec
from collectionstore_operator.status.access.role_status import RoleStatus
from collectionstore_operator.status.access.user_status import UserStatus

USER: Final = CompanionResource(
    kind=names.USER_KIND,
    plural=names.USER_PLURAL,
    short_name="csu",
    description="CollectionStoreUser is a user of a CollectionStoreCluster, and a Secret with its credential.",
    spec=UserSpec,
    spec_description="Desired user.",
    status=UserStatus,
    name_max=names.NAME_MAX,
    columns=(
        Column("Cluster", "string", ".spec.clusterName", "Cluster of the user."),
        Column("Credential", "string", ".spec.credential", "Kind of the credential."),
        Column("Secret", "string", ".status.secretName", "Secret with the credential."),
        Column("Ready", "string", condition_path("Ready", "status"), "Status of the condition Ready."),
        Column("Reason", "string", condition_path("Ready", "reason"), "Reason of the condition Ready."),
        Column("Expires", "string", ".status.expiresAt", "Expiry of the credential."),
        Column("Age", "date", ".metadata.creationTimestamp", "Time since creation."),
        Column("Issued", "date", ".status.issuedAt", "Time since the credential was issued.", 1),
        Column("ID", "string", ".status.credentialID", "Public ID of the credential.", 1),
        Column("Former", "integer", ".status.formerCredentials", "Replaced tokens that still work.", 1),
        Column("Suspended", "boolean", ".spec.suspended", "Whether all requests are refused.", 1),
    ),
    immutable=("clusterName",),
    named_after_it="a user of a cluster and a Secret are",
    taken=names.RESERVED_USERS,
)
ROLE: Final = CompanionResource(
    kind=names.ROLE_KIND,
    plural=names.ROLE_PLURAL,
    short_name="csrole",
    description="CollectionStoreRole is a role of a CollectionStoreCluster: what its users may do.",
    spec=RoleSpec,
    spec_description="Desired role.",
    status=RoleStatus,
    name_max=names.NAME_MAX,
    columns=(
        Column("Cluster", "string", ".spec.clusterName", "Cluster of the role."),
        Column("Ready", "string", condition_path("Ready", "status"), "Status of the condition Ready."),
        Column("Reason", "string", condition_path("Ready", "reason"), "Reason of the condition Ready."),
        Column("Age", "date", ".metadata.creationTimestamp", "Time since creation."),
    ),
    immutable=("clusterName",),
    named_after_it="a role of a cluster is",
    taken=names.BUILT_IN_ROLES,
)
RESOURCES: Final = (USER, ROLE)
