"""Why a credential is refused. Only logs and metrics tell the reasons apart: a client is told that it was refused."""

from __future__ import annotations

import enum


class Reason(enum.StrEnum):
    """Why there is no caller. The values are labels of metrics."""

    MISSING = "missing"
    """No credential, and anonymous callers are not admitted."""
    MALFORMED = "malformed"
    """The header is too long, has an unknown scheme, or is none."""
    UNKNOWN = "unknown"
    """No such token, user or issuer; or the secret is another one."""
    EXPIRED = "expired"
    NOT_YET = "not_yet"
    """Valid in the future only."""
    AUDIENCE = "audience"
    """Made for another service."""
    SIGNATURE = "signature"
    """Not signed by a key of its issuer, or with an algorithm that is not allowed."""
    KEYS = "keys"
    """The keys of its issuer are not known, or known for too long: nothing of it is accepted."""
    UNMAPPED = "unmapped"
    """No rule says which user it is."""
    DISABLED = "disabled"
    """Its user is disabled, or has no record and needs one."""
    MEMBER = "member"
    """The certificate of a member, which is no client."""
    CERTIFICATE = "certificate"
    """A certificate that is not trusted, was revoked, or names no user."""


class Refused(Exception):
    """The credential of a request is refused."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


class TooManyAttempts(Exception):
    """Passwords of this user, or from this address, are not tried now; they are after `retry_after_s`."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(f"too many failed attempts; retry after {retry_after_s:.0f} s")
        self.retry_after_s = retry_after_s
