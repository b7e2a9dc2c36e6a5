"""What authentication asks of the replicated state, as this member has applied it: `service.Access` implements it."""

from __future__ import annotations

from typing import Protocol

from collectionstore_node.access.configuration import AccessConfiguration
from collectionstore_node.access.modes import Mode
from collectionstore_node.statemachine.access import TokenRecord, UserRecord


class Facts(Protocol):
    """What is asked for every request."""

    @property
    def revision(self) -> int:
        """The revision of the last change of access control."""

    @property
    def mode(self) -> Mode:
        """Whether access control refuses."""


class Directory(Protocol):
    """Users, tokens and the access configuration. Every method reads applied state, and waits for nothing."""

    def policy(self) -> Facts:
        """Return the facts of now; it must be cheap."""

    @property
    def configuration(self) -> AccessConfiguration:
        """The access configuration."""

    def user(self, name: str) -> UserRecord | None:
        """Return a user's record."""

    def password(self, name: str) -> str | None:
        """Return the hash of a user's password, None for a user without one."""

    def token(self, token_id: str) -> TokenRecord | None:
        """Return the record of a token."""

    def note_use(self, token_id: str, record: TokenRecord) -> None:
        """Note that a token was used now."""
