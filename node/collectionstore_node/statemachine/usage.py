"""What the documents of a collection take, counted exactly where it has a quota; from level `CHANGES` on.

A collection without a quota has no record, and costs nothing. One that gets a quota while it has documents is counted
by steps of a bounded cost (`usage_commands`), in the order of IDs: as with an index that is being built, a write behind
the point that is reached keeps the count in step, and one ahead of it is left to a later step. Until all are counted
the quota refuses nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from collectionstore_node.statemachine.codec import decode_own
from collectionstore_node.statemachine.keys import USAGE_COUNTS, prefix_end, usage_key
from collectionstore_node.statemachine.view import View


class Usage(msgspec.Struct, array_like=True):
    """What is counted. Add fields at the end, with a default."""

    documents: int = 0
    size_bytes: int = 0
    """Bytes of the documents' texts, as they are stored: compact JSON."""
    counting: bool = False
    """Whether documents are still being counted."""
    after: str = ""
    """While they are: the ID of the last one that was; empty before the first."""

    def maintains(self, document_id: str) -> bool:
        """Whether a write of the document changes the count."""
        return not self.counting or document_id <= self.after


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Usage)


def encode_usage(usage: Usage) -> bytes:
    """Return the record of a usage."""
    return _encoder.encode(usage)


def read_usage(view: View, collection_id: int) -> Usage | None:
    """Return what is counted of a collection, None if it has no quota. Raises `InvariantViolated` if it is corrupt."""
    data = view.get(usage_key(collection_id))
    return None if data is None else decode_own(_decoder, data, "the usage of a collection")


def collections_counted(view: View) -> Iterator[str]:
    """Yield the names of the collections whose documents are being counted."""
    return (name.decode() for _, name in view.scan(USAGE_COUNTS, prefix_end(USAGE_COUNTS)))
