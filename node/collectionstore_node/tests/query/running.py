"""Running pipelines over lists of documents."""

from __future__ import annotations

from typing import Any

from collectionstore_node.documents.expressions import weigh
from collectionstore_node.query.aggregation import Items, Pipeline, Work, parse_pipeline
from collectionstore_node.query.aggregation.work import Item
from collectionstore_node.query.find import Find

MEMORY_BYTES = 32 << 20


class Lists:
    """Implements `Source` over lists; every other item is a pause."""

    def __init__(self, pipeline: Pipeline, collections: dict[str, list[dict[str, Any]]]) -> None:
        self._pipeline = pipeline
        self._collections = collections

    def documents(self, join: int, find: Find) -> Items:
        """Yield the documents that match."""
        return items(self._collections[self._pipeline.collections[join][0]], find)


def items(documents: list[dict[str, Any]], find: Find) -> Items:
    """Yield the documents that match, with pauses between them."""
    for document in documents:
        yield None
        if find.asked.match(document):
            yield Item(document, weigh(document))


def run(
    given: Any,
    documents: list[dict[str, Any]],
    collections: dict[str, list[dict[str, Any]]] | None = None,
    work: Work | None = None,
) -> list[dict[str, Any]]:
    """Return what a pipeline makes of documents."""
    pipeline = parse_pipeline(given)
    work = work or Work(pipeline.slots, MEMORY_BYTES)
    found = []
    for item in pipeline.run(items(documents, pipeline.find), work, Lists(pipeline, collections or {})):
        if item is None:
            work.spent = 0
        else:
            found.append(item.document)
    return found
