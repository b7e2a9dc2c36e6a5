"""Reads of access control, as operations; its changes are commands of the state machine."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from collectionstore_node.statemachine.access_commands import (
    AccessAction,
    ConfigureAccess,
    CreateToken,
    DeleteRole,
    DeleteUser,
    PutRole,
    PutUser,
    RevokeToken,
    RotateToken,
    SetPassword,
)


class ReadUser(msgspec.Struct, frozen=True, gc=False):
    """Read a user."""

    name: str


class ListUsers(msgspec.Struct, frozen=True, gc=False):
    """List users by name: those that begin with `prefix` and sort after `after`, at most `limit`."""

    prefix: str
    after: str | None
    limit: int


class ReadRole(msgspec.Struct, frozen=True, gc=False):
    """Read a role."""

    name: str


class ListRoles(msgspec.Struct, frozen=True, gc=False):
    """List roles by name, with the same bounds; those that every store has are among them."""

    prefix: str
    after: str | None
    limit: int


class ReadToken(msgspec.Struct, frozen=True, gc=False):
    """Read what is known of a token, which is not its secret."""

    id: str


class ListTokens(msgspec.Struct, frozen=True, gc=False):
    """List tokens by ID, of one user or, with None, of all, with the same bounds."""

    user: str | None
    after: str | None
    limit: int


class ReadAccess(msgspec.Struct, frozen=True, gc=False):
    """Read the access configuration."""


AccessRead: TypeAlias = ReadUser | ListUsers | ReadRole | ListRoles | ReadToken | ListTokens | ReadAccess

__all__ = [
    "AccessAction",
    "AccessRead",
    "ConfigureAccess",
    "CreateToken",
    "DeleteRole",
    "DeleteUser",
    "ListRoles",
    "ListTokens",
    "ListUsers",
    "PutRole",
    "PutUser",
    "ReadAccess",
    "ReadRole",
    "ReadToken",
    "ReadUser",
    "RevokeToken",
    "RotateToken",
    "SetPassword",
]
