"""The key by which members sign what clients hand back to them: cursors of pages, and resume tokens.

Part of the replicated state, so that any member takes what another one has signed, after any restart. The leader that
raises the cluster to level `CHANGES` draws it. A restored cluster has the key of the old one, so the ID of the cluster
is signed as well.
"""

from __future__ import annotations

import hmac
from typing import Final

from collectionstore_node.statemachine.header import Header
from collectionstore_node.statemachine.keys import TOKEN_KEY
from collectionstore_node.statemachine.levels import CHANGES
from collectionstore_node.statemachine.view import Overlay, View

TOKEN_KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 16
"""Of an HMAC with SHA-256, cut: as many bits as a forger may try (RFC 2104, section 5)."""


def take_token_key(overlay: Overlay, header: Header, drawn: bytes) -> None:
    """Store the key that an entry has brought, if it is one and there is none."""
    if header.level >= CHANGES and len(drawn) == TOKEN_KEY_BYTES and overlay.get(TOKEN_KEY) is None:
        overlay.put(TOKEN_KEY, drawn)


def read_token_key(view: View, cluster_id: str) -> bytes:
    """Return the key for what the members of a cluster sign; without one in the state, it is no secret."""
    return hmac.digest(view.get(TOKEN_KEY) or b"", cluster_id.encode(), "sha256")


def signature(key: bytes, data: bytes) -> bytes:
    """Return the signature of `data`."""
    return hmac.digest(key, data, "sha256")[:SIGNATURE_BYTES]


def is_signed(key: bytes, data: bytes, given: bytes) -> bool:
    """Whether `given` is the signature of `data`; in a time that does not tell how much of it is right."""
    return hmac.compare_digest(signature(key, data), given)
