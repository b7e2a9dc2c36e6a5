"""An issuer of JWTs for tests: keys, tokens of every kind, and its key set."""

from __future__ import annotations

import base64
import json
from typing import Any

from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from collectionstore_node.authn.jwts import Demands

URL = "https://issuer.example"
AUDIENCE = "collectionstore"
NOW = 1_700_000_000
DEMANDS = Demands(URL, (AUDIENCE,), ("RS256", "ES256", "EdDSA"), 30)
RSA = RSAKey.generate_key(2048, {"kid": "rsa"})
EC = ECKey.generate_key("P-256", {"kid": "ec"})
ED = OKPKey.generate_key("Ed25519", {"kid": "ed"})
OTHER = RSAKey.generate_key(2048, {"kid": "rsa"})
"""Of somebody else, under the same ID."""


def claims(**given: Any) -> dict[str, Any]:
    """Return valid claims, with others; None leaves one out."""
    found = {"iss": URL, "aud": AUDIENCE, "sub": "ada", "iat": NOW - 10, "exp": NOW + 600} | given
    return {name: value for name, value in found.items() if value is not None}


def token(given: dict[str, Any] | None = None, key: Any = RSA, algorithm: str = "RS256", **header: Any) -> str:
    """Return a token with these claims, signed by `key`."""
    fields = {"kid": key.kid, **header}
    return signed({"alg": algorithm, **{k: v for k, v in fields.items() if v is not None}}, given or claims(), key)


def signed(header: dict[str, Any], payload: Any, key: Any) -> str:
    """Return a token with exactly this header, signed by its algorithm."""
    first, second = encoded(header), encoded(payload)
    signature = JWSRegistry.algorithms[header["alg"]].sign(f"{first}.{second}".encode(), key)
    return f"{first}.{second}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def unsigned(header: dict[str, Any], payload: Any, signature: str = "") -> str:
    """Return a token that nobody has signed."""
    return f"{encoded(header)}.{encoded(payload)}.{signature}"


def encoded(value: Any) -> str:
    """Return JSON in base64url."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def key_set(*keys: Any, **more: Any) -> bytes:
    """Return the JWKS of the public halves of keys."""
    return json.dumps({"keys": [one.as_dict(private=False) | more for one in keys or (RSA, EC, ED)]}).encode()
