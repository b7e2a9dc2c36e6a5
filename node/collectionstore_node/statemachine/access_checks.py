"""What a command of access control may hold, whatever the state: asked of clients, of members and by apply."""

from __future__ import annotations

import re
from typing import Final

from collectionstore_node.access.bodies import ROLE_NAME, ROLE_NAME_RULE, USER_NAME, USER_NAME_RULE, invalid
from collectionstore_node.access.builtin import BUILT_IN
from collectionstore_node.access.callers import ANONYMOUS_USER
from collectionstore_node.access.configuration import parse_configuration
from collectionstore_node.access.roles import parse_role
from collectionstore_node.access.users import USER_ROLES_MAX, parse_user
from collectionstore_node.errors import InvalidRequest
from collectionstore_node.statemachine.access_commands import (
    AccessAction,
    Asked,
    ConfigureAccess,
    CreateToken,
    DeleteRole,
    DeleteUser,
    PutRole,
    PutUser,
    RevokeToken,
    RotateToken,
    SetPassword,
    UseTokens,
)

TOKEN_ID: Final = re.compile(r"[a-z0-9]{8,64}")
PASSWORD_HASH: Final = re.compile(
    r"\$argon2id\$v=19\$m=(?P<memory>[0-9]{1,6}),t=(?P<time>[0-9]{1,2}),p=(?P<lanes>[0-9]{1,2})"
    r"\$[A-Za-z0-9+/]{11,64}\$[A-Za-z0-9+/]{16,128}"
)
"""As argon2 encodes a hash."""
PASSWORD_MEMORY_KIB_MAX: Final = 256 << 10
PASSWORD_TIME_MAX: Final = 16
PASSWORD_LANES_MAX: Final = 8
"""What checking a password may cost: every attempt of a stranger costs a member as much."""
TOKEN_DIGEST_BYTES: Final = 32
TOKEN_DESCRIPTION_MAX: Final = 256
USED_MAX: Final = 256
"""Tokens whose use one command notes."""
_TIMES: Final = range(1 << 53)
_REVISIONS: Final = range(1 << 63)


def check_access(action: AccessAction) -> None:
    """Refuse what is not allowed in any state. Raises `InvalidRequest` or `InvalidPart`; quotes nothing."""
    match action:
        case PutUser(name, body, expected, asked):
            check_user_name(name)
            parse_user(body)
        case SetPassword(name, password, expected, asked):
            check_user_name(name)
            if password:
                _check_password(name, password)
        case DeleteUser(name, expected, asked):
            check_user_name(name)
        case PutRole(name, body, expected, _, asked):
            check_role_name(name)
            parse_role(body)
        case DeleteRole(name, expected, asked):
            check_role_name(name)
        case ConfigureAccess(body, expected, asked):
            parse_configuration(body)
        case CreateToken():
            return _check_token(action)
        case RotateToken(token_id, digest, until_ms, expires_ms, asked):
            expected = None
            check_token_id(token_id)
            _check_digest(digest)
            _check_times(until_ms, expires_ms or 0)
        case RevokeToken(token_id, asked):
            expected = None
            check_token_id(token_id)
        case UseTokens(used):
            return _check_used(used)
    if expected is not None and expected not in _REVISIONS:
        raise invalid("", "a revision is out of range")
    _check_asked(asked)


def check_user_name(name: str) -> None:
    """Refuse what is no name of a user. Raises `InvalidRequest("invalid_name")`."""
    if USER_NAME.fullmatch(name) is None:
        raise InvalidRequest("invalid_name", f"the name of a user is {USER_NAME_RULE}")
    if name == ANONYMOUS_USER:
        raise InvalidRequest("invalid_name", f"{ANONYMOUS_USER!r} is who has no credential; its roles are configured")


def check_role_name(name: str) -> None:
    """Refuse what is no name of a role that can be changed. Raises `InvalidRequest("invalid_name")`."""
    if ROLE_NAME.fullmatch(name) is None:
        raise InvalidRequest("invalid_name", f"the name of a role is {ROLE_NAME_RULE}")
    if name in BUILT_IN:
        raise InvalidRequest("invalid_name", f"the roles {', '.join(BUILT_IN)} are built in and cannot be changed")


def check_token_id(token_id: str) -> None:
    """Refuse what is no ID of a token. Raises `InvalidRequest("invalid_name")`."""
    if TOKEN_ID.fullmatch(token_id) is None:
        raise InvalidRequest("invalid_name", "the ID of a token is 8-64 of a-z and 0-9")


def _check_password(name: str, encoded: str) -> None:
    matched = PASSWORD_HASH.fullmatch(encoded)
    if matched is None:
        raise invalid("/password_hash", "a password is stored as an argon2id hash (v=19) in its usual encoding")
    memory, time, lanes = (int(matched[part]) for part in ("memory", "time", "lanes"))
    if not (
        8 <= memory <= PASSWORD_MEMORY_KIB_MAX and 1 <= time <= PASSWORD_TIME_MAX and 1 <= lanes <= PASSWORD_LANES_MAX
    ):
        raise invalid(
            "/password_hash",
            f"an argon2id hash has at most m={PASSWORD_MEMORY_KIB_MAX}, t={PASSWORD_TIME_MAX}, p={PASSWORD_LANES_MAX}",
        )
    if ":" in name:
        raise invalid("/password", "a user with a colon in its name has no password: credentials end a name there")


def _check_token(token: CreateToken) -> None:
    check_token_id(token.id)
    check_user_name(token.user)
    _check_digest(token.digest)
    _check_times(token.created_ms, token.expires_ms)
    if token.session and not token.expires_ms:
        raise invalid("", "a session ends")
    if len(token.description) > TOKEN_DESCRIPTION_MAX:
        raise invalid("/description", f"a description has at most {TOKEN_DESCRIPTION_MAX} characters")


def _check_digest(digest: bytes) -> None:
    if len(digest) != TOKEN_DIGEST_BYTES:
        raise invalid("", "the digest of a secret is a SHA-256")


def _check_times(*times: int) -> None:
    if any(one not in _TIMES for one in times):
        raise invalid("", "a time is out of range")


def _check_used(used: tuple[tuple[str, int], ...]) -> None:
    if len(used) > USED_MAX:
        raise invalid("", f"at most {USED_MAX} tokens are noted at once")
    for token_id, used_ms in used:
        check_token_id(token_id)
        _check_times(used_ms)


def _check_asked(asked: Asked) -> None:
    if asked.user and USER_NAME.fullmatch(asked.user) is None:
        raise invalid("", "the caller has no name of a user")
    if len(asked.roles) > USER_ROLES_MAX or any(ROLE_NAME.fullmatch(name) is None for name in asked.roles):
        raise invalid("", "the caller has roles that there cannot be")
    _check_times(asked.time_ms)
