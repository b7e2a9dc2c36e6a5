"""Kinds, labels, annotations and names of users and roles, and of the Secrets that hold credentials."""

from __future__ import annotations

from typing import Final

from collectionstore_operator.resource import labels

USER_KIND: Final = "CollectionStoreUser"
USER_PLURAL: Final = "collectionstoreusers"
ROLE_KIND: Final = "CollectionStoreRole"
ROLE_PLURAL: Final = "collectionstoreroles"

FINALIZER: Final = f"{labels.GROUP}/access"
"""On users and roles that are to be deleted from their cluster with the resource."""
ROTATE: Final = f"{labels.GROUP}/rotate-credential"
"""Annotation on users, set by people: any new value replaces the credential; the former one works for the overlap."""
REVOKE: Final = f"{labels.GROUP}/revoke-credential"
"""Annotation on users, set by people: any new value replaces the credential and ends the former ones at once."""

USER: Final = f"{labels.GROUP}/user"
"""Label on Secrets: the user whose credential they hold."""
CREDENTIAL_KIND: Final = f"{labels.GROUP}/credential"
"""Annotations on Secrets, which tell of the credential what is no secret: Token or Certificate."""
CREDENTIAL_ID: Final = f"{labels.GROUP}/credential-id"
ISSUED_AT: Final = f"{labels.GROUP}/issued-at"
EXPIRES_AT: Final = f"{labels.GROUP}/expires-at"
FORMER: Final = f"{labels.GROUP}/former-credentials"
"""JSON: the credentials before, and when each ends."""
ROTATED: Final = f"{labels.GROUP}/rotated-for"
"""Digest of the requests of people that were carried out last."""
ISSUED_BY: Final = f"{labels.GROUP}/issued-by"
"""Key identifier of the authority that signed the certificate."""

NAME_MAX: Final = 63
SECRET_SUFFIX: Final = "-credentials"
MONITOR_SUFFIX: Final = "-monitor"
"""A user that the operator makes for Prometheus: see `manifests.access.monitor`."""

BUILT_IN_ROLES: Final = ("reader", "writer", "admin", "backup", "monitor", "operator")
"""Of every cluster: they can be granted, but for `operator`, and not be changed."""
RESERVED_USERS: Final = ("anonymous", "operator")


def secret(user: str) -> str:
    """Return the name of the Secret of a user that names none."""
    return f"{user}{SECRET_SUFFIX}"


def monitor(cluster: str) -> str:
    """Return the name of the user that scrapes the metrics of a cluster."""
    return f"{cluster}{MONITOR_SUFFIX}"


def description(kind: str, namespace: str, name: str) -> str:
    """Return how a user or role in a cluster says whose it is: one that says anything else is not ours."""
    return f"managed by the {kind} {namespace}/{name}"
