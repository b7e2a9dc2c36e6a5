"""The catalog: the collections, and the storage key of a reference.

A collection's ID is the revision of its creation. It is unique, because one command creates at most one collection.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from collectionstore_node.errors import InvariantViolated
from collectionstore_node.indexes.entries import entries_of
from collectionstore_node.schemas import CompiledSchema
from collectionstore_node.statemachine.codec import decode_own
from collectionstore_node.statemachine.commands import Code, DocumentRef, Expiring, Ref
from collectionstore_node.statemachine.expiry_queue import Deadlines
from collectionstore_node.statemachine.history import ChangeKind, Row
from collectionstore_node.statemachine.index_catalog import (
    Index,
    IndexState,
    Statistics,
    encode_indexes,
    encode_statistics,
    read_indexes,
    read_statistics,
)
from collectionstore_node.statemachine.keys import (
    CATALOG,
    bucket_prefix,
    builds_key,
    collection_id_of,
    collection_key,
    documents_prefix,
    index_prefix,
    indexes_key,
    last_text,
    options_key,
    prefix_end,
    sequence_key,
    statistics_key,
    usage_count_key,
    usage_key,
)
from collectionstore_node.statemachine.options import (
    DEFAULTS,
    CollectionOptions,
    Configured,
    encode_options,
    read_options,
)
from collectionstore_node.statemachine.restrictions import Restrictions
from collectionstore_node.statemachine.stored import Expiry
from collectionstore_node.statemachine.usage import Usage, encode_usage, read_usage
from collectionstore_node.statemachine.view import Overlay, View


class Collection(msgspec.Struct, frozen=True, array_like=True):
    """Catalog record of a collection, stored under its name. Add fields at the end, with a default."""

    id: int
    """Revision of its creation."""
    indexed: bool = False
    """Whether it has indexes (`index_catalog`). Stored if it has, so that others are as at earlier levels."""
    configured: bool = False
    """Whether it has a record of options (`options`). Stored if it has, for the same reason."""

    def stored(self) -> object:
        """Return what is encoded of it."""
        if self.configured:
            return self
        return (self.id, True) if self.indexed else (self.id,)


class OpenIndex:
    """An index as one batch reads and writes it."""

    __slots__ = ("collection_id", "enter", "index", "prefix", "statistics")

    def __init__(self, view: View, collection_id: int, index: Index) -> None:
        self.collection_id = collection_id
        self.index = index
        self.prefix = index_prefix(collection_id, index.id)
        self.enter = entries_of(index.definition)
        self.statistics = read_statistics(view, collection_id, index.id)

    def maintains(self, document_id: str) -> bool:
        """Whether a write of the document changes entries; while the index is built, what is ahead is left to that."""
        state = self.index.state
        if state is IndexState.BUILDING:
            after = self.index.after
            return after is not None and document_id <= after
        return state is IndexState.READY


class OpenOptions:
    """The options of a collection as one batch uses them."""

    __slots__ = ("collection_id", "compiled", "options", "revision")

    def __init__(self, collection_id: int, configured: Configured) -> None:
        self.collection_id = collection_id
        self.options = configured.options
        self.revision = configured.revision
        self.compiled: CompiledSchema | None = None
        """Its schema, once it was needed."""


class OpenUsage:
    """The quota of a collection, and what its documents take, as one batch uses them."""

    __slots__ = ("collection_id", "max_bytes", "max_documents", "record")

    def __init__(self, collection_id: int, options: CollectionOptions, record: Usage) -> None:
        self.collection_id = collection_id
        self.max_documents = options.max_documents
        self.max_bytes = options.max_bytes
        self.record = record


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

    __slots__ = (
        "_buckets",
        "_changed",
        "_collections",
        "_overlay",
        "_used",
        "changes",
        "configured",
        "deadlines",
        "indexed",
        "metered",
        "restrictions",
        "revision",
    )

    def __init__(self, overlay: Overlay, changes: list[Row] | None = None) -> None:
        self._overlay = overlay
        self.changes = changes
        """What the batch has changed so far, for the history; None if none is kept."""
        self.deadlines = Deadlines(overlay)
        """What expires; `open` it with the header."""
        self.revision = 0
        """Of the command at hand; a put that meets no indexes leaves it as it is."""
        self.indexed: dict[str, tuple[OpenIndex, ...]] = {}
        """The indexes of those collections that were looked up and have some."""
        self.configured: dict[str, OpenOptions] = {}
        """The options of those collections that were looked up and have some."""
        self.restrictions: Restrictions | None = None
        """What the caller of the command at hand may see and write; None for everything."""
        self.metered: dict[str, OpenUsage] = {}
        """The quotas of those collections that were looked up and have one."""
        self._used: dict[int, OpenUsage] = {}
        self._changed: dict[int, OpenIndex] = {}
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
        record = _encoder.encode(Collection(revision).stored())
        self._overlay.put(collection_key(name), record)
        self.note(ChangeKind.CREATE_COLLECTION, name, None, record)
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
        if self.changes is not None:
            self.note(ChangeKind.DROP_COLLECTION, name, self._overlay.get(collection_key(name)), None)
        # One range, whatever the number of documents. The ID in the keys is never reused, so a collection that is
        # created again under this name cannot see documents that are still on disk.
        self._overlay.drop_range(documents, prefix_end(documents))
        self._overlay.delete(collection_key(name))
        self._collections[name] = None
        indexes = self.indexed.pop(name, ())
        if indexes:
            number = collection_id_of(documents)
            for one in indexes:
                self._clear(one)
            self._overlay.delete(indexes_key(number))
            self._overlay.delete(builds_key(number))
        if self.configured.pop(name, None) is not None:
            number = collection_id_of(documents)
            self._overlay.delete(options_key(number))
            self._overlay.delete(sequence_key(number))
            self._forget_usage(name)
        return True

    def documents_of(self, name: str) -> bytes | None:
        """Return the key prefix of the collection's documents, or None if it does not exist."""
        return self._documents(name)

    def set_indexes(self, name: str, indexes: tuple[Index, ...]) -> None:
        """Store the indexes of an existing collection; entries and statistics of those that are left out go."""
        documents = self._documents(name)
        if documents is None:
            raise InvariantViolated("indexes of a collection that does not exist")
        overlay, number = self._overlay, collection_id_of(documents)
        before = {one.index.id: one for one in self.indexed.pop(name, ())}
        was_building = any(one.index.state is IndexState.BUILDING for one in before.values())
        kept = {one.id for one in indexes}
        for known in before.values():
            if known.index.id not in kept:
                self._clear(known)
        if bool(before) != bool(indexes):
            self._record(name, number, indexed=bool(indexes))
        if not indexes:
            overlay.delete(indexes_key(number))
        else:
            overlay.put(indexes_key(number), encode_indexes(indexes))
            self.indexed[name] = tuple(self._opened(number, one, before.get(one.id)) for one in indexes)
        building = any(one.state is IndexState.BUILDING for one in indexes)
        if building and not was_building:
            overlay.put(builds_key(number), name.encode())
        elif was_building and not building:
            overlay.delete(builds_key(number))

    def options_of(self, name: str) -> Configured:
        """Return the options of an existing collection, and when they were set: at its creation, if never."""
        known = self.configured.get(name)
        return (
            Configured(DEFAULTS, self.revision_of(name)) if known is None else Configured(known.options, known.revision)
        )

    def set_options(self, name: str, configured: Configured, *, position: int = 0) -> None:
        """Store the options of an existing collection; `position` is that of the change within its command."""
        documents = self._documents(name)
        if documents is None:
            raise InvariantViolated("options of a collection that does not exist")
        number = collection_id_of(documents)
        known = self.configured.get(name)
        before = None if known is None else encode_options(Configured(known.options, known.revision))
        record = encode_options(configured)
        self.configured[name] = OpenOptions(number, configured)
        if known is None:
            self._record(name, number, indexed=name in self.indexed)
        self._overlay.put(options_key(number), record)
        # A collection that the same command has made is empty, and counted.
        self._meter(name, number, configured.options, empty=position > 0)
        self.note(ChangeKind.CONFIGURE_COLLECTION, name, before, record, position=position)

    def expiry(
        self, ref: Ref, expiring: Expiring | None, previous: bytes | None, *, attached: int = 0
    ) -> Expiry | Code | None:
        """Return until when what is written now is there: as the command says, else as its collection does.

        None if neither says it, and a code for why it cannot be. `previous` and `attached` as for `Deadlines.expiry`.
        """
        if expiring is not None:
            return self.deadlines.expiry(expiring.ttl_ms, expiring.lease, previous, attached=attached)
        found = self.configured.get(ref.collection) if isinstance(ref, DocumentRef) else None
        if found is None or not found.options.ttl_ms:
            return None
        return Expiry(self.deadlines.deadline_ms(found.options.ttl_ms))

    def counted(self, one: OpenIndex) -> None:
        """Note that the statistics of an index have changed: they are stored once, at the end of the batch."""
        self._changed[one.index.id] = one

    def clear_entries(self, one: OpenIndex) -> None:
        """Remove all entries of an index, and what was counted of them."""
        self._clear(one)
        one.statistics = Statistics()

    def note(
        self, kind: ChangeKind, name: str, before: bytes | None, after: bytes | None, *, position: int = 0
    ) -> None:
        """Keep a change of a collection as a whole, with the records before and behind it, in the history."""
        if self.changes is not None:
            self.changes.append((self.revision, position, int(kind), None, name, before, after))

    def finish(self) -> None:
        """Store what was counted. At the end of every batch."""
        for one in self._changed.values():
            self._overlay.put(statistics_key(one.collection_id, one.index.id), encode_statistics(one.statistics))
        for used in self._used.values():
            self._overlay.put(usage_key(used.collection_id), encode_usage(used.record))
        self.deadlines.finish()

    def used(self, one: OpenUsage) -> None:
        """Note that a usage has changed: it is stored once, at the end of the batch."""
        self._used[one.collection_id] = one

    def counted_all(self, one: OpenUsage) -> None:
        """Note that all documents of a collection are counted."""
        self._overlay.delete(usage_count_key(one.collection_id))
        self.used(one)

    def _meter(self, name: str, number: int, options: CollectionOptions, *, empty: bool) -> None:
        """Begin to count the documents of a collection, go on with other quotas, or end it, as its options say."""
        known = self.metered.get(name)
        if not options.metered:
            self._forget_usage(name)
            return
        usage = Usage(counting=not empty) if known is None else known.record
        self.metered[name] = opened = OpenUsage(number, options, usage)
        self.used(opened)
        if known is None and not empty:
            self._overlay.put(usage_count_key(number), name.encode())

    def _open_options(self, name: str, number: int) -> None:
        known = self.configured[name] = OpenOptions(number, read_options(self._overlay, number))
        if known.options.metered:
            usage = read_usage(self._overlay, number)
            if usage is None:
                raise InvariantViolated("a collection with a quota has no usage")
            self.metered[name] = OpenUsage(number, known.options, usage)

    def _forget_usage(self, name: str) -> None:
        known = self.metered.pop(name, None)
        if known is None:
            return
        self._used.pop(known.collection_id, None)
        self._overlay.delete(usage_key(known.collection_id))
        if known.record.counting:
            self._overlay.delete(usage_count_key(known.collection_id))

    def _record(self, name: str, number: int, *, indexed: bool) -> None:
        record = Collection(number, indexed, name in self.configured)
        self._overlay.put(collection_key(name), _encoder.encode(record.stored()))

    def _clear(self, one: OpenIndex) -> None:
        self._changed.pop(one.index.id, None)
        self._overlay.drop_range(one.prefix, prefix_end(one.prefix))
        self._overlay.delete(statistics_key(one.collection_id, one.index.id))

    def _opened(self, collection_id: int, index: Index, known: OpenIndex | None) -> OpenIndex:
        if known is None:
            return OpenIndex(self._overlay, collection_id, index)
        known.index = index
        return known

    def _documents(self, name: str) -> bytes | None:
        """Return the key prefix of the collection's documents, or None if it does not exist."""
        try:
            return self._collections[name]
        except KeyError:
            # A missing collection is cached too: then a batch of writes to it costs one read, not one per command.
            found = find_collection(self._overlay, name)
            if found is not None and found.indexed:
                self.indexed[name] = tuple(
                    OpenIndex(self._overlay, found.id, one) for one in read_indexes(self._overlay, found.id)
                )
            if found is not None and found.configured:
                self._open_options(name, found.id)
            prefix = None if found is None else documents_prefix(found.id)
            self._collections[name] = prefix
            return prefix
