"""The records of access control, and how they are read: users, roles, tokens, and one record of the whole.

Users, roles and configuration are stored as the JSON that was given, so that each is parsed by one parser. The records
say what apply must know without parsing.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from typing import Final

import msgspec

from collectionstore_node.access.configuration import AccessConfiguration, parse_configuration
from collectionstore_node.access.policy import Policy
from collectionstore_node.access.roles import Role, parse_role
from collectionstore_node.access.users import User, parse_user
from collectionstore_node.statemachine.codec import decode_own
from collectionstore_node.statemachine.header import read_header
from collectionstore_node.statemachine.keys import (
    ACCESS_KEY,
    ROLES,
    TOKEN_RECORDS,
    USERS,
    last_text,
    prefix_end,
    role_key,
    successor,
    token_record_key,
    tokens_prefix,
    user_key,
)
from collectionstore_node.statemachine.view import View


class UserRecord(msgspec.Struct, frozen=True, array_like=True):
    """A user. Add fields at the end, with a default; so for the other records."""

    body: bytes
    """JSON of `access.users.User`."""
    roles: tuple[str, ...]
    """Those of it."""
    disabled: bool
    created_revision: int
    revision: int
    """Of the last change, that of its password too."""
    password: str = ""
    """Encoded argon2id hash; empty for none."""
    password_revision: int = 0
    """When it was set last; 0 for never."""

    def user(self) -> User:
        """Return what the body says."""
        return parse_user(self.body)


class RoleRecord(msgspec.Struct, frozen=True, array_like=True):
    """A role."""

    body: bytes
    """JSON of `access.roles.Role`."""
    inherits: tuple[str, ...]
    """Those of it."""
    rules: int
    """How many it has by itself."""
    created_revision: int
    revision: int

    def role(self) -> Role:
        """Return what the body says."""
        return parse_role(self.body)


class TokenRecord(msgspec.Struct, frozen=True, array_like=True):
    """A token. Times are those of day, in milliseconds since 1970 UTC."""

    user: str
    digest: bytes
    """SHA-256 of the secret."""
    created_ms: int
    expires_ms: int
    """0 for never."""
    description: str
    created_revision: int
    revision: int
    """Of its creation or last rotation."""
    previous: bytes = b""
    """Digest of the secret before; empty for none."""
    previous_until_ms: int = 0
    used_ms: int = 0
    """When it was last used, as far as that was noted; 0 for never."""
    session: bool = False
    """Whether it stands for a login with a password."""

    def accepted_until(self, digest: bytes, now_ms: int) -> int | None:
        """Return until when the secret with this digest is accepted, 0 for ever; None if it is not accepted now.

        It takes the same time for every wrong secret.
        """
        current = hmac.compare_digest(self.digest, digest)
        previous = hmac.compare_digest(self.previous or self.digest, digest) and bool(self.previous)
        if current:
            return self.expires_ms if not self.expires_ms or now_ms < self.expires_ms else None
        return self.previous_until_ms if previous and now_ms < self.previous_until_ms else None


class AccessRecord(msgspec.Struct, frozen=True, array_like=True):
    """What there is of access control."""

    body: bytes = b""
    """JSON of `access.configuration.AccessConfiguration`; empty for none: members go by their own settings then."""
    revision: int = 0
    """When the configuration was changed."""
    users: int = 0
    roles: int = 0
    tokens: int = 0
    """How many there are."""

    def configuration(self) -> AccessConfiguration | None:
        """Return what the body says; None without a configuration."""
        return parse_configuration(self.body) if self.body else None


NO_ACCESS: Final = AccessRecord()

_users: Final = msgspec.msgpack.Decoder(UserRecord)
_roles: Final = msgspec.msgpack.Decoder(RoleRecord)
_tokens: Final = msgspec.msgpack.Decoder(TokenRecord)
_access: Final = msgspec.msgpack.Decoder(AccessRecord)


def read_access(view: View) -> AccessRecord:
    """Return the record of the whole; an empty one where access control was never used."""
    data = view.get(ACCESS_KEY)
    return NO_ACCESS if data is None else decode_own(_access, data, "the record of access control")


def access_revision(view: View) -> int:
    """Return the revision of the last change of access control; 0 where it was never used."""
    return read_header(view).access_revision


def find_user(view: View, name: str) -> UserRecord | None:
    """Return the record of the user called `name`, or None."""
    data = view.get(user_key(name))
    return None if data is None else decode_own(_users, data, "a user")


def find_role(view: View, name: str) -> RoleRecord | None:
    """Return the record of the role called `name`, or None; roles that every store has are none of the state."""
    data = view.get(role_key(name))
    return None if data is None else decode_own(_roles, data, "a role")


def find_token(view: View, token_id: str) -> TokenRecord | None:
    """Return the record of the token with this ID, or None. Whether it has expired is the caller's to see."""
    data = view.get(token_record_key(token_id))
    return None if data is None else decode_own(_tokens, data, "a token")


def scan_users(view: View, prefix: str = "", after: str | None = None) -> Iterator[tuple[str, UserRecord]]:
    """Yield the users whose names begin with `prefix` and sort after `after`, with their names, in order of name."""
    for key, data in _scan(view, USERS, prefix, after):
        yield last_text(key, USERS), decode_own(_users, data, "a user")


def scan_roles(view: View, prefix: str = "", after: str | None = None) -> Iterator[tuple[str, RoleRecord]]:
    """Yield roles of the state in the same way."""
    for key, data in _scan(view, ROLES, prefix, after):
        yield last_text(key, ROLES), decode_own(_roles, data, "a role")


def scan_tokens(view: View, after: str | None = None) -> Iterator[tuple[str, TokenRecord]]:
    """Yield tokens by their IDs in the same way."""
    for key, data in _scan(view, TOKEN_RECORDS, "", after):
        yield last_text(key, TOKEN_RECORDS), decode_own(_tokens, data, "a token")


def tokens_of(view: View, user: str) -> list[str]:
    """Return the IDs of the tokens of a user, in order."""
    prefix = tokens_prefix(user)
    return [last_text(key, prefix) for key, _ in view.scan(prefix, prefix_end(prefix))]


def _scan(view: View, family: bytes, prefix: str, after: str | None) -> Iterator[tuple[bytes, bytes]]:
    lo = family + prefix.encode()
    start = lo if after is None else max(lo, successor(family + after.encode()))
    return view.scan(start, prefix_end(lo))


def read_policy(view: View, configuration: AccessConfiguration) -> Policy:
    """Return the policy of a state, whose configuration is `configuration`.

    It reads users of `view` when they are first asked for: use it while the access revision is that of the policy.
    """

    def user(name: str) -> User | None:
        record = find_user(view, name)
        return None if record is None else record.user()

    return Policy(
        {name: record.role() for name, record in scan_roles(view)},
        user,
        mode=configuration.mode,
        revision=access_revision(view),
        anonymous_roles=configuration.anonymous_roles,
    )
