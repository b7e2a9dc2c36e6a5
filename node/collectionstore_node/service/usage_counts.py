"""The next steps of counting what the documents of collections with a quota take, and whether a step can be read."""

from __future__ import annotations

from itertools import islice

from collectionstore_node.errors import InvariantViolated
from collectionstore_node.statemachine.catalog import find_collection
from collectionstore_node.statemachine.commands import CountUsage
from collectionstore_node.statemachine.costs import BUILD_BYTES, BUILD_DOCUMENTS
from collectionstore_node.statemachine.keys import documents_prefix, prefix_end, successor
from collectionstore_node.statemachine.usage import collections_counted, read_usage
from collectionstore_node.statemachine.view import View


def counting_steps(view: View) -> list[CountUsage]:
    """Return the next step of each collection whose documents are being counted. Raises `ManyDeleted`."""
    steps = []
    for name in collections_counted(view):
        collection = find_collection(view, name)
        usage = None if collection is None else read_usage(view, collection.id)
        if collection is None or usage is None:
            raise InvariantViolated("documents are being counted of a collection that has no quota")
        steps.append(CountUsage(name, collection.id, usage.after))
    return steps


def check_readable(view: View, name: str, after: str | None) -> None:
    """Read the documents of a collection that a step behind `after` will.

    Raises `ManyDeleted`: every member applies it on its event loop, and skips all of them.
    """
    collection = find_collection(view, name)
    if collection is None:
        return
    documents = documents_prefix(collection.id)
    lo = successor(documents + after.encode()) if after else documents
    size = 0
    for _, record in islice(view.scan(lo, prefix_end(documents)), BUILD_DOCUMENTS + 1):
        size += len(record)
        if size >= BUILD_BYTES:
            break
