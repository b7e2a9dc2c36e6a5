"""Credentials: a token, a token in a file that is rotated, a user with a password, a function; never shown."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from collectionstore.errors import ConfigurationError

GetToken: TypeAlias = Callable[[], str] | Callable[[], Awaitable[str]]
"""Returns a bearer token; it is called again once the store refuses the last one."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """At most one of them; a client certificate is part of `Tls`."""

    token: str = field(default="", repr=False)
    token_file: Path | None = None
    """Read at every connection, and again once the store refuses what was in it: a ServiceAccount's token rotates."""
    user: str = ""
    password: str = field(default="", repr=False)
    get_token: GetToken | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        given = [bool(self.token), self.token_file is not None, bool(self.user), self.get_token is not None]
        if sum(given) > 1:
            raise ConfigurationError("give one of token, token_file, user with password, and get_token")
        if self.password and not self.user:
            raise ConfigurationError("a password needs a user")
        if ":" in self.user:
            raise ConfigurationError("a user's name has no colon")
        for name, value in (("token", self.token), ("user", self.user), ("password", self.password)):
            if any(character in value for character in "\r\n\0"):
                raise ConfigurationError(f"{name} must be one line")

    @property
    def empty(self) -> bool:
        """Whether there are none."""
        return not (self.token or self.token_file or self.user or self.get_token)

    @property
    def renewable(self) -> bool:
        """Whether asking again may give others."""
        return self.token_file is not None or self.get_token is not None


def bearer(token: str) -> str:
    """Return the header of a token. Raises ConfigurationError for one that cannot be in a header."""
    token = token.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigurationError("a token must be printable ASCII without spaces")
    return f"Bearer {token}"


def basic(user: str, password: str) -> str:
    """Return the header of a user with a password (RFC 7617, UTF-8)."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
