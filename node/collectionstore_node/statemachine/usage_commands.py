"""Counting the documents of a collection that gets a quota: steps of a bounded cost, each an entry of the log."""

from __future__ import annotations

from collectionstore_node.statemachine.catalog import Catalog
from collectionstore_node.statemachine.commands import Code, CountUsage, DocumentRef, Outcome
from collectionstore_node.statemachine.costs import BUILD_BYTES, BUILD_DOCUMENTS, READ_COST_BYTES
from collectionstore_node.statemachine.indexing import live
from collectionstore_node.statemachine.keys import last_text, prefix_end, successor
from collectionstore_node.statemachine.metering import text_bytes
from collectionstore_node.statemachine.view import Overlay


def count_usage(overlay: Overlay, catalog: Catalog, step: CountUsage, revision: int) -> Outcome:
    """Count the next documents, up to the bounds of a step of an index in `costs`; the step that finds none ends it."""
    documents = catalog.documents_of(step.collection)
    if documents is None:
        return Outcome(Code.COLLECTION_NOT_FOUND, revision)
    opened = catalog.metered.get(step.collection)
    # A step that two leaders propose is done once, and none is done for another collection of that name.
    if opened is None or opened.collection_id != step.collection_id:
        return Outcome(Code.PRECONDITION_FAILED, revision)
    usage = opened.record
    if not usage.counting or usage.after != step.after:
        return Outcome(Code.PRECONDITION_FAILED, revision)
    size = 0
    lo = successor(documents + usage.after.encode()) if usage.after else documents
    for at, (key, record) in enumerate(overlay.scan(lo, prefix_end(documents))):
        # With what would come next: a step that ends at the last document leaves finding that out to another one.
        if at >= BUILD_DOCUMENTS or size >= BUILD_BYTES:
            catalog.used(opened)
            return Outcome(Code.OK, revision)
        document_id = last_text(key, documents)
        size += len(record)
        overlay.cost += READ_COST_BYTES + len(record)
        if live(overlay, catalog, DocumentRef(step.collection, document_id), key, record) is not None:
            usage.documents += 1
            usage.size_bytes += text_bytes(record)
        usage.after = document_id
    usage.counting, usage.after = False, ""
    catalog.counted_all(opened)
    return Outcome(Code.OK, revision)
