"""Whether a change would lock everyone out: asked BEFORE it is written, by what would be behind it.

The state proves that a user can administer: it is enabled, its roles allow it, and it has a password or a token that
has not expired. So does a caller whose credential no change of the state takes away: a certificate, above all that of
the operator. Users that an issuer of JWTs vouches for prove nothing, as the issuer may be gone tomorrow.

A change is refused if access control is enforced behind it and no one is proven to administer then, but someone was
before, or was not needed. Where only an issuer vouches for administrators, theirs are not refused: nothing gets worse.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from collectionstore_node.access.administration import Administration
from collectionstore_node.access.builtin import BUILT_IN, OPERATOR
from collectionstore_node.access.configuration import AccessConfiguration
from collectionstore_node.access.modes import Mode
from collectionstore_node.access.roles import Role
from collectionstore_node.statemachine.access import (
    AccessRecord,
    RoleRecord,
    UserRecord,
    find_role,
    find_token,
    find_user,
    scan_users,
    tokens_of,
)
from collectionstore_node.statemachine.access_commands import Asked
from collectionstore_node.statemachine.costs import READ_COST_BYTES
from collectionstore_node.statemachine.view import Overlay

USER_COST_BYTES: Final = READ_COST_BYTES
"""What looking at a user costs."""


class Change:
    """What a command would change."""

    __slots__ = ("configuration", "revoked", "roles", "users")

    def __init__(
        self,
        *,
        users: dict[str, UserRecord | None] | None = None,
        roles: dict[str, RoleRecord | None] | None = None,
        revoked: frozenset[str] = frozenset(),
        configuration: AccessConfiguration | None = None,
    ) -> None:
        """Users and roles by name, None for one that would be gone; IDs of tokens; a new configuration, if any."""
        self.users = users or {}
        self.roles = roles or {}
        self.revoked = revoked
        self.configuration = configuration


NO_CHANGE: Final = Change()


def locks_out(overlay: Overlay, record: AccessRecord, asked: Asked, change: Change) -> bool:
    """Whether no one would be proven to administer behind `change`, although it is needed there."""
    before = record.configuration()
    if not _enforced(change.configuration or before, asked) or _proven(overlay, asked, change):
        return False
    return not _enforced(before, asked) or _proven(overlay, asked, NO_CHANGE)


def _enforced(configuration: AccessConfiguration | None, asked: Asked) -> bool:
    return asked.enforced if configuration is None else configuration.mode is Mode.ENFORCED


def _proven(overlay: Overlay, asked: Asked, change: Change) -> bool:
    administration = Administration(_roles(overlay, change))
    if asked.user and administration.allowed(_asker_roles(overlay, asked, change)):
        return True
    for name, stored in scan_users(overlay):
        overlay.cost += USER_COST_BYTES
        user = change.users.get(name, stored)
        # The tokens of few are looked at: of those who could administer.
        if user is not None and administration.allowed(user.roles) and _can_log_in(overlay, name, user, asked, change):
            return True
    return False


def _asker_roles(overlay: Overlay, asked: Asked, change: Change) -> tuple[str, ...]:
    """Return the roles of the caller behind the change; as `Policy.roles_of`."""
    if OPERATOR in asked.roles:
        return asked.roles
    user = change.users[asked.user] if asked.user in change.users else find_user(overlay, asked.user)
    if user is None:
        return asked.roles
    return () if user.disabled else (*user.roles, *asked.roles)


def _can_log_in(overlay: Overlay, name: str, user: UserRecord, asked: Asked, change: Change) -> bool:
    if user.disabled:
        return False
    if user.password:
        return True
    for token_id in tokens_of(overlay, name):
        if token_id in change.revoked:
            continue
        token = find_token(overlay, token_id)
        if token is not None and (not token.expires_ms or token.expires_ms > asked.time_ms):
            return True
    return False


def _roles(overlay: Overlay, change: Change) -> Callable[[str], Role | None]:
    known: dict[str, Role | None] = dict(BUILT_IN)

    def find(name: str) -> Role | None:
        if name not in known:
            record = change.roles[name] if name in change.roles else find_role(overlay, name)
            known[name] = None if record is None else record.role()
        return known[name]

    return find
