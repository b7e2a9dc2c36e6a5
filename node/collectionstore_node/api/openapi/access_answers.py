"""What answers of access control look like, as types: for descriptions only, as `answers`."""

from __future__ import annotations

from typing import Literal

import msgspec

from collectionstore_node.access.configuration import JwtIssuer, ServiceAccounts
from collectionstore_node.access.limits import CollectionLimits, UserLimits
from collectionstore_node.access.roles import Rule


class Changed(msgspec.Struct):
    """What was changed or deleted, and the revision of that, which is the access revision from then on."""

    name: str
    revision: int


class Identity(msgspec.Struct):
    """Who the caller is. `roles` are all that count, those that others of them inherit too."""

    user: str | None
    method: str | None
    roles: list[str]
    mode: Literal["Disabled", "Permissive", "Enforced"]
    administers: bool
    access_revision: int
    revision: int
    credential: str | msgspec.UnsetType = msgspec.UNSET
    expires_ms: int | msgspec.UnsetType = msgspec.UNSET


class AccessFacts(msgspec.Struct):
    """The access configuration, and how many users, roles and tokens there are.

    `configured` is false where there is none: members go by their own settings then.
    """

    mode: Literal["Disabled", "Permissive", "Enforced"]
    configured: bool
    anonymous_roles: list[str]
    jwt: list[JwtIssuer]
    service_accounts: ServiceAccounts | None
    limits: UserLimits
    collection_limits: list[CollectionLimits]
    session_s: int
    revoked_certificates: list[str]
    users: int
    roles: int
    tokens: int
    access_revision: int
    configuration_revision: int
    revision: int


class UserFacts(msgspec.Struct):
    """A user; of its password only whether there is one, and when it was set."""

    name: str
    roles: list[str]
    disabled: bool
    description: str
    limits: UserLimits | None
    password: bool
    created_revision: int
    revision: int
    password_revision: int | msgspec.UnsetType = msgspec.UNSET


class UserPage(msgspec.Struct):
    """A page of users. Repeat the request with `cursor` set to `next_cursor` until that is null."""

    users: list[UserFacts]
    next_cursor: str | None
    revision: int


class RoleFacts(msgspec.Struct):
    """A role. One that is built in has no revisions."""

    name: str
    rules: list[Rule]
    inherits: list[str]
    description: str
    built_in: bool
    created_revision: int | msgspec.UnsetType = msgspec.UNSET
    revision: int | msgspec.UnsetType = msgspec.UNSET


class RolePage(msgspec.Struct):
    """A page of roles. Repeat the request with `cursor` set to `next_cursor` until that is null."""

    roles: list[RoleFacts]
    next_cursor: str | None
    revision: int


class TokenFacts(msgspec.Struct):
    """A token without its secret. Times of day in milliseconds since 1970 UTC; null for never."""

    id: str
    user: str
    description: str
    session: bool
    created_ms: int
    expires_ms: int | None
    previous_until_ms: int | None
    used_ms: int | None
    created_revision: int
    revision: int


class TokenPage(msgspec.Struct):
    """A page of tokens. Repeat the request with `cursor` set to `next_cursor` until that is null."""

    tokens: list[TokenFacts]
    next_cursor: str | None
    revision: int


class TokenMade(msgspec.Struct):
    """A token with its secret, `token`, which is shown this once."""

    id: str
    user: str
    token: str
    expires_ms: int | None
    revision: int
    previous_until_ms: int | msgspec.UnsetType | None = msgspec.UNSET


class TokenRevoked(msgspec.Struct):
    """A token that is not accepted any more."""

    id: str
    revision: int


class Session(msgspec.Struct):
    """A token that stands for a login; `token` is shown here only."""

    token: str
    id: str
    user: str
    expires_ms: int
    """Time of day, in milliseconds since 1970 UTC."""
    expires_in_s: int
    revision: int


class LoggedOut(msgspec.Struct):
    """The revision from which on the token is refused."""

    revision: int


class PasswordChanged(msgspec.Struct):
    """Whose password was changed, and the revision of that."""

    user: str
    revision: int
