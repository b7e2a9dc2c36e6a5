"""Users, roles, tokens and the configuration of access control, as the members of a cluster tell of them.

Fields that are not listed here are ignored: members may be newer than the operator. Times are Unix seconds.
"""

from __future__ import annotations

from typing import Any

import msgspec


class StoreUser(msgspec.Struct, frozen=True, kw_only=True):
    """A user."""

    name: str
    roles: tuple[str, ...] = ()
    disabled: bool = False
    description: str = ""
    limits: dict[str, int] | None = None


class StoreRole(msgspec.Struct, frozen=True, kw_only=True):
    """A role: its rules as JSON, as the cluster returns them."""

    name: str
    rules: tuple[dict[str, Any], ...] = ()
    inherits: tuple[str, ...] = ()
    description: str = ""


class StoreToken(msgspec.Struct, frozen=True, kw_only=True):
    """A token, without its secret."""

    id: str
    description: str = ""
    created: float = 0.0
    expires: float | None = None


class IssuedToken(msgspec.Struct, frozen=True, kw_only=True):
    """A token as it was issued; `secret` is told once and stored nowhere but in the Secret."""

    id: str
    secret: str
    expires: float | None = None

    def __repr__(self) -> str:
        return f"IssuedToken(id={self.id!r})"
