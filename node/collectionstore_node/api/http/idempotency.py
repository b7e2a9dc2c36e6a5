"""The `Idempotency-Key` header (draft-ietf-httpapi-idempotency-key-header): it makes a write safe to repeat."""

from __future__ import annotations

import re
from typing import Final

from multidict import CIMultiDictProxy, istr

from collectionstore_node.api.http.problems import Problem

IDEMPOTENCY_KEY: Final = istr("Idempotency-Key")
REPLAYED: Final = b"Idempotency-Replayed: true\r\n"

_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")


def idempotency_key(headers: CIMultiDictProxy[str]) -> str | None:
    """Return the client's key for this request, or None. Raises `Problem`.

    The key is opaque: quotes around it, which the draft's structured field (RFC 8941) would have, are part of it.
    """
    key = headers.get(IDEMPOTENCY_KEY)
    if key is None or _KEY.fullmatch(key):
        return key
    raise Problem("invalid_idempotency_key", "an Idempotency-Key has 1-255 printable ASCII characters without spaces")
