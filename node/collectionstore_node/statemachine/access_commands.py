"""The commands that change users, roles, tokens and the access configuration; all from level `CHANGES` on.

They hold no secret: of a token the SHA-256 of it, of a password its encoded argon2id hash. What they say of a user, a
role or the configuration is JSON that `access` parses; apply parses it again.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec


class Asked(msgspec.Struct, frozen=True, array_like=True):
    """Who asks for a change, as far as apply must know to see that no one is locked out by it."""

    user: str = ""
    """Of a caller whose credential does not end with any change of the state, as a certificate; empty for others."""
    roles: tuple[str, ...] = ()
    """Those that the credential itself grants; none for others."""
    enforced: bool = False
    """Whether the member enforces access control by its own settings: of account until there is a configuration."""
    time_ms: int = 0
    """The time of day where the request arrived, in milliseconds since 1970 UTC: tokens end by it."""


NOT_ASKED = Asked()


class PutUser(msgspec.Struct, frozen=True, array_like=True, tag=60):
    """Create a user, or replace what is said of it. Its password and its tokens stay.

    ACCESS_INVALID, ACCESS_UNKNOWN for a role that does not exist, ACCESS_FULL, LOCKED_OUT.
    """

    name: str
    body: bytes
    """See `access.users`."""
    expected: int | None = None
    """PRECONDITION_FAILED if it was last changed at another revision; 0 for a user that does not exist."""
    asked: Asked = NOT_ASKED


class DeleteUser(msgspec.Struct, frozen=True, array_like=True, tag=61):
    """Delete a user with all its tokens. USER_NOT_FOUND, LOCKED_OUT."""

    name: str
    expected: int | None = None
    asked: Asked = NOT_ASKED


class PutRole(msgspec.Struct, frozen=True, array_like=True, tag=62):
    """Create or replace a role.

    ACCESS_INVALID, ACCESS_UNKNOWN for a role or a collection that does not exist, ROLE_CIRCULAR, ACCESS_FULL,
    LOCKED_OUT.
    """

    name: str
    body: bytes
    """See `access.roles`."""
    expected: int | None = None
    missing: bool = False
    """Whether it may name collections that do not exist."""
    asked: Asked = NOT_ASKED


class DeleteRole(msgspec.Struct, frozen=True, array_like=True, tag=63):
    """Delete a role. ROLE_NOT_FOUND; ROLE_IN_USE if a user, a role or the configuration names it."""

    name: str
    expected: int | None = None
    asked: Asked = NOT_ASKED


class CreateToken(msgspec.Struct, frozen=True, array_like=True, tag=64):
    """Create a token of a user. USER_NOT_FOUND, ACCESS_FULL; PRECONDITION_FAILED if there is one of that ID."""

    id: str
    user: str
    digest: bytes
    """SHA-256 of the secret."""
    created_ms: int
    """Times are those of day, in milliseconds since 1970 UTC."""
    expires_ms: int = 0
    """0 for never."""
    description: str = ""
    session: bool = False
    """Whether it stands for a login: of a user that has too many tokens, the session that ends first goes then."""


class RotateToken(msgspec.Struct, frozen=True, array_like=True, tag=65):
    """Give a token another secret; the one before is accepted for a while. TOKEN_NOT_FOUND.

    A secret that is still accepted from an earlier rotation ends at once.
    """

    id: str
    digest: bytes
    previous_until_ms: int
    """Until when the secret before is accepted, if it does not expire earlier."""
    expires_ms: int | None = None
    """When the new one expires; None for when the one before does, 0 for never."""
    asked: Asked = NOT_ASKED


class RevokeToken(msgspec.Struct, frozen=True, array_like=True, tag=66):
    """Delete a token. TOKEN_NOT_FOUND, LOCKED_OUT."""

    id: str
    asked: Asked = NOT_ASKED


class UseTokens(msgspec.Struct, frozen=True, array_like=True, tag=67):
    """Note when tokens were last used: IDs and times of day. Those that are gone are passed over.

    It is no change of access: the access revision stays.
    """

    used: tuple[tuple[str, int], ...]


class ConfigureAccess(msgspec.Struct, frozen=True, array_like=True, tag=68):
    """Replace the access configuration. ACCESS_INVALID, ACCESS_UNKNOWN for a role that does not exist, LOCKED_OUT."""

    body: bytes
    """See `access.configuration`."""
    expected: int | None = None
    asked: Asked = NOT_ASKED


class SetPassword(msgspec.Struct, frozen=True, array_like=True, tag=69):
    """Set the password of a user, and nothing else. USER_NOT_FOUND, ACCESS_INVALID, LOCKED_OUT."""

    user: str
    password: str
    """Its encoded hash; empty for none."""
    expected: int | None = None
    asked: Asked = NOT_ASKED


AccessAction: TypeAlias = (
    PutUser
    | DeleteUser
    | PutRole
    | DeleteRole
    | CreateToken
    | RotateToken
    | RevokeToken
    | UseTokens
    | ConfigureAccess
    | SetPassword
)
ACCESS_ACTIONS = (
    PutUser,
    DeleteUser,
    PutRole,
    DeleteRole,
    CreateToken,
    RotateToken,
    RevokeToken,
    UseTokens,
    ConfigureAccess,
    SetPassword,
)
