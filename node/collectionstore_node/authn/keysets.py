"""JSON Web Key Sets (RFC 7517): the public keys of an issuer, by their IDs. Pure.

Taken are keys for signatures with public algorithms. A symmetric key is never taken: with one, whoever can check a
token can make one, and a public key used as one is the classical confusion.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, TypeAlias, cast

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, JWKRegistry, OKPKey, RSAKey

KEY_SET_BYTES_MAX: Final = 256 << 10
KEYS_MAX: Final = 64
KEY_ID_CHARACTERS_MAX: Final = 256
RSA_BITS_MIN: Final = 2_048
RSA_BITS_MAX: Final = 8_192
"""A larger one makes each check slow."""

_RSA: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_CURVES: Final = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}

PublicKey: TypeAlias = RSAKey | ECKey | OKPKey


class SigningKey(NamedTuple):
    """A key, the algorithms that it may be used with, and its thumbprint (RFC 7638)."""

    key: PublicKey
    algorithms: frozenset[str]
    thumbprint: str


class InvalidKeySet(ValueError):
    """It is no JWKS, or has no usable key; the text does not quote it."""


class KeySet(NamedTuple):
    """The keys of an issuer."""

    by_id: Mapping[str, SigningKey]
    """Those with an ID."""
    all: tuple[SigningKey, ...]

    def find(self, key_id: str | None, algorithm: str) -> SigningKey | None:
        """Return the key that a token names; one that names none means the only key for its algorithm.

        An ID is compared and nothing else: no file, URL or query is made of it.
        """
        if key_id is not None:
            found = self.by_id.get(key_id)
            return found if found is not None and algorithm in found.algorithms else None
        fitting = [one for one in self.all if algorithm in one.algorithms]
        return fitting[0] if len(fitting) == 1 else None

    @property
    def thumbprints(self) -> frozenset[str]:
        """Those of all keys."""
        return frozenset(one.thumbprint for one in self.all)


NO_KEYS: Final = KeySet({}, ())


def parse_key_set(text: bytes) -> KeySet:
    """Return the keys in a JWKS; those for other purposes are left out. Raises `InvalidKeySet`."""
    if len(text) > KEY_SET_BYTES_MAX:
        raise InvalidKeySet(f"a key set has at most {KEY_SET_BYTES_MAX} bytes")
    try:
        decoded = json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidKeySet("it is not JSON") from None
    given = decoded.get("keys") if isinstance(decoded, dict) else None
    if not isinstance(given, list):
        raise InvalidKeySet("it is no object with a list called keys")
    if len(given) > KEYS_MAX:
        raise InvalidKeySet(f"a key set has at most {KEYS_MAX} keys")
    keys: list[SigningKey] = []
    by_id: dict[str, SigningKey] = {}
    for one in given:
        found = _key(one)
        if found is None:
            continue
        keys.append(found)
        key_id = one.get("kid")
        if not isinstance(key_id, str):
            continue
        if key_id in by_id and by_id[key_id].thumbprint != found.thumbprint:
            raise InvalidKeySet("two keys have the same ID")
        by_id[key_id] = found
    if not keys:
        raise InvalidKeySet("it has no public key for signatures that can be used here")
    return KeySet(by_id, tuple(keys))


def _key(given: Any) -> SigningKey | None:
    """Return a key, None if it is for another purpose or cannot be used here."""
    if not isinstance(given, dict) or given.get("kty") not in ("RSA", "EC", "OKP") or given.get("use", "sig") != "sig":
        return None
    # The public part alone: a set that holds a private key by mistake must not bring it into this process.
    public: dict[str, str] = {
        name: value for name, value in given.items() if name in _PUBLIC and isinstance(value, str)
    }
    if len(public.get("kid", "")) > KEY_ID_CHARACTERS_MAX:
        return None
    if public["kty"] == "RSA" and not RSA_BITS_MIN <= 6 * len(public.get("n", "")) <= RSA_BITS_MAX + 64:
        return None  # BEFORE it is imported, which costs by its size; its own bits are looked at below
    try:
        key = cast(PublicKey, JWKRegistry.import_key({**public}))
        algorithms = _algorithms(key, public)
        thumbprint = key.thumbprint()
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    named = given.get("alg")
    if named == "Ed25519":
        named = "EdDSA"  # the same (RFC 9864)
    if named is not None:
        algorithms &= {named} if isinstance(named, str) else set()
    return SigningKey(key, algorithms, thumbprint) if algorithms else None


_PUBLIC: Final = frozenset(("kty", "kid", "n", "e", "crv", "x", "y"))


def _algorithms(key: PublicKey, public: Mapping[str, str]) -> frozenset[str]:
    if isinstance(key, RSAKey):
        return frozenset(_RSA) if RSA_BITS_MIN <= key.raw_value.key_size <= RSA_BITS_MAX else frozenset()
    if isinstance(key, ECKey):
        name = _CURVES.get(public.get("crv", ""))
        return frozenset((name,)) if name is not None else frozenset()
    return frozenset(("EdDSA",)) if public.get("crv") == "Ed25519" else frozenset()
