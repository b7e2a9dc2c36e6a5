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


class ReadUsers(msgspec.Struct, frozen=True, gc=False):
    """Read all users, or the one called `name`."""

    name: str | None = None


class ReadRoles(msgspec.Struct, frozen=True, gc=False):
    """Read all roles, or the one called `name`."""

    name: str | None = None


class ReadTokens(msgspec.Struct, frozen=True, gc=False):
    """Read all tokens, those of `user`, or the one with the ID `id`."""

    id: str | None = None
    user: str | None = None


class ReadAccess(msgspec.Struct, frozen=True, gc=False):
    """Read the access configuration."""


AccessRead: TypeAlias = ReadUsers | ReadRoles | ReadTokens | ReadAccess

__all__ = [
    "AccessAction",
    "AccessRead",
    "ConfigureAccess",
    "CreateToken",
    "DeleteRole",
    "DeleteUser",
    "PutRole",
    "PutUser",
    "ReadAccess",
    "ReadRoles",
    "ReadTokens",
    "ReadUsers",
    "RevokeToken",
    "RotateToken",
    "SetPassword",
]
