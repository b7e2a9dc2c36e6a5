"""The options of collections, and documents under the numbers of a sequence; from level `CHANGES` on.

The last number of a sequence is a record of its own, and is stored with the document that has it: no number is given
twice, whatever fails and which member leads, and one that was given is not used again after a delete. It goes with the
collection. A request that is repeated with its idempotency key gets its first outcome, and so the same number.
"""

from __future__ import annotations

import struct
from typing import Final

from collectionstore_node.errors import InvariantViolated
from collectionstore_node.statemachine.catalog import Catalog
from collectionstore_node.statemachine.commands import (
    Code,
    ConfigureCollection,
    DocumentRef,
    Insert,
    Item,
    Outcome,
    refused_item,
)
from collectionstore_node.statemachine.conforming import conform, next_number
from collectionstore_node.statemachine.costs import SCHEMA_CHECK_COST_BYTES, SEQUENCE_TRIES_MAX
from collectionstore_node.statemachine.indexing import Write, store
from collectionstore_node.statemachine.keys import sequence_key
from collectionstore_node.statemachine.options import (
    CollectionOptions,
    Configured,
    Ids,
    options_violation,
    unversioned,
    versioned,
)
from collectionstore_node.statemachine.stored import NEVER, encode_stored
from collectionstore_node.statemachine.view import Overlay

_NUMBER: Final = struct.Struct(">Q")


def configure_collection(overlay: Overlay, catalog: Catalog, configure: ConfigureCollection, revision: int) -> Outcome:
    """Replace the options of a collection, or create one with them; refused as `ConfigureCollection` says."""
    name, options = configure.collection, configure.options
    if options.schema is not None:
        overlay.cost += SCHEMA_CHECK_COST_BYTES
    exists = catalog.documents_of(name) is not None
    if not exists and not configure.create:
        return Outcome(Code.COLLECTION_NOT_FOUND, revision)
    # Again, although the proposer has checked: a schema that cannot be compiled would raise at every later write.
    if options_violation(options) is not None:
        return Outcome(Code.INVALID_OPTIONS, revision)
    if not exists:
        catalog.create(name, revision)
        _set(catalog, name, options, revision, position=1)
        return Outcome(Code.OK, revision, created=True)
    current = catalog.options_of(name)
    if configure.create:
        same = unversioned(current.options) == unversioned(options)
        created = catalog.revision_of(name)
        return Outcome(Code.COLLECTION_EXISTS if same else Code.OPTIONS_DIFFER, revision, current_revision=created)
    if configure.expected and configure.expected != current.revision:
        return Outcome(Code.PRECONDITION_FAILED, revision, current_revision=current.revision)
    _set(catalog, name, options, revision)
    return Outcome(Code.OK, revision, current_revision=current.revision)


def _set(catalog: Catalog, name: str, options: CollectionOptions, revision: int, *, position: int = 0) -> None:
    """Store options unless they are what they were."""
    before = catalog.options_of(name).options
    if unversioned(before) == unversioned(options):
        return
    options = versioned(options, before, revision)
    catalog.set_options(name, Configured(options, revision), position=position)


def insert(overlay: Overlay, catalog: Catalog, action: Insert, revision: int) -> Outcome:
    """Store a document under the next number of its collection's sequence."""
    documents = catalog.documents_of(action.collection)
    if documents is None:
        return Outcome(Code.COLLECTION_NOT_FOUND, revision)
    found = catalog.configured.get(action.collection)
    if found is None or found.options.ids is not Ids.SEQUENCE:
        return Outcome(Code.ID_REFUSED, revision)
    place = sequence_key(found.collection_id)
    number = next_number(_last(overlay.get(place)), found.options.sequence_start)
    for _ in range(SEQUENCE_TRIES_MAX):
        if number is None:
            return Outcome(Code.SEQUENCE_EXHAUSTED, revision)
        key = documents + str(number).encode()
        if overlay.get(key) is None:
            break
        # Stored before the collection had a sequence.
        overlay.put(place, _NUMBER.pack(number))
        number = next_number(number, 1)
    else:
        return Outcome(Code.SEQUENCE_TAKEN, revision)
    if number is None:
        return Outcome(Code.SEQUENCE_EXHAUSTED, revision)
    ref = DocumentRef(action.collection, str(number))
    conforming = conform(overlay, catalog, ref, action.value, created=True, made=True)
    if isinstance(conforming, Code):
        return Outcome(conforming, revision)
    expiry = catalog.expiry(ref, None, None)
    if isinstance(expiry, Code):
        return Outcome(expiry, revision)
    record = encode_stored(revision, revision, conforming.text, expiry=expiry or NEVER)
    refused = store(overlay, catalog, (Write(ref, key, None, record),))
    if refused is not None:
        return Outcome(refused.code, revision, items=(refused_item(refused.by),))
    overlay.put(place, _NUMBER.pack(number))
    item = Item(revision, created=True, value=ref.id.encode(), content_type=conforming.mark)
    return Outcome(Code.OK, revision, created=True, items=(item,))


def _last(data: bytes | None) -> int:
    if data is None:
        return 0
    if len(data) != _NUMBER.size:
        raise InvariantViolated("the last number of a sequence cannot be decoded")
    number: int = _NUMBER.unpack(data)[0]
    return number
