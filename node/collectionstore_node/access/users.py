"""Users: their roles and rates."""

from __future__ import annotations

from typing import Final

import msgspec

from collectionstore_node.access.bodies import check_names, decoded
from collectionstore_node.access.limits import UserLimits
from collectionstore_node.access.roles import check_description

USER_BYTES_MAX: Final = 8 << 10
USER_ROLES_MAX: Final = 16
USER_RULES_MAX: Final = 256
"""Rules of all roles of a user, and of those that they inherit."""


class User(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a user's record says of its rights."""

    roles: tuple[str, ...] = ()
    disabled: bool = False
    """Whether every request of the user is refused, whatever its credential grants."""
    description: str = ""
    limits: UserLimits | None = None
    """None for those of the configuration."""


def parse_user(body: bytes) -> User:
    """Return the user that the JSON object `body` describes. Raises `InvalidPart("invalid_access")`.

    Whether its roles exist is not known here.
    """
    user = decoded(body, User, "a user", bytes_max=USER_BYTES_MAX)
    check_names(user.roles, "/roles", most=USER_ROLES_MAX)
    check_description(user.description)
    return user
