"""Bearer tokens of the store: `cst_<id>_<secret>`. Pure.

The ID is public: it is in lists and logs, and finds the record. The secret has 256 random bits, so a plain SHA-256 of
it can be stored: no dictionary reaches it, and a check costs a microsecond. The prefix lets scanners of source code
find leaked tokens.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable
from typing import Final, NamedTuple

PREFIX: Final = "cst_"
ID_BYTES: Final = 8
SECRET_BYTES: Final = 32
DIGEST_BYTES: Final = 32

_TOKEN: Final = re.compile(r"cst_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")


class NewToken(NamedTuple):
    """A token that was made: `text` is shown once, `digest` is stored."""

    id: str
    text: str
    digest: bytes


class GivenToken(NamedTuple):
    """A token that a client shows."""

    id: str
    secret: str


def new_token(random_bytes: Callable[[int], bytes]) -> NewToken:
    """Return a new token; `random_bytes` returns so many bytes that cannot be guessed, as `os.urandom` does."""
    token_id = random_bytes(ID_BYTES).hex()
    secret = base64.urlsafe_b64encode(random_bytes(SECRET_BYTES)).rstrip(b"=").decode()
    return NewToken(token_id, f"{PREFIX}{token_id}_{secret}", digest_of(secret))


def parse_token(text: str) -> GivenToken | None:
    """Return the parts of a token, None if `text` has another form."""
    found = _TOKEN.fullmatch(text)
    return None if found is None else GivenToken(found[1], found[2])


def digest_of(secret: str) -> bytes:
    """Return what is stored of a secret: its SHA-256."""
    return hashlib.sha256(secret.encode()).digest()


def matches(given: GivenToken, digest: bytes) -> bool:
    """Return whether the secret is that of a stored digest, in constant time."""
    return hmac.compare_digest(digest_of(given.secret), digest)
