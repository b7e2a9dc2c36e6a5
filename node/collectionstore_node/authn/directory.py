"""What authentication asks of the replicated state, as this member has applied it."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from collectionstore_node.access.configuration import AccessConfiguration
from collectionstore_node.access.modes import Mode
from collectionstore_node.access.users import User


class TokenFacts(NamedTuple):
    """The record of a token."""

    user: str
    digest: bytes
    """SHA-256 of its secret."""
    expires_s: float | None
    """Time of day at which it ends, None for never."""
    previous: bytes = b""
    """Digest of the secret before the last rotation; empty for none."""
    previous_until_s: float = 0.0
    """Until when that one counts, too."""


class Directory(Protocol):
    """Users, tokens and the access configuration. Every method reads applied state, and waits for nothing."""

    @property
    def revision(self) -> int:
        """The revision of the last change of access control; asked for once per request, so it must be cheap."""

    @property
    def mode(self) -> Mode:
        """Whether access control refuses; as cheap."""

    @property
    def configuration(self) -> AccessConfiguration | None:
        """The access configuration, None if there is none."""

    def user(self, name: str) -> User | None:
        """Return a user's record."""

    def password(self, name: str) -> str | None:
        """Return the hash of a user's password, None for a user without one."""

    def token(self, token_id: str) -> TokenFacts | None:
        """Return the record of a token."""
