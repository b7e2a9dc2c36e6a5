"""A user, a role and a cluster, as they are observed, with what a test changes of them."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from collectionstore_operator.model.access.observed import CredentialSecret, RoleObserved, UserObserved
from collectionstore_operator.model.access.store import StoreRole, StoreToken, StoreUser
from collectionstore_operator.model.backups.observed import ClusterSeen
from collectionstore_operator.model.observed import ABSENT
from collectionstore_operator.resource.access.desired import Role, User, parse_role, parse_user
from collectionstore_operator.resource.desired import Desired, parse

NOW: Final = 1_000_000.0
DAY_S: Final = 86_400.0
MARK: Final = "managed by the CollectionStoreUser shop/api"
ROLE_MARK: Final = "managed by the CollectionStoreRole shop/orders"


def desired(**spec: Any) -> Desired:
    """Return the cluster."""
    return parse(
        {
            "apiVersion": "collectionstore.io/v1alpha1",
            "kind": "CollectionStoreCluster",
            "metadata": {"name": "demo", "namespace": "shop", "uid": "c-1"},
            "spec": spec,
        }
    )


def cluster(**changed: Any) -> ClusterSeen:
    """Return the cluster as it is seen."""
    seen = ClusterSeen(desired=desired(), cluster_id="0123456789abcdef", initialized=True)
    return msgspec.structs.replace(seen, **changed)


def user(*, metadata: dict[str, Any] | None = None, **spec: Any) -> User:
    """Return a user that has our finalizer."""
    usual = {"name": "api", "namespace": "shop", "uid": "u-1", "finalizers": ["collectionstore.io/access"]}
    return parse_user(
        {"metadata": usual | (metadata or {}), "spec": {"clusterName": "demo", "roles": ["reader"]} | spec}
    )


def role(*, metadata: dict[str, Any] | None = None, **spec: Any) -> Role:
    """Return a role that has our finalizer."""
    usual = {"name": "orders", "namespace": "shop", "uid": "r-1", "finalizers": ["collectionstore.io/access"]}
    given = {"clusterName": "demo", "rules": [{"verbs": ["read"], "collections": ["orders"]}]}
    return parse_role({"metadata": usual | (metadata or {}), "spec": given | spec})


def secret(**changed: Any) -> CredentialSecret:
    """Return the Secret of the user: its token was issued a day ago."""
    usual = CredentialSecret(
        name="api-credentials",
        uid="s-1",
        version="7",
        kind="Token",
        credential_id="t1",
        issued=NOW - DAY_S,
        expires=NOW + 29 * DAY_S,
        cluster_id="0123456789abcdef",
        complete=True,
        digest="about",
    )
    return msgspec.structs.replace(usual, **changed)


def token(token_id: str, *, age_s: float = DAY_S) -> StoreToken:
    """Return a token of the user."""
    return StoreToken(id=token_id, description=MARK, created=NOW - age_s, expires=NOW + 29 * DAY_S)


def observed(**changed: Any) -> UserObserved:
    """Return the user as it is observed: all is well."""
    usual = UserObserved(
        now=NOW,
        cluster=cluster(),
        user=StoreUser(name="api", roles=("reader",), description=MARK),
        tokens=(token("t1"),),
        secret=secret(),
        about="about",
        authority="key-1",
    )
    return msgspec.structs.replace(usual, **changed)


def nothing(**changed: Any) -> UserObserved:
    """Return a user of whom there is nothing yet."""
    return observed(user=ABSENT, tokens=(), secret=ABSENT, **changed)


def observed_role(**changed: Any) -> RoleObserved:
    """Return the role as it is observed: all is well."""
    found = StoreRole(name="orders", rules=({"verbs": ["read"], "collections": ["orders"]},), description=ROLE_MARK)
    return msgspec.structs.replace(RoleObserved(now=NOW, cluster=cluster(), role=found), **changed)
