"""Creating, building and dropping indexes.

An index is created empty, and built by steps of a bounded cost, each an entry of the log: a step makes the entries of
the next documents in the order of IDs. How far the build has got is part of the state, so any leader continues it,
after any restart and from any snapshot. Writes of documents behind that point keep their entries in step from the first
step on (`indexing`); those ahead of it are met by a later step. The step that finds no more documents makes the index
ready.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from collectionstore_node.indexes.definition import INDEXES_MAX, definition_violation
from collectionstore_node.indexes.entries import NO_ENTRIES, TooManyEntries, document_id_in
from collectionstore_node.statemachine.catalog import Catalog, OpenIndex
from collectionstore_node.statemachine.commands import BuildIndex, Code, CreateIndex, DocumentRef, DropIndex, Outcome
from collectionstore_node.statemachine.costs import (
    BUILD_BYTES,
    BUILD_DOCUMENTS,
    BUILD_ENTRIES,
    INDEX_ENTRY_COST_BYTES,
    INDEX_VALUE_COST_BYTES,
    READ_COST_BYTES,
)
from collectionstore_node.statemachine.history import ChangeKind
from collectionstore_node.statemachine.index_catalog import Index, IndexState, encode_indexes
from collectionstore_node.statemachine.indexing import count, document_of, holder_expired, live, stored_entries
from collectionstore_node.statemachine.keys import last_text, prefix_end, successor
from collectionstore_node.statemachine.view import Overlay

UNIQUE_REASON: Final = "two documents have the same values"


def create_index(catalog: Catalog, create: CreateIndex, revision: int) -> Outcome:
    """Create an index, which is then built; refused as `CreateIndex` says."""
    if catalog.documents_of(create.collection) is None:
        return Outcome(Code.COLLECTION_NOT_FOUND, revision)
    # Again, although the proposer has checked: an invalid definition would raise at every later write.
    if definition_violation(create.definition) is not None:
        return Outcome(Code.INVALID_INDEX, revision)
    known = _indexes(catalog, create.collection)
    for one in known:
        if one.definition.name == create.definition.name:
            return Outcome(Code.INDEX_EXISTS, revision, current_revision=one.id)
    if len(known) >= INDEXES_MAX:
        return Outcome(Code.TOO_MANY_INDEXES, revision)
    index = Index(revision, create.definition)
    catalog.set_indexes(create.collection, (*known, index))
    catalog.note(ChangeKind.CREATE_INDEX, create.collection, None, encode_indexes((index,)))
    return Outcome(Code.OK, revision, created=True)


def drop_index(catalog: Catalog, drop: DropIndex, revision: int) -> Outcome:
    """Drop an index with its entries; a build of it ends with it."""
    if catalog.documents_of(drop.collection) is None:
        return Outcome(Code.COLLECTION_NOT_FOUND, revision)
    known = _indexes(catalog, drop.collection)
    left = tuple(one for one in known if one.definition.name != drop.name)
    if len(left) == len(known):
        return Outcome(Code.INDEX_NOT_FOUND, revision)
    catalog.set_indexes(drop.collection, left)
    gone = tuple(one for one in known if one not in left)
    catalog.note(ChangeKind.DROP_INDEX, drop.collection, encode_indexes(gone), None)
    return Outcome(Code.OK, revision)


def build_index(overlay: Overlay, catalog: Catalog, build: BuildIndex, revision: int) -> Outcome:
    """Make the entries of the next documents, up to the bounds of a step in `costs`."""
    documents = catalog.documents_of(build.collection)
    if documents is None:
        return Outcome(Code.COLLECTION_NOT_FOUND, revision)
    found = [one for one in catalog.indexed.get(build.collection, ()) if one.index.id == build.index]
    if not found:
        return Outcome(Code.INDEX_NOT_FOUND, revision)
    index = found[0]
    if index.index.state is not IndexState.BUILDING or index.index.after != build.after:
        return Outcome(Code.PRECONDITION_FAILED, revision)
    made = _step(overlay, catalog, index, documents, build.collection)
    indexes = tuple(made if one.id == made.id else one for one in _indexes(catalog, build.collection))
    catalog.set_indexes(build.collection, indexes)
    return Outcome(Code.OK, revision)


def _step(overlay: Overlay, catalog: Catalog, opened: OpenIndex, documents: bytes, collection: str) -> Index:
    """Make entries, and return the index as it is then."""
    index, size, entries = opened.index, 0, 0
    after, passed = index.after, index.passed
    lo = documents if index.after is None else successor(documents + index.after.encode())
    for at, (key, record) in enumerate(overlay.scan(lo, prefix_end(documents))):
        # With what would come next: a step that ends at the last document leaves finding that out to another one.
        if at >= BUILD_DOCUMENTS or size >= BUILD_BYTES or entries >= BUILD_ENTRIES:
            return replace(index, after=after, passed=passed)
        document_id = last_text(key, documents)
        size += len(record)
        overlay.cost += READ_COST_BYTES + len(record)
        if live(overlay, catalog, DocumentRef(collection, document_id), key, record) is None:
            after, passed = document_id, passed + 1
            continue
        try:
            new = opened.enter(document_of(record) or {})
        except TooManyEntries as error:
            return _failed(catalog, opened, str(error), document_id)
        entries += len(new.keys)
        overlay.cost += INDEX_ENTRY_COST_BYTES * len(new.keys) + INDEX_VALUE_COST_BYTES * new.values
        for entry, value in stored_entries(opened, document_id.encode(), new, record):
            holder = overlay.get(entry) if index.definition.unique else None
            if holder is not None and not holder_expired(overlay, catalog, collection, holder):
                return _failed(catalog, opened, UNIQUE_REASON, document_id_in(holder), document_id)
            overlay.put(entry, value)
        count(catalog, opened, NO_ENTRIES, new)
        after, passed = document_id, passed + 1
    return replace(index, state=IndexState.READY, after=None, passed=passed)


def _failed(catalog: Catalog, opened: OpenIndex, reason: str, *documents: str) -> Index:
    catalog.clear_entries(opened)
    return replace(opened.index, state=IndexState.FAILED, after=None, reason=reason, documents=documents)


def _indexes(catalog: Catalog, collection: str) -> tuple[Index, ...]:
    return tuple(one.index for one in catalog.indexed.get(collection, ()))
