"""The options of a client."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from collectionstore.errors import ConfigurationError
from collectionstore.settings.credentials import Credentials
from collectionstore.settings.durations import kind

PORT: Final = 7400
TIMEOUT_MAX_S: Final = 3_600.0
CONNECTIONS_MAX: Final = 64


@dataclass(frozen=True, slots=True)
class Tls:
    """How members are reached by TLS: who must have signed them, and what this client shows."""

    authority: Path | None = None
    """File with the certificates to trust, in PEM; None: those of the system."""
    certificate: Path | None = None
    key: Path | None = None
    verify: bool = True

    def context(self) -> ssl.SSLContext:
        """Return a context, read from the files as they are now. Raises ConfigurationError."""
        try:
            made = ssl.create_default_context(cafile=None if self.authority is None else str(self.authority))
            if not self.verify:
                made.check_hostname = False
                made.verify_mode = ssl.CERT_NONE
            if self.certificate is not None:
                made.load_cert_chain(self.certificate, self.key)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(f"the files of TLS cannot be used: {type(error).__name__}: {error}") from error
        return made

    def reload(self, context: ssl.SSLContext) -> None:
        """Read the files again, for connections to come: what is trusted is added, the certificate is replaced.

        Raises ConfigurationError, and the context is then as it was, or has one of them.
        """
        try:
            if self.authority is not None:
                context.load_verify_locations(cafile=str(self.authority))
            if self.certificate is not None:
                context.load_cert_chain(self.certificate, self.key)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(f"the files of TLS cannot be used: {type(error).__name__}: {error}") from error

    def stamps(self) -> tuple[tuple[int, int] | None, ...]:
        """Return what tells whether a file was replaced."""
        return tuple(_stamp(one) for one in (self.authority, self.certificate, self.key))


def _stamp(path: Path | None) -> tuple[int, int] | None:
    try:
        found = None if path is None else path.stat()
    except OSError:
        return None
    return None if found is None else (found.st_mtime_ns, found.st_ino)


@dataclass(frozen=True, slots=True)
class Options:
    """What a client goes by; every one has a bound, and a wrong one is a ConfigurationError."""

    seeds: tuple[str, ...] = (f"http://127.0.0.1:{PORT}",)
    """Base URLs of members, or of one address in front of them. The others are found through them."""
    tls: Tls | None = None
    credentials: Credentials = field(default_factory=Credentials)
    timeout_s: float = 10.0
    """For a call with all of its attempts."""
    attempt_timeout_s: float = 2.0
    """For one attempt of a call that takes no time of its own: then another member is asked."""
    connect_timeout_s: float = 2.0
    consistency: Literal["linearizable", "stale"] = "linearizable"
    max_staleness_s: float | None = None
    discovery: Literal["auto", "off"] = "auto"
    """auto: members are found by `/api/v1/cluster`. off: the seeds are all there is, as behind one address."""
    stream: Literal["auto", "off"] = "auto"
    """auto: operations share a stream to each member. off: each one is a request."""
    connections: int = 2
    """Streams to each member, once one is busy."""
    retries: Literal["auto", "off"] = "auto"
    """auto: a write has an idempotency key, and what may be repeated is, until its time is over."""
    refresh_s: float = 10.0
    """How often members are looked up."""
    user_agent: str = ""

    def __post_init__(self) -> None:
        if not self.seeds:
            raise ConfigurationError("a client needs the address of a member")
        for name, lo, hi in _NUMBERS:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not lo <= value <= hi:
                raise ConfigurationError(f"{name} must be a number from {lo:g} to {hi:g}, not a {kind(value)}")
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ConfigurationError(f"{name} must be {' or '.join(allowed)}")
        if self.max_staleness_s is not None:
            if self.consistency != "stale":
                raise ConfigurationError("max_staleness needs consistency=stale")
            if not 0.001 <= self.max_staleness_s <= 3_600:
                raise ConfigurationError("max_staleness_s must be from 0.001 to 3600")
        if not self.credentials.empty and not all(is_private(seed) for seed in self.seeds):
            raise ConfigurationError("credentials are sent by TLS only, or to a loopback address")


_NUMBERS: Final[tuple[tuple[str, float, float], ...]] = (
    ("timeout_s", 0.001, TIMEOUT_MAX_S),
    ("attempt_timeout_s", 0.01, 60.0),
    ("connect_timeout_s", 0.01, 60.0),
    ("connections", 1, CONNECTIONS_MAX),
    ("refresh_s", 0.1, 3_600.0),
)
_CHOICES: Final[dict[str, Sequence[str]]] = {
    "consistency": ("linearizable", "stale"),
    "discovery": ("auto", "off"),
    "stream": ("auto", "off"),
    "retries": ("auto", "off"),
}


def is_private(seed: str) -> bool:
    """Whether what is sent to a URL stays secret: by TLS, or on this machine."""
    return seed.startswith("https://") or is_loopback(seed.partition("://")[2])


def is_loopback(authority: str) -> bool:
    """Whether `host:port` is of this machine only."""
    host = authority.rpartition(":")[0] if authority.count(":") == 1 or authority.startswith("[") else authority
    host = host.strip("[]").lower()
    return host == "localhost" or host.endswith(".localhost") or host == "::1" or host.startswith("127.")
