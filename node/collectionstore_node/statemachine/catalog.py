"""The catalog: the collections, and the storage key of a reference.

A collection's ID is the revision of its creation. It is unique, because one command creates at most one collection.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from collectionstore_node.statemachine.codec import decode_own
from collectionstore_node.statemachine.commands import DocumentRef, Ref
from collectionstore_node.statemachine.keys import (
    CATALOG,
    bucket_prefix,
    collection_id_of,
    collection_key,
    documents_prefix,
    last_text,
    prefix_end,
)
from collectionstore_node.statemachine.view import Overlay, View


class Collection(msgspec.Struct, frozen=True, array_like=True):
    """Catalog record of a collection, stored under its name. Add fields at the end, with a default."""

    id: int
    """Revision of its creation."""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Collection)


def find_collection(view: View, name: str) -> Collection | None:
    """Return the collection called `name`, or None. Raises `InvariantViolated` if its record is corrupt."""
    data = view.get(collection_key(name))
    return None if data is None else decode_own(_decoder, data, "a catalog record")


def scan_collections(view: View, lo: bytes, hi: bytes) -> Iterator[tuple[str, Collection]]:
    """Yield name and record of the collections with keys in `[lo, hi)`, in order of name."""
    for key, data in view.scan(lo, hi):
        yield last_text(key, CATALOG), decode_own(_decoder, data, "a catalog record")


class Catalog:
    """The catalog as one batch reads and writes it. It caches lookups, so all its writes must go through it."""

    __slots__ = ("_buckets", "_collections", "_overlay")

    def __init__(self, overlay: Overlay) -> None:
        self._overlay = overlay
        self._collections: dict[str, bytes | None] = {}
        self._buckets: dict[str, bytes] = {}

    def key(self, ref: Ref) -> bytes | None:
        """Return the storage key of `ref`, or None if its collection does not exist."""
        if isinstance(ref, DocumentRef):
            documents = self._documents(ref.collection)
            return None if documents is None else documents + ref.id.encode()
        bucket = self._buckets.get(ref.bucket)
        if bucket is None:
            bucket = self._buckets[ref.bucket] = bucket_prefix(ref.bucket)
        return bucket + ref.key.encode()

    def known_key(self, ref: Ref) -> bytes | None:
        """Return the storage key of `ref` if that takes no read: the collection was looked up before, and exists."""
        if type(ref) is DocumentRef:
            documents = self._collections.get(ref.collection)
            return None if documents is None else documents + ref.id.encode()
        return self.key(ref)

    def create(self, name: str, revision: int) -> bool:
        """Create an empty collection; return False if it exists."""
        if self._documents(name) is not None:
            return False
        self._overlay.put(collection_key(name), _encoder.encode(Collection(revision)))
        self._collections[name] = documents_prefix(revision)
        return True

    def revision_of(self, name: str) -> int:
        """Return the revision at which the collection was created, 0 if it does not exist."""
        documents = self._documents(name)
        return 0 if documents is None else collection_id_of(documents)

    def drop(self, name: str) -> bool:
        """Drop the collection and its documents; return False if it does not exist."""
        documents = self._documents(name)
        if documents is None:
            return False
        # One range, whatever the number of documents. The ID in the keys is never reused, so a collection that is
        # created again under this name cannot see documents that are still on disk.
        self._overlay.drop_range(documents, prefix_end(documents))
        self._overlay.delete(collection_key(name))
        self._collections[name] = None
        return True

    def _documents(self, name: str) -> bytes | None:
        """Return the key prefix of the collection's documents, or None if it does not exist."""
        try:
            return self._collections[name]
        except KeyError:
            # A missing collection is cached too: then a batch of writes to it costs one read, not one per command.
            found = find_collection(self._overlay, name)
            prefix = None if found is None else documents_prefix(found.id)
            self._collections[name] = prefix
            return prefix
