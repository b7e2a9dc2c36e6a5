"""Bearer tokens of the store: `cst_<id>_<secret>`. The ID is public; of the secret only the SHA-256 is stored."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Final, NamedTuple

TOKEN_PREFIX: Final = "cst_"  # the beginning of all of them
ID_BYTES: Final = 8
SECRET_BYTES: Final = 32
TOKEN_CHARACTERS_MAX: Final = 256
_TOKEN: Final = re.compile(r"cst_(?P<id>[a-z0-9]{8,64})_(?P<secret>[A-Za-z0-9_-]{32,128})")


class GivenToken(NamedTuple):
    """What a client shows: the ID of a token, and the SHA-256 of its secret."""

    id: str
    digest: bytes


class MadeToken(NamedTuple):
    """A new token; `text` is shown once and kept nowhere."""

    id: str
    text: str
    digest: bytes


def make_token(id_bytes: bytes, secret_bytes: bytes) -> MadeToken:
    """Return the token of random bytes: ID_BYTES and SECRET_BYTES of them."""
    return new_secret(id_bytes.hex(), secret_bytes)


def new_secret(token_id: str, secret_bytes: bytes) -> MadeToken:
    """Return another secret for the token with this ID."""
    secret = base64.urlsafe_b64encode(secret_bytes).decode().rstrip("=")
    return MadeToken(token_id, f"{TOKEN_PREFIX}{token_id}_{secret}", digest_of(secret))


def digest_of(secret: str) -> bytes:
    """Return what is stored of a secret. It is random and long: one pass of SHA-256 cannot be undone by guessing."""
    return hashlib.sha256(secret.encode()).digest()


def parse_token(text: str) -> GivenToken | None:
    """Return what a client shows; None if `text` is no token of the store."""
    if len(text) > TOKEN_CHARACTERS_MAX or (matched := _TOKEN.fullmatch(text)) is None:
        return None
    return GivenToken(matched["id"], digest_of(matched["secret"]))
