"""The `Idempotency-Key` header (draft-ietf-httpapi-idempotency-key-header): it makes a write safe to repeat."""

from __future__ import annotations

from typing import Final

from multidict import CIMultiDictProxy, istr

from collectionstore_node.api.http.problems import Problem
from collectionstore_node.service.operations import IDEMPOTENCY_KEY as KEY

IDEMPOTENCY_KEY: Final = istr("Idempotency-Key")
REPLAYED: Final = b"Idempotency-Replayed: true\r\n"


def idempotency_key(headers: CIMultiDictProxy[str]) -> str | None:
    """Return the client's key for this request, or None. Raises `Problem`.

    The key is opaque: quotes around it, which the draft's structured field (RFC 8941) would have, are part of it.
    """
    key = headers.get(IDEMPOTENCY_KEY)
    if key is None:
        return None
    # Two keys name two requests. The first must not win: a proxy that adds one would decide what runs once.
    if len(headers.getall(IDEMPOTENCY_KEY)) > 1:
        raise Problem("invalid_idempotency_key", "there are several Idempotency-Key headers; send one")
    if KEY.fullmatch(key):
        return key
    raise Problem("invalid_idempotency_key", "an Idempotency-Key has 1-255 printable ASCII characters without spaces")
