"""What a caller sees of documents: applied to each BEFORE a filter, an order or a projection is asked about it.

So nothing that a query computes depends on what is hidden: a hidden document is none, and a hidden field is missing.
Indexes hold the fields as they are, so a plan uses those only whose fields are shown in all documents.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final, NamedTuple

import orjson
from msgspec.structs import replace

from collectionstore_node.access.rights import DocumentView
from collectionstore_node.access.stored_views import encode_view
from collectionstore_node.documents.filters.tree import And, leaves
from collectionstore_node.documents.paths import ID, REVISION
from collectionstore_node.indexes.definition import filter_of, path_of, tests_of
from collectionstore_node.query.find import Find
from collectionstore_node.query.planning import IndexFacts
from collectionstore_node.query.scanning import VISITS_MAX, Meter, Record
from collectionstore_node.query.spans import ids_of
from collectionstore_node.service.results import ReadResult, Stored

AT_ONCE_BYTES_MAX: Final = 64 << 10
"""A larger document is shown in the thread of queries: decoding and writing it takes about a millisecond."""
_NOTHING: Final = b""
"""Stands for a document that is not there, as for one that has expired."""


class Seen:
    """The documents of one collection as a caller sees them. Not for two threads at once."""

    __slots__ = ("_tests", "_view", "hidden_bytes", "hidden_documents")

    def __init__(self, view: DocumentView) -> None:
        self._view = view
        self._tests = _tests_of(view)
        self.hidden_documents = self.hidden_bytes = 0
        """What was looked at and is hidden: it is not told how much that is."""

    def __eq__(self, other: object) -> bool:
        """Whether the same is seen."""
        return isinstance(other, Seen) and encode_view(self._view) == encode_view(other._view)

    def __hash__(self) -> int:
        return id(self)

    def text(self, document_id: str, revision: int, text: bytes) -> bytes | None:
        """Return the text of a document as it is seen; None for one that is not."""
        view = self._view
        # Closed: one that takes too long to ask is hidden, and said to be nowhere.
        if self._tests * (1 + text.count(b",")) > VISITS_MAX:
            return None
        document: dict[str, Any] = orjson.loads(text)
        document[ID], document[REVISION] = document_id, revision
        if not view.masked:
            return text if view.allows(document) else None
        found = view.shown(document)
        if found is None:
            return None
        return orjson.dumps({name: value for name, value in found.items() if name not in (ID, REVISION)})

    def records(self, records: Iterator[Record]) -> Iterator[Record]:
        """Yield stored documents as they are seen; hidden ones as those that have expired."""
        for record in records:
            if not record.text:
                yield record
                continue
            text = self.text(record.id, record.revision, record.text)
            if text is None:
                self.hidden_documents += 1
                self.hidden_bytes += record.size
                yield record._replace(text=_NOTHING)
            else:
                yield record if text is record.text else record._replace(text=text)

    def find(self, find: Find) -> Find:
        """Return a query for planning: its places and conditions with those of the view, and what all of it costs."""
        asked = find.asked
        asked = asked._replace(weight=asked.weight + self._tests)
        if self._view.node is None:
            return replace(find, asked=asked)
        node = And((asked.node, self._view.node))
        return replace(find, asked=asked._replace(node=node), place=ids_of(node))

    def indexes(self, indexes: list[IndexFacts]) -> list[IndexFacts]:
        """Return those indexes that tell nothing of what is hidden."""
        return [one for one in indexes if self._shows(one)]

    def told(self, meter: Meter) -> Meter:
        """Return what is told of what a query has read: nothing of what is hidden."""
        told = Meter()
        told.plan, told.last, told.undone = meter.plan, meter.last, 0
        told.documents = meter.documents - self.hidden_documents
        told.bytes = meter.bytes - self.hidden_bytes
        return told

    def _shows(self, index: IndexFacts) -> bool:
        definition = index.definition
        paths = [path_of(field) for field in definition.fields]
        partial = filter_of(definition)
        if partial is not None:
            paths += [test.path for test in tests_of(partial)]
        return all(map(self._view.shows, paths))


@lru_cache(maxsize=1_024)
def _tests_of(view: DocumentView) -> int:
    """Return how many tests a view makes of a document at most. By identity: rights remember their views."""
    return 1 + len(view.allowed) + len(view.denied) + (0 if view.node is None else leaves(view.node))


class Unseen(NamedTuple):
    """A large document that was read, and is still to be shown as its caller sees it: not on the event loop."""

    view: DocumentView
    document_id: str
    stored: Stored
    revision: int

    def seen(self) -> ReadResult:
        """Return what the read has found. May take tens of milliseconds."""
        return ReadResult(seen_stored(self.view, self.document_id, self.stored), self.revision)


def seen_stored(view: DocumentView | None, document_id: str, stored: Stored) -> Stored | None:
    """Return a document as a caller sees it; None for one that it does not see."""
    if view is None:
        return stored
    text = Seen(view).text(document_id, stored.revision, stored.value)
    return None if text is None else replace(stored, value=text)
