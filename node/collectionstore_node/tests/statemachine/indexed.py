"""Collections with indexes for tests: commands, builds, and what the entries in a state must be."""

from __future__ import annotations

from typing import Any

import orjson

from collectionstore_node.indexes.definition import Definition, parse_definition
from collectionstore_node.indexes.entries import entries_of, stored_entry
from collectionstore_node.statemachine.apply import apply_batch
from collectionstore_node.statemachine.catalog import find_collection, scan_collections
from collectionstore_node.statemachine.commands import (
    Action,
    BuildIndex,
    Command,
    CreateIndex,
    DocumentRef,
    Outcome,
    Put,
    encode_batch,
)
from collectionstore_node.statemachine.index_catalog import Index, IndexState, read_indexes, read_statistics
from collectionstore_node.statemachine.keys import (
    CATALOG,
    INDEX_BUILDS,
    INDEX_ENTRIES,
    INDEX_STATISTICS,
    INDEXES,
    documents_prefix,
    index_prefix,
    last_text,
    prefix_end,
    statistics_key,
)
from collectionstore_node.statemachine.levels import ENGINE
from collectionstore_node.statemachine.stored import decode_stored
from collectionstore_node.statemachine.view import Overlay, View
from collectionstore_node.tests.statemachine.memory_view import MemoryView


def defined(name: str = "one", fields: dict[str, int] | None = None, **members: Any) -> Definition:
    """Return a definition, by default of the field `a`."""
    return parse_definition({"name": name, "fields": fields or {"a": 1}} | members)


def put(document_id: str, document: Any, collection: str = "c", **members: Any) -> Put:
    """Return the write of a document."""
    return Put(DocumentRef(collection, document_id), orjson.dumps(document), **members)


def run(view: MemoryView, *actions: Action, level: int = ENGINE) -> list[Outcome]:
    """Apply actions as one entry."""
    overlay = Overlay(view)
    outcomes = apply_batch(overlay, encode_batch(0, [Command(one) for one in actions], level), b"")
    view.commit(overlay.writes)
    return outcomes


def indexes_of(view: View, collection: str = "c") -> tuple[Index, ...]:
    """Return the indexes of a collection."""
    found = find_collection(view, collection)
    return () if found is None else read_indexes(view, found.id)


def next_steps(view: View, collection: str = "c") -> list[BuildIndex]:
    """Return the next step of each index that is being built."""
    return [
        BuildIndex(collection, one.id, one.after)
        for one in indexes_of(view, collection)
        if one.state is IndexState.BUILDING
    ]


def build(view: MemoryView, collection: str = "c") -> int:
    """Build all indexes to their end, and return how many steps that took."""
    count = 0
    while steps := next_steps(view, collection):
        run(view, *steps)
        count += len(steps)
    return count


def create(view: MemoryView, *definitions: Definition, collection: str = "c") -> None:
    """Create indexes and build them."""
    run(view, *(CreateIndex(collection, one) for one in definitions))
    build(view, collection)


def check(view: View) -> None:
    """Assert that what is stored of indexes is what the documents of the state make of them, and nothing else."""
    entries = entries_wanted(view)
    assert dict(view.scan(INDEX_ENTRIES, prefix_end(INDEX_ENTRIES))) == entries
    known = {
        (collection.id, one.id)
        for _, collection in scan_collections(view, CATALOG, prefix_end(CATALOG))
        for one in read_indexes(view, collection.id)
    }
    counted = {key for key, _ in view.scan(INDEX_STATISTICS, prefix_end(INDEX_STATISTICS))}
    assert counted <= {statistics_key(*one) for one in known}
    assert len(list(view.scan(INDEXES, prefix_end(INDEXES)))) == len({number for number, _ in known})


def entries_wanted(view: View) -> dict[bytes, bytes]:
    """Return the entries that the documents make; assert that records and statistics of the indexes fit them."""
    entries: dict[bytes, bytes] = {}
    for name, collection in scan_collections(view, CATALOG, prefix_end(CATALOG)):
        indexes = read_indexes(view, collection.id)
        assert collection.indexed == bool(indexes)
        building = [one for one in indexes if one.state is IndexState.BUILDING]
        assert view.get(INDEX_BUILDS + collection.id.to_bytes(8)) == (name.encode() if building else None)
        for index in indexes:
            found = _entries(view, collection.id, index)
            assert not entries.keys() & found.keys()
            entries |= found
    return entries


def _entries(view: View, collection_id: int, index: Index) -> dict[bytes, bytes]:
    prefix, documents = index_prefix(collection_id, index.id), documents_prefix(collection_id)
    found: dict[bytes, bytes] = {}
    count = multikey = long = size = made = 0
    for key, record in view.scan(documents, prefix_end(documents)):
        document_id, stored = last_text(key, documents), decode_stored(record)
        behind = index.state is IndexState.BUILDING and (index.after is None or document_id > index.after)
        if behind or index.state is IndexState.FAILED:
            continue
        new = entries_of(index.definition)(orjson.loads(stored.value))
        count += bool(new.keys)
        multikey += new.multikey
        long += new.long
        for one in new.keys:
            entry, value = stored_entry(
                prefix, one, document_id.encode(), new.shape, stored.revision, unique=index.definition.unique
            )
            assert entry not in found, "two documents have the same values in a unique index"
            found[entry] = value
            size += len(one)
            made += 1
    statistics = read_statistics(view, collection_id, index.id)
    assert (statistics.entries, statistics.documents, statistics.multikey, statistics.long, statistics.key_bytes) == (
        made,
        count,
        multikey,
        long,
        size,
    )
    return found
