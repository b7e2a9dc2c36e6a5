"""Queries within a command: which documents match a filter when it is applied; from level `CHANGES` on.

A query reads what its plan says: the entries of an index or the documents themselves, in parts. The plan was chosen
where the request arrived. An index that is no longer there, or that does not fit the plan any more, is replaced by
reading the whole collection: the answer is the same, the cost another one, and both are equal on every replica.

All that is looked at is counted (`Overlay.cost`), and bounded by TRANSACTION_COST_MAX for all queries of a command.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Final

import orjson

from collectionstore_node.documents.updates import (
    Budget,
    Condition,
    Failed,
    Fields,
    Reason,
    count_patterns,
    parse_condition,
    too_deep,
)
from collectionstore_node.errors import InvalidRequest
from collectionstore_node.indexes.entries import entry_in
from collectionstore_node.statemachine.catalog import Catalog, OpenIndex
from collectionstore_node.statemachine.commands import Plan, Query, Ref
from collectionstore_node.statemachine.costs import (
    CHANGE_COST_BYTES,
    FILTER_BYTES_MAX,
    INDEX_ENTRY_COST_BYTES,
    PARSE_COST,
    PATTERN_COST_BYTES,
    READ_COST_BYTES,
    TRANSACTION_COST_MAX,
    UPDATE_STEP_COST_BYTES,
    UPDATE_VALUES_MAX,
)
from collectionstore_node.statemachine.index_catalog import IndexState
from collectionstore_node.statemachine.keys import last_text, prefix_end
from collectionstore_node.statemachine.stored import decode_stored
from collectionstore_node.statemachine.view import Overlay
from collectionstore_node.statemachine.writing import current_revision

_CACHED_BYTES_MAX: Final = 4 << 10
"""Longer filters are parsed each time."""


class NoCollection(Exception):
    """There is no such collection."""


class TooCostly(Exception):
    """The queries of a command look at more than they may."""


def patterns_in(text: bytes) -> int:
    """Return how many regular expressions a filter has at most; 0 for one that `parse_query` refuses for its text."""
    # The name of the operator may be written with escapes.
    if (b"regex" not in text and b"\\u" not in text) or _too_long(text):
        return 0
    try:
        return count_patterns(orjson.loads(text))
    except orjson.JSONDecodeError:
        return 0


def _too_long(text: bytes) -> bool:
    return len(text) > FILTER_BYTES_MAX or sum(map(text.count, (b",", b"[", b"{"))) > UPDATE_VALUES_MAX


def parse_query(text: bytes) -> Condition:
    """Return the condition in the filter of a query. Raises `InvalidRequest` for one that is invalid in any state."""
    # The bounds come first: they bound the cost.
    if _too_long(text):
        raise InvalidRequest(
            "invalid_filter", f"a filter has at most {FILTER_BYTES_MAX} bytes and {UPDATE_VALUES_MAX} values"
        )
    return _parse_cached(text) if len(text) <= _CACHED_BYTES_MAX else _parse(text)


def _parse(text: bytes) -> Condition:
    try:
        given: object = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise InvalidRequest("malformed_json", "the filter is not valid JSON") from None
    if too_deep(given):
        raise InvalidRequest("nesting_too_deep", "a filter is nested at most 100 deep")
    return parse_condition(given)


_parse_cached = lru_cache(maxsize=64)(_parse)


class Search:
    """The queries of one command, over the state before it."""

    __slots__ = ("_catalog", "_cost_max", "_overlay")

    def __init__(self, overlay: Overlay, catalog: Catalog) -> None:
        self._overlay = overlay
        self._catalog = catalog
        self._cost_max = overlay.cost + TRANSACTION_COST_MAX

    def matches(self, query: Query) -> Iterator[tuple[str, int]]:
        """Yield ID and revision of each document that matches, once, in no certain order.

        Raises `InvalidRequest` for a filter that is none, `NoCollection`, and `TooCostly`.
        """
        condition = self.condition(query)
        documents = self._catalog.documents_of(query.collection)
        if documents is None:
            raise NoCollection
        for document_id, record in self._candidates(query, documents):
            self._check()
            expired = self._catalog.deadlines.has_expired(record)
            if not expired and self.holds(condition, query.collection, document_id, record):
                yield document_id, current_revision(record)
        self._check()

    def condition(self, query: Query) -> Condition:
        """Return the condition that a document must meet. Raises `InvalidRequest` for a filter that is none."""
        self._overlay.cost += PARSE_COST * len(query.filter)
        condition = parse_query(query.filter)
        self._overlay.cost += PATTERN_COST_BYTES * condition.patterns
        return condition

    def look_at(self, size_bytes: int) -> None:
        """Count a change that is looked at. Raises `TooCostly`."""
        self._overlay.cost += CHANGE_COST_BYTES + size_bytes
        self._check()

    def revision_at(self, key: bytes, ref: Ref) -> int:
        """Return the revision of the record of `ref`, under `key`: 0 if there is none, or it has expired.

        Raises `TooCostly`.
        """
        self._check()
        record = self._overlay.get(key)
        if record is None or self._catalog.deadlines.has_expired(record):
            return 0
        restrictions = self._catalog.restrictions
        return current_revision(record) if restrictions is None or restrictions.sees(ref, record) else 0

    def _candidates(self, query: Query, documents: bytes) -> Iterator[tuple[str, bytes]]:
        """Yield all documents that may match, once, with their records."""
        if query.id is not None:
            record = self._overlay.get(documents + query.id.encode())
            return iter(() if record is None else ((query.id, record),))
        plan = query.plan
        if not plan.index:
            return self._scanned(documents, plan.ranges)
        index = self._index(query.collection, plan)
        if index is None:
            return self._scanned(documents, ((b"", b""),))
        return self._indexed(documents, index, plan.ranges)

    def _index(self, collection: str, plan: Plan) -> OpenIndex | None:
        for one in self._catalog.indexed.get(collection, ()):
            if one.index.id == plan.index and one.index.state is IndexState.READY:
                # With several entries of one document two tests of a field may be passed by different ones.
                return None if plan.single and one.statistics.multikey else one
        return None

    def _scanned(self, documents: bytes, ranges: tuple[tuple[bytes, bytes], ...]) -> Iterator[tuple[str, bytes]]:
        last = b""
        for key, record in self._pairs(documents, ranges):
            self._overlay.cost += READ_COST_BYTES + len(record)
            # Ranges ascend, as the planner has seen to; a document that is met again is not counted twice.
            if key > last:
                yield last_text(key, documents), record
                last = key

    def _indexed(
        self, documents: bytes, index: OpenIndex, ranges: tuple[tuple[bytes, bytes], ...]
    ) -> Iterator[tuple[str, bytes]]:
        met: set[str] = set()
        unique = index.index.definition.unique
        for key, value in self._pairs(index.prefix, ranges):
            self._overlay.cost += INDEX_ENTRY_COST_BYTES + len(key) + len(value)
            self._check()
            document_id = entry_in(len(index.prefix), key, value, unique=unique).id
            if document_id in met:
                continue
            met.add(document_id)
            record = self._overlay.get(documents + document_id.encode())
            if record is not None:
                yield document_id, record

    def _pairs(self, prefix: bytes, ranges: tuple[tuple[bytes, bytes], ...]) -> Iterator[tuple[bytes, bytes]]:
        for lo, hi in ranges:
            self._overlay.cost += READ_COST_BYTES
            self._check()
            yield from self._overlay.scan(prefix + lo, prefix + hi if hi else prefix_end(prefix))

    def holds(self, condition: Condition, collection: str, document_id: str, record: bytes) -> bool:
        """Return whether a stored document, as the caller sees it, meets a condition. Raises `TooCostly`."""
        budget, restrictions = Budget(), self._catalog.restrictions
        text: bytes | None
        if restrictions is None:
            text = decode_stored(record).value
        else:
            text = restrictions.shown(collection, document_id, record)
        if text is None:
            return False
        try:
            return condition.holds(Fields(text, budget), document_id, current_revision(record), budget)
        except Failed as failed:
            if failed.reason is Reason.COST:
                raise TooCostly from None
            # Not from a client: a member forwarded what is no JSON. An exception would stop every replica, for ever.
            return False
        finally:
            self._overlay.cost += budget.read_bytes + UPDATE_STEP_COST_BYTES * budget.steps

    def _check(self) -> None:
        if self._overlay.cost > self._cost_max:
            raise TooCostly
