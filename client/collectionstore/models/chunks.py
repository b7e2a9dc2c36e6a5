"""Large values as chunks: a manifest under the key, chunks beside it."""

from __future__ import annotations

from typing import Final

import msgspec

from collectionstore.errors import CorruptValue

CHUNK_BYTES: Final = 512 << 10
CHUNKS: Final = "application/vnd.collectionstore.chunks+json"
"""The content type of a manifest."""


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the chunks of a value are; hashes are SHA-256 in hexadecimal digits."""

    upload: str
    size: int
    sha256: str
    chunks: list[str]
    content_type: str


def chunk_key(key: str, upload: str, number: int) -> str:
    """Return the key of a chunk. Chunks of one upload are never those of another."""
    return f"{key}.chunks/{upload}/{number:06}"


def pieces(value: bytes) -> list[bytes]:
    """Return a value cut into chunks."""
    return [value[at : at + CHUNK_BYTES] for at in range(0, len(value), CHUNK_BYTES)]


def read_manifest(content: bytes) -> Manifest:
    """Return a manifest. Raises CorruptValue."""
    try:
        return msgspec.json.decode(content, type=Manifest)
    except msgspec.DecodeError:
        raise CorruptValue("the manifest of the value cannot be read") from None
