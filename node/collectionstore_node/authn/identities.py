"""`Identity`: a caller, and the proof by which it is one, so that the proof can be asked again without a secret.

A proof is checked with cryptography once. Whether it still holds is then a question of the replicated state, the keys
of issuers, the trusted authorities and the time, and takes microseconds: at the first request after any of these has
changed, and for open streams within a second.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

import msgspec

from collectionstore_node.access.callers import Caller
from collectionstore_node.authn.jwts import Demands, Verified

FOR_EVER: Final = math.inf


class Presented(NamedTuple):
    """What a request brings to show who makes it."""

    authorization: str | None
    """The value of the Authorization header; None for none."""
    certificate: bytes | None = None
    """Of the connection's client, in DER; its key was shown in the handshake."""
    address: str = ""
    network: str = ""
    """What failures are counted for; empty for a client on this machine."""
    repeated: bool = False
    """Whether there are several Authorization headers, of which nothing says which one counts."""


@dataclass(frozen=True, slots=True)
class TokenProof:
    """A token of the store."""

    id: str
    digest: bytes


@dataclass(frozen=True, slots=True)
class PasswordProof:
    """A password that matched this hash."""

    user: str
    hashed: str


@dataclass(frozen=True, slots=True)
class JwtProof:
    """A token that met these demands, signed by a key of an issuer; `source` is the name of where its keys are."""

    source: str
    demands: Demands
    verified: Verified


@dataclass(frozen=True, slots=True)
class CertificateProof:
    """A certificate, in DER."""

    der: bytes


@dataclass(frozen=True, slots=True)
class LocalProof:
    """The header with the token of a local cluster."""

    authorization: str


@dataclass(frozen=True, slots=True)
class NoProof:
    """Nothing: an anonymous caller. `tolerated` is one whose credential is refused, where refusals are only logged."""

    tolerated: bool = False


Proof: TypeAlias = TokenProof | PasswordProof | JwtProof | CertificateProof | LocalProof | NoProof


class Identity:
    """A caller, as it was found at `epoch` of its authenticator, and holds until `until_s`."""

    __slots__ = ("caller", "epoch", "header", "key", "proof", "until_s")

    def __init__(self, caller: Caller, proof: Proof, *, epoch: int, until_s: float = FOR_EVER) -> None:
        """`until_s` is a time of day, at which the proof is to be asked again at the latest."""
        self.caller = caller
        self.proof = proof
        self.epoch = epoch
        self.until_s = until_s
        self.key: bytes | None = None
        """The keyed digest of the header that showed it; None without one."""
        self.header: str | None = None
        """The very object that held the header, as it is remembered by its bytes: compared by identity only."""

    def at(self, address: str) -> Identity:
        """Return the same for a connection from `address`: one of its own, as it keeps its header in it."""
        caller = self.caller
        if caller.address != address:
            caller = msgspec.structs.replace(caller, address=address)
        other = Identity(caller, self.proof, epoch=self.epoch, until_s=self.until_s)
        other.key = self.key
        return other
