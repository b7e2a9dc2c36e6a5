"""Who makes a request, as authentication has found."""

from __future__ import annotations

import enum
from typing import Final

import msgspec

ANONYMOUS_USER: Final = "anonymous"
"""Name of the user of requests without a credential; no record has it."""


class Method(enum.StrEnum):
    """How a caller was authenticated."""

    CERTIFICATE = "certificate"
    TOKEN = "token"  # the name of a method
    SERVICE_ACCOUNT = "service_account"
    JWT = "jwt"
    PASSWORD = "password"  # the name of a method
    ANONYMOUS = "anonymous"
    LOCAL = "local"
    """The token file of a local cluster."""


class Caller(msgspec.Struct, frozen=True):
    """The caller of one request. Holds no secret."""

    user: str
    """Name of the user; ANONYMOUS_USER for none."""
    method: Method
    roles: tuple[str, ...] = ()
    """Roles that the credential itself grants, beside those of the user's record."""
    credential: str = ""
    """Public ID of the credential: token ID, certificate serial, jti."""
    address: str = ""
    expires_s: float | None = None
    """Time of day at which the credential ends, in seconds since 1970 UTC; None for never."""
