"""JSON Web Tokens: from the text that a client sends to claims that its issuer has signed. Pure, with the time given.

Nothing in a token is believed before its signature is checked, but for two things that only choose what to check by:
`iss` finds the issuer, and `kid` the key among those of that issuer. Which algorithms are allowed is configured, and
none of them works with a shared secret (RFC 8725, 2.1 and 3.1). A header that refers to keys elsewhere (`jku`, `jwk`,
`x5u`, `x5c`) is not followed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, cast

from joserfc.errors import ExpiredTokenError, JoseError
from joserfc.jws import CompactSignature, JWSRegistry, extract_compact
from joserfc.jwt import JWTClaimsRegistry
from joserfc.util import urlsafe_b64decode

from collectionstore_node.authn.keysets import KEY_ID_CHARACTERS_MAX, KeySet
from collectionstore_node.authn.refusals import Reason, Refused

TOKEN_CHARACTERS_MAX: Final = 8_192
CLAIMS_MAX: Final = 128
"""Claims of a token."""
CREDENTIAL_CHARACTERS_MAX: Final = 128
"""Of `jti`, as the public ID of a token."""
_CRITICAL: Final = "crit"


class Unverified(NamedTuple):
    """A token of the right form. Nothing in it is to be believed."""

    signature: CompactSignature
    algorithm: str
    key_id: str | None
    claims: Mapping[str, Any]

    @property
    def issuer(self) -> str:
        """Who is said to have issued it; empty for none."""
        found = self.claims.get("iss")
        return found if isinstance(found, str) else ""


class Verified(NamedTuple):
    """The claims of a token that its issuer signed, for one of our audiences, valid now."""

    payload: bytes
    """The claims, as JSON: many of these are kept, and objects take several times as much."""
    credential: str
    """Its public ID; empty if it has none."""
    expires_s: float
    """`exp`; the token is still taken during the leeway behind it."""
    thumbprint: str
    """Of the key that signed it."""

    @property
    def claims(self) -> dict[str, Any]:
        """What the issuer says of the bearer."""
        found: dict[str, Any] = json.loads(self.payload)
        return found


class Demands(NamedTuple):
    """What a token of an issuer must be."""

    issuer: str
    audiences: Sequence[str]
    algorithms: Sequence[str]
    leeway_s: int


def looks_like_jwt(token: str) -> bool:
    """Return whether a bearer token has the form of a JWT: three parts, of which the first begins an object."""
    return token.startswith("eyJ") and token.count(".") == 2


def read(token: str) -> Unverified:
    """Return what a token says of itself. Raises `Refused`."""
    if len(token) > TOKEN_CHARACTERS_MAX:
        raise Refused(Reason.MALFORMED)
    try:
        found = extract_compact(token.encode("ascii"), registry=_REGISTRY)
        header, claims = found.headers(), json.loads(found.payload or b"")
    except (JoseError, ValueError, TypeError, RecursionError):
        raise Refused(Reason.MALFORMED) from None
    if not isinstance(header, dict) or not isinstance(claims, dict) or len(claims) > CLAIMS_MAX:
        raise Refused(Reason.MALFORMED)
    algorithm, key_id = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or not (key_id is None or isinstance(key_id, str)):
        raise Refused(Reason.MALFORMED)
    # Of the extensions that a signer may demand to be understood (RFC 7515, 4.1.11), none is.
    if _CRITICAL in header or len(key_id or "") > KEY_ID_CHARACTERS_MAX:
        raise Refused(Reason.MALFORMED)
    return Unverified(found, algorithm, key_id, claims)


def verify(token: Unverified, keys: KeySet, demands: Demands, now_s: float) -> Verified:
    """Return the claims of a token that meets `demands`. Raises `Refused`."""
    if token.algorithm not in demands.algorithms:
        raise Refused(Reason.SIGNATURE)
    key = keys.find(token.key_id, token.algorithm)
    if key is None:
        raise Refused(Reason.SIGNATURE)
    segments = token.signature.segments
    try:
        signed = segments["header"] + b"." + segments["payload"]
        # Not by the registry, which warns of EdDSA; what is allowed was checked, with the type of the key.
        valid = JWSRegistry.algorithms[token.algorithm].verify(
            signed, urlsafe_b64decode(segments["signature"]), key.key
        )
    except (JoseError, ValueError, TypeError):
        valid = False
    if not valid:
        raise Refused(Reason.SIGNATURE)
    claims = token.claims
    _check_audience(claims.get("aud"), demands.audiences)
    registry = JWTClaimsRegistry(
        now=int(now_s),
        leeway=demands.leeway_s,
        iss={"essential": True, "value": demands.issuer},
        exp={"essential": True},
        sub={"essential": False},
    )
    try:
        registry.validate(cast(dict[str, Any], claims))
    except ExpiredTokenError:
        raise Refused(Reason.EXPIRED) from None
    except JoseError as error:
        early = "yet valid" in str(error) or "future" in str(error)
        raise Refused(Reason.NOT_YET if early else Reason.MALFORMED) from None
    expires = claims["exp"]
    # A number without a bound: JSON has integers that no float holds.
    if not 0 < expires < _TIME_MAX_S:
        raise Refused(Reason.MALFORMED)
    named = claims.get("jti")
    credential = named if isinstance(named, str) and len(named) <= CREDENTIAL_CHARACTERS_MAX else ""
    return Verified(token.signature.payload or b"", credential, float(expires), key.thumbprint)


def _check_audience(given: object, ours: Sequence[str]) -> None:
    """Refuse a token for others; one without an audience is for others, too."""
    named = [given] if isinstance(given, str) else given
    if not isinstance(named, list) or not any(isinstance(one, str) and one in ours for one in named):
        raise Refused(Reason.AUDIENCE)


_TIME_MAX_S: Final = 1 << 40
_REGISTRY: Final = JWSRegistry(strict_check_header=False)
_REGISTRY.max_header_length = 2_048  # some issuers put their certificates there
