"""The indexes of collections as they are stored: definition, state, statistics."""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterator
from typing import Final

import msgspec

from collectionstore_node.errors import InvariantViolated
from collectionstore_node.indexes.definition import Definition
from collectionstore_node.statemachine.codec import decode_own
from collectionstore_node.statemachine.keys import (
    INDEX_BUILDS,
    INDEX_STATISTICS,
    indexes_key,
    prefix_end,
    statistics_key,
)
from collectionstore_node.statemachine.view import View


class IndexState(enum.IntEnum):
    """What an index can be used for."""

    BUILDING = 0
    """It has the entries of the documents up to `Index.after`, and every write keeps them in step."""
    READY = 1
    """It has all entries: queries may use it."""
    FAILED = 2
    """It could not be built, and has no entries; `Index.reason` says why."""


class Index(msgspec.Struct, frozen=True, array_like=True):
    """Catalog record of an index. Add fields at the end, with a default."""

    id: int
    """Revision of its creation."""
    definition: Definition
    state: IndexState = IndexState.BUILDING
    after: str | None = None
    """While it is being built: the ID of the last document that has entries."""
    passed: int = 0
    """How many documents the build has passed."""
    reason: str = ""
    """Why it failed, for people; holds no values."""
    documents: tuple[str, ...] = ()
    """The IDs of the documents on account of which it failed."""


class Statistics(msgspec.Struct, array_like=True):
    """What is counted of an index, exactly, while it changes. Planners read it."""

    entries: int = 0
    documents: int = 0
    """Documents with entries."""
    multikey: int = 0
    """Those of them in which a path meets an array."""
    long: int = 0
    """Those of them with a key that was cut."""
    key_bytes: int = 0
    """Bytes of the fields' keys of all entries."""


_PACKED: Final = struct.Struct(">5Q")
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(tuple[Index, ...])


def encode_indexes(indexes: tuple[Index, ...]) -> bytes:
    """Return the record of the indexes of a collection."""
    return _encoder.encode(indexes)


def decode_indexes(data: bytes) -> tuple[Index, ...]:
    """Return the indexes in a record. Raises `InvariantViolated` for a corrupt one."""
    return decode_own(_decoder, data, "the indexes of a collection")


def read_indexes(view: View, collection_id: int) -> tuple[Index, ...]:
    """Return the indexes of a collection, in order of creation. Raises `InvariantViolated` for a corrupt record."""
    data = view.get(indexes_key(collection_id))
    return () if data is None else decode_indexes(data)


def encode_statistics(statistics: Statistics) -> bytes:
    """Return the record of statistics."""
    return _PACKED.pack(
        statistics.entries, statistics.documents, statistics.multikey, statistics.long, statistics.key_bytes
    )


def read_statistics(view: View, collection_id: int, index_id: int) -> Statistics:
    """Return the statistics of an index; all zero before its first entry."""
    data = view.get(statistics_key(collection_id, index_id))
    if data is None:
        return Statistics()
    if len(data) != _PACKED.size:
        raise InvariantViolated("the statistics of an index cannot be decoded")
    return Statistics(*_PACKED.unpack(data))


def collections_with_builds(view: View) -> Iterator[str]:
    """Yield the names of the collections that have an index that is being built."""
    return (name.decode() for _, name in view.scan(INDEX_BUILDS, prefix_end(INDEX_BUILDS)))


def entries_of_all(view: View) -> int:
    """Return the number of entries of all indexes."""
    return sum(_PACKED.unpack(data)[0] for _, data in view.scan(INDEX_STATISTICS, prefix_end(INDEX_STATISTICS)))
