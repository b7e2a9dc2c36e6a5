"""How queries read by an index: entries in their order, or the documents that they name.

Entries and documents are read by cursors that are made in one turn of the event loop, with the revision of the answer:
whatever is written meanwhile, all of it is of one state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final, TypeAlias

import orjson

from collectionstore_node.documents.paths import ID, REVISION
from collectionstore_node.errors import ManyDeleted
from collectionstore_node.indexes.entries import Entry, entry_in, teller_of
from collectionstore_node.query.planning import PROBE_KEYS, IndexFacts, IndexPlan, Range
from collectionstore_node.query.scanning import Asked, Meter, Record, matching
from collectionstore_node.query.spans import EVERYTHING, Place, Span
from collectionstore_node.service.results import IndexState
from collectionstore_node.statemachine.catalog import find_collection
from collectionstore_node.statemachine.index_catalog import read_indexes, read_statistics
from collectionstore_node.statemachine.keys import index_prefix
from collectionstore_node.statemachine.reads import Fetch, Listed, scan_documents
from collectionstore_node.statemachine.view import View

STEP_ENTRIES: Final = 500
"""Entries between two pauses: about a millisecond."""
GATHERED_MAX: Final = 200_000
GATHERED_CHARACTERS_MAX: Final = 16 << 20
"""IDs that are collected and sorted, and their characters; a query that meets more reads the documents one after the
other instead."""

Matches: TypeAlias = Iterator[tuple[Record, dict[str, Any]] | None]
"""As `query.scanning.matching` yields them."""
See: TypeAlias = Callable[[Iterator[Record]], Iterator[Record]]
"""From documents as they are stored to those that a caller sees."""


def indexes_of(view: View, collection: str) -> list[IndexFacts]:
    """Return the indexes of a collection that queries may use; none if there is no such collection."""
    found = find_collection(view, collection)
    if found is None or not found.indexed:
        return []
    facts = []
    for one in read_indexes(view, found.id):
        if one.state is IndexState.READY:
            counted = read_statistics(view, found.id, one.id)
            facts.append(
                IndexFacts(
                    one.definition,
                    index_prefix(found.id, one.id),
                    counted.entries,
                    counted.documents,
                    counted.multikey,
                    counted.long,
                )
            )
    return facts


def count_keys(view: View, ranges: Sequence[Range]) -> int:
    """Return how many keys are in ranges, up to PROBE_KEYS; so many, too, if what was deleted hides them."""
    try:
        return sum(1 for _ in islice(view.scan_ranges(ranges), PROBE_KEYS))
    except ManyDeleted:
        # Another index may do. If none does, reading by this one makes the keys readable.
        return PROBE_KEYS


class SameState(View):
    """One state, of which entries, documents that they name, and documents in a row are read at the same time.

    Each has a cursor of its own: of a single one, a read ends the one before it.
    """

    __slots__ = ("_documents", "_entries", "_picked")

    def __init__(self, view: View) -> None:
        """The state is that of `view` as it is now."""
        self._documents, self._entries, self._picked = view.fixed(), view.fixed(), view.fixed()

    def get(self, key: bytes) -> bytes | None:
        """Return the value of `key`, or None; ends a `scan`."""
        return self._documents.get(key)

    def scan(self, lo: bytes, hi: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Return the pairs with `lo <= key < hi`. Raises `ManyDeleted`."""
        return self._documents.scan(lo, hi)

    def scan_ranges(self, ranges: Sequence[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
        """Return the pairs in each of `ranges`. Raises `ManyDeleted`."""
        return self._entries.scan_ranges(ranges)

    def pick(self, keys: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
        """Return the pairs of those of `keys` that exist."""
        return self._picked.pick(keys)


class IndexReader:
    """Reads one query's matches by its plan. Made in the event loop, used in the thread of queries."""

    def __init__(
        self,
        view: View,
        collection: str,
        plan: IndexPlan,
        place: Place,
        meter: Meter,
        after: tuple[bytes, str] | None,
        see: See,
    ) -> None:
        """`after` is where the page begins in the order of the plan; by ID, if that is `memory`.

        `see` shows documents as the caller sees them; a covered plan reads none. Raises
        `InvalidRequest("collection_not_found")`.
        """
        self._see = see
        self._plan = plan
        self._meter = meter
        self._after = after
        self._place = place
        self._entries = view.scan_ranges(_behind(plan, after))
        self._fetch = Fetch(view, collection)
        self._documents: Iterator[tuple[int, Listed]] = iter(())
        if plan.order == "memory":
            # For more IDs than can be collected: of the same state as the entries.
            span = place if isinstance(place, Span) else EVERYTHING
            name = None if after is None else after[1]
            self._documents = scan_documents(
                view, collection, lowest=span.lowest, after=name, end=span.end, marked=True
            )
        self._reached = (b"", "")
        self._before = (b"", "")
        meter.plan = plan.shown()

    def count(self) -> Iterator[int | None]:
        """Yield the number of entries in pieces, and None at the end of each step: those of an exact plan."""
        meter, entries = self._meter, self._entries
        while size := sum(1 for _ in islice(entries, STEP_ENTRIES)):
            meter.keys += size
            yield size
            yield None

    def matches(self, asked: Asked) -> Matches:
        """Yield the matches: in the order of the plan, and if that is `memory`, by ID."""
        if self._plan.covered and self._plan.order != "memory":
            return self._told(asked, self._read())
        if self._plan.order != "memory":
            return matching(self._see(self._record(entry) for entry in self._read()), asked, self._meter)
        return self._gathered(asked)

    def unordered(self, asked: Asked) -> Matches:
        """Do as `matches`, in any order: for what is sorted, counted or collected anyway."""
        return self._told(asked, self._read()) if self._plan.covered else self.matches(asked)

    def position(self) -> tuple[bytes, str]:
        """Return where in the order of the entries the document is that was looked at last, by the meter."""
        return self._reached if self._reached[1] == self._meter.last else self._before

    def _read(self) -> Iterator[Entry]:
        index = self._plan.facts
        prefix, unique, fixed = len(index.prefix), index.definition.unique, len(self._plan.fixed) - len(index.prefix)
        ordered = self._plan.order != "memory"
        for key, value in self._entries:
            entry = entry_in(prefix, key, value, unique=unique)
            self._meter.keys += 1
            if ordered:
                position = entry.key[fixed:], entry.id
                if self._after is not None and position <= self._after:
                    continue
                self._before, self._reached = self._reached, position
            yield entry

    def _record(self, entry: Entry) -> Record:
        return record_of(self._fetch(entry.id))

    def _told(self, asked: Asked, entries: Iterator[Entry]) -> Matches:
        """Yield the matches among documents as their entries tell them."""
        tell, match, meter = teller_of(self._plan.facts.definition), asked.match, self._meter
        for number, entry in enumerate(entries, 1):
            if entry.shape is None:
                yield from matching(iter((self._record(entry),)), asked, meter)
            else:
                document = tell(entry.key, entry.shape)
                document[ID], document[REVISION] = entry.id, entry.revision
                meter.last = entry.id
                if match(document):
                    yield Record(entry.id, entry.revision, orjson.dumps(document), len(entry.key)), document
            if number % STEP_ENTRIES == 0:
                yield None

    def _gathered(self, asked: Asked) -> Matches:
        """Yield the matches by ID: a document may have several entries, and entries are in another order."""
        after = "" if self._after is None else self._after[1]
        ids: set[str] = set()
        size = 0
        for number, entry in enumerate(self._read(), 1):
            if entry.id > after and (not isinstance(self._place, Span) or entry.id in self._place):
                ids.add(entry.id)
                size += len(entry.id)
            if len(ids) > GATHERED_MAX or size > GATHERED_CHARACTERS_MAX:
                self._meter.plan = None
                yield from matching(self._see(map(record_of, self._documents)), asked, self._meter)
                return
            if number % STEP_ENTRIES == 0:
                yield None
        names = sorted(ids)
        yield None
        yield from matching(self._see(record_of(self._fetch(name)) for name in names), asked, self._meter)


def record_of(read: tuple[int, Listed]) -> Record:
    """Return what was read of a document as queries take it."""
    size, (name, stored) = read
    return Record(name, stored.revision, stored.value, size)


def _behind(plan: IndexPlan, after: tuple[bytes, str] | None) -> Sequence[Range]:
    """Return what is left of the ranges of a plan for a page that begins behind `after`."""
    if after is None or plan.order == "memory":
        return plan.ranges
    key, name = after
    start = plan.fixed + key
    if not plan.facts.definition.unique:
        start += name.encode()
    return tuple((max(lo, start), hi) for lo, hi in plan.ranges if hi > start)
