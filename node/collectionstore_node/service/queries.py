"""`Queries`: finding, counting and the distinct values of documents, in the thread of queries."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from time import monotonic, perf_counter
from typing import Any, Final, TypeVar

from collectionstore_node.access.verbs import Kind, Verb
from collectionstore_node.documents.paths import Path, parse_path, values_at
from collectionstore_node.documents.values import MISSING, Value, sort_key
from collectionstore_node.errors import (
    Forbidden,
    InvalidRequest,
    InvariantViolated,
    ManyDeleted,
    Overloaded,
    ReadTimedOut,
)
from collectionstore_node.query.aggregation import Pipeline, parse_pipeline
from collectionstore_node.query.conditions import paths_of
from collectionstore_node.query.find import SKIP_MAX, Find, parse_fields_text, parse_find, parse_sort_text
from collectionstore_node.query.planning import IndexFacts, Use, needs_of, plan_of
from collectionstore_node.query.scanning import Meter, Record, matching
from collectionstore_node.query.sorting import First, Position, check_key, key_of
from collectionstore_node.query.spans import Ids, Span
from collectionstore_node.service.aggregates import aggregated
from collectionstore_node.service.authorization import reading_verb, require
from collectionstore_node.service.document_exports import EXPORTS_MAX, LASTS_S, DocumentExport, Format
from collectionstore_node.service.door import Door
from collectionstore_node.service.index_reads import (
    IndexReader,
    Matches,
    SameState,
    count_keys,
    indexes_of,
    record_of,
)
from collectionstore_node.service.limits import StoreLimits
from collectionstore_node.service.operations import (
    AggregateDocuments,
    Consistency,
    CountDocuments,
    DistinctValues,
    ExportDocuments,
    FindDocuments,
    Query,
    ReadConsistency,
    pinned_revision,
)
from collectionstore_node.service.past import Pinned, in_thread
from collectionstore_node.service.query_thread import QueryThread
from collectionstore_node.service.results import Aggregated, Counted, DistinctResult, FindResult, Found
from collectionstore_node.service.seeing import Seen
from collectionstore_node.statemachine.expiry_queue import is_there
from collectionstore_node.statemachine.past import Scope
from collectionstore_node.statemachine.reads import pick_documents, scan_documents
from collectionstore_node.statemachine.view import View

T = TypeVar("T")

PAGE_DOCUMENTS_MAX: Final = 100_000
PAGE_BYTES_MAX: Final = 64 << 20
"""What is read for one page in the order of IDs; the page ends there, perhaps without a document, and has a cursor."""
EXISTING_STEP_BYTES: Final = 256 << 10
"""What is read between two pauses when documents are only looked for."""

__all__ = [
    "SKIP_MAX",
    "Pipeline",
    "Queries",
    "parse_fields_text",
    "parse_find",
    "parse_path",
    "parse_pipeline",
    "parse_sort_text",
]

_Steps = Generator[None, None, T]


class Queries:
    """The queries of a store: part of `Store`, whose errors they raise.

    Each also raises `InvalidRequest("collection_not_found")`, `InvalidRequest("query_too_costly")` beyond the limits of
    what one query may read, and `ReadTimedOut` when its time was up before it had read that.
    """

    __slots__ = ("_door", "_exports", "thread")

    def __init__(self, door: Door) -> None:
        self._door = door
        self._exports = 0
        self.thread = QueryThread()
        """Where queries run, and other long reads."""

    async def export(
        self, request: ExportDocuments, form: Format, *, consistency: ReadConsistency, timeout_s: float
    ) -> DocumentExport:
        """Return all matches as a stream of one state; `close` it. Raises `Overloaded` while there are EXPORTS_MAX.

        `timeout_s` is for its first piece.
        """
        if self._exports >= EXPORTS_MAX:
            raise Overloaded(f"{EXPORTS_MAX} exports are being read from this member already", retry_after_s=10.0)
        self._exports += 1
        try:
            return await self._opened(request, form, consistency, timeout_s)
        except BaseException:
            self._exports -= 1
            raise

    async def existing(self, collection: str, ids: Sequence[str], *, timeout_s: float) -> frozenset[str]:
        """Return those of a few IDs that name a document, linearizable."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + timeout_s
        await self._door.confirm(Consistency.LINEARIZABLE, timeout_s)
        if (rights := self._door.limited()) is not None:
            require(rights, Verb.WRITE, Kind.COLLECTION, collection)
        found = pick_documents(self._door.replica.view, collection, sorted({*ids}))

        def steps() -> _Steps[frozenset[str]]:
            names = []
            size = 0
            for taken, (name, _) in found:
                names.append(name)
                size += taken
                if size >= EXISTING_STEP_BYTES:
                    size = 0
                    yield
            return frozenset(names)

        return await self.thread.run(steps, timeout_s=deadline - clock())

    async def find(
        self, request: FindDocuments, *, show: Callable[[Found], T], consistency: ReadConsistency, timeout_s: float
    ) -> FindResult[T]:
        """Return one page of matches. `show` converts each, in the steps of the query."""

        def steps(run: _Run) -> _Steps[FindResult[T]]:
            if not request.find.order:
                return self._by_id(request, show, run)
            return self._by_index(request, show, run) if run.in_order else self._sorted(request, show, run)

        return await self._run(request, steps, consistency, timeout_s)

    async def checked(self, check: Callable[[], T], *, timeout_s: float) -> T:
        """Return what `check` returns or raises; it runs in the thread of queries, as checking a pattern takes long."""

        def steps() -> _Steps[T]:
            return check()
            yield

        return await self.thread.run(steps, timeout_s=timeout_s)

    def close(self) -> None:
        """End the thread of queries; before storage is closed, as a query may be reading it."""
        self.thread.close()

    async def count(self, request: CountDocuments, *, consistency: ReadConsistency, timeout_s: float) -> Counted:
        """Return how many documents match."""
        return await self._run(request, lambda run: self._count(request, run), consistency, timeout_s)

    async def distinct(
        self, request: DistinctValues, *, consistency: ReadConsistency, timeout_s: float
    ) -> DistinctResult:
        """Return the different values of a path among the matches, in the order of values."""
        return await self._run(request, lambda run: self._distinct(request, run), consistency, timeout_s)

    async def aggregate(
        self, request: AggregateDocuments, *, consistency: ReadConsistency, timeout_s: float
    ) -> Aggregated:
        """Return what a pipeline makes of the collection, and of the others that it names, all of one state.

        Also raises `InvalidPart("expression_failed")`, and `InvalidRequest("result_too_large")`.
        """
        return await self._run(request, lambda run: aggregated(request, run, self._door.limits), consistency, timeout_s)

    async def _opened(
        self, request: ExportDocuments, form: Format, consistency: ReadConsistency, timeout_s: float
    ) -> DocumentExport:
        clock = asyncio.get_running_loop().time
        deadline = clock() + timeout_s
        door = self._door
        await door.view(request, consistency, timeout_s)

        async def reclaim(gap: ManyDeleted) -> None:
            await door.replica.reclaim(gap.lo, gap.hi, timeout_s=timeout_s)

        revision, expired = pinned_revision(consistency), monotonic() + timeout_s

        def past() -> _Steps[_Run]:
            pinned, seen = _pinned(door.replica.view, request, revision or 0), Views(door, request)

            def steps() -> _Steps[_Run]:
                yield from pinned.collect(door.limits, expired)
                return _Run(door, request, monotonic() + LASTS_S, pinned, seen)

            return steps()

        async def opened() -> DocumentExport:
            if revision is None:
                run = _Run(door, request, monotonic() + LASTS_S)
            else:
                run = await in_thread(door, self.thread, past, timeout_s=deadline - clock())
            export = DocumentExport(
                run, form, self.thread, reclaim=reclaim, ended=self._export_ended, still=partial(run.check_rights, door)
            )
            await export.begin(timeout_s=deadline - clock())
            return export

        try:
            return await opened()
        except ManyDeleted:
            return await opened()

    def _export_ended(self) -> None:
        self._exports -= 1

    async def _run(
        self,
        request: Query,
        steps: Callable[[_Run], _Steps[T]],
        consistency: ReadConsistency,
        timeout_s: float,
    ) -> T:
        clock = asyncio.get_running_loop().time
        deadline, expired = clock() + timeout_s, monotonic() + timeout_s
        door = self._door
        await door.view(request, consistency, timeout_s)

        revision = pinned_revision(consistency)

        def begin() -> _Steps[T]:
            if revision is None:
                return steps(_Run(door, request, expired))
            pinned, seen = _pinned(door.replica.view, request, revision), Views(door, request)

            def run() -> _Steps[T]:
                yield from pinned.collect(door.limits, expired)
                return (yield from steps(_Run(door, request, expired, pinned, seen)))

            return run()

        return await in_thread(door, self.thread, begin, timeout_s=deadline - clock())

    def _by_id(self, request: FindDocuments, show: Callable[[Found], T], run: _Run) -> _Steps[FindResult[T]]:
        limits = self._door.limits
        items: list[T] = []
        size, skip, last = 0, request.find.skip, None
        for found in run.page_matches():
            if found is None:
                if run.is_full():
                    # Behind all that was looked at, matches or not.
                    return run.found(items, (b"", run.meter.last), skip)
                yield
                continue
            if skip:
                skip -= 1
                continue
            if len(items) == request.limit or (items and size >= limits.list_bytes_max):
                return run.found(items, (b"", last or ""), 0)
            record, document = found
            size += record.size
            last = record.id
            items.append(show(Found(record.id, record.revision, run.find.shown(record.text, document))))
        return run.found(items, None, 0)

    def _by_index(self, request: FindDocuments, show: Callable[[Found], T], run: _Run) -> _Steps[FindResult[T]]:
        """Do as `_sorted`, for an index whose entries are in the order: the page is read as far as it goes."""
        limits = self._door.limits
        items: list[T] = []
        size, skip = 0, request.find.skip
        last: Position | None = None
        for found in run.all_matches():
            if found is None:
                if run.is_full() and not skip:
                    return run.found(items, run.position(), 0)
                yield
                continue
            if skip:
                skip -= 1
                continue
            if len(items) == request.limit or (items and size >= limits.list_bytes_max):
                return run.found(items, last, 0)
            record, document = found
            last = run.position()
            check_key(last[0])
            size += record.size
            items.append(show(Found(record.id, record.revision, run.find.shown(record.text, document))))
        return run.found(items, None, 0)

    def _sorted(self, request: FindDocuments, show: Callable[[Found], T], run: _Run) -> _Steps[FindResult[T]]:
        limits = self._door.limits
        key, skip = key_of(request.find.order), request.find.skip
        # One more is not needed: `First` knows whether it left something out.
        first: First[Record] = First(skip + request.limit, limits.query_memory_bytes_max)
        for found in run.all_matches():
            if found is None:
                yield
                continue
            record, document = found
            position = key(document), record.id
            if request.after is None or position > request.after:
                first.add(position, record, record.size)
        kept = first.items()[skip:]
        items: list[T] = []
        size = 0
        for at, (_, record) in enumerate(kept):
            if items and size >= limits.list_bytes_max:
                return run.found(items, kept[at - 1][0], 0)
            size += record.size
            items.append(show(Found(record.id, record.revision, run.find.shown(record.text))))
            if at % 64 == 63:
                yield
        return run.found(items, kept[-1][0] if first.more and kept else None, 0)

    def _count(self, request: CountDocuments, run: _Run) -> _Steps[Counted]:
        count = 0
        if run.exact:
            for size in run.counted():
                if size is None:
                    yield
                else:
                    count += size
            return Counted(count, run.revision, run.told, run.stale_since)
        for found in run.all_matches():
            if found is None:
                yield
            else:
                count += 1
        return Counted(count, run.revision, run.told, run.stale_since)

    def _distinct(self, request: DistinctValues, run: _Run) -> _Steps[DistinctResult]:
        limits = self._door.limits
        values: dict[bytes, tuple[str, Value]] = {}
        size = 0
        for found in run.all_matches():
            if found is None:
                yield
                continue
            for value in values_at(found[1], request.path):
                for at, one in enumerate(value if type(value) is list else (value,)):
                    if at % 1_000 == 999:
                        yield
                    key = sort_key(one)
                    if one is MISSING:
                        continue
                    if key in values:
                        # 1 and 1.0 are the same value: it is written as in the first document, however it was found.
                        if found[0].id < values[key][0]:
                            values[key] = found[0].id, one
                        continue
                    values[key] = found[0].id, one
                    size += len(key)
                    if len(values) > limits.distinct_values_max or size > limits.list_bytes_max:
                        raise _too_many_values(limits)
        return DistinctResult(tuple(values[key][1] for key in sorted(values)), run.revision, run.told, run.stale_since)


def _too_many_values(limits: StoreLimits) -> InvalidRequest:
    return InvalidRequest(
        "query_too_costly",
        f"there are more than {limits.distinct_values_max} different values, "
        f"or they have more than {limits.list_bytes_max} bytes; narrow the filter",
    )


def _pinned(view: View, request: Query, revision: int) -> Pinned:
    names = [name for name, _ in request.pipeline.collections] if isinstance(request, AggregateDocuments) else []
    return Pinned(view, revision, Scope(frozenset((request.collection, *names))), others=len(names))


class _Run:
    """One run of a query over the state as it is now. Made in the event loop, used in the thread of queries.

    One over a state of the past is made in the thread, where that was collected.
    """

    __slots__ = (
        "_asked",
        "_expired",
        "_joins",
        "_limits",
        "_reader",
        "_records",
        "_seen",
        "_streaming",
        "_use",
        "exact",
        "find",
        "in_order",
        "meter",
        "revision",
        "stale_since",
    )

    def __init__(
        self, door: Door, request: Query, expired: float, pinned: Pinned | None = None, seen: Views | None = None
    ) -> None:
        """`pinned` is the past that is read, None for the state of now; `expired` is when the query's time is up, by
        `time.monotonic`. `seen` is what the caller sees, if that was asked before. Raises `Forbidden` and
        `InvalidPart("invalid_hint")`."""
        self._expired = expired
        self._limits = door.limits
        self.find = request.find
        # In the turn of the loop in which the state is taken: what the caller may see is of the same state.
        self._seen = seen = seen or Views(door, request)
        planned = seen.planned(request.find)
        self.meter = Meter()
        self.stale_since: float | None = None
        self._joins: tuple[_Join, ...] = ()
        if pinned is None:
            replica = door.replica
            # Revision and cursor without an await between: both are of one state, as the cursor reads a consistent
            # view.
            self.revision, staleness_s = replica.revision, replica.staleness_s()
            pipeline = request.pipeline if isinstance(request, AggregateDocuments) else None
            self._joins = () if pipeline is None else tuple(_Join(replica.view, seen) for _ in pipeline.collections)
            self.stale_since = None if staleness_s is None else perf_counter() - staleness_s
            planning = view = replica.view
        else:
            self.revision = pinned.undo.revision
            self._joins = tuple(_Join(one, seen, past=True) for one in pinned.others())
            planning, view = pinned.planning(), pinned.reading()
            self.meter.undone = pinned.undo.changed
        after = request.after if isinstance(request, FindDocuments | ExportDocuments) else None
        self._use, needs = _use_of(request)
        plan = plan_of(
            planned,
            seen.indexes(indexes_of(planning, request.collection)),
            partial(count_keys, planning),
            needs=needs,
            use=self._use,
            limit=request.limit if isinstance(request, FindDocuments) else 0,
        )
        if plan is not None and is_there(planning) is not None:
            # Entries do not tell whether their documents have expired.
            plan = plan._replace(covered=False, exact=False)
        if plan is not None and seen.first is not None:
            # Nor whether the caller sees them.
            plan = plan._replace(covered=False, exact=False)
        self.in_order = plan is not None and plan.order == "sort"
        """Whether matches come in the order that was asked for."""
        self._streaming = plan is not None and plan.order != "memory"
        """Whether a page can end at an entry: otherwise all are read before the first match."""
        self.exact = plan is not None and plan.exact
        """Whether the entries that are read are as many as the matches."""
        if self.find.order and not self.in_order:
            after = None  # looked at when everything is sorted
        self._asked = planned.asked._replace(node=self.find.asked.node)
        self._reader: IndexReader | None = None
        self._records: Iterator[Record] = iter(())
        if plan is not None:
            self._reader = IndexReader(view, request.collection, plan, planned.place, self.meter, after, seen.records)
        else:
            found = _records(view, request.collection, planned, None if after is None else after[1])
            self._records = seen.records(found)

    def matches(self) -> Iterator[tuple[Record, dict[str, Any]] | None]:
        """Yield as `query.scanning.matching`. Raises `ReadTimedOut` behind a pause when the time is up."""
        for found in self._matches():
            yield found
            if found is None:
                self.check_time()

    def page_matches(self) -> Iterator[tuple[Record, dict[str, Any]] | None]:
        """Do as `matches`, for a page; as `all_matches` where a page does not end before it is full: see `is_full`."""
        return self.matches() if self._seen.first is None else self.all_matches()

    def all_matches(self) -> Iterator[tuple[Record, dict[str, Any]] | None]:
        """Do as `matches`, for a query that must see all. Raises `InvalidRequest` if that is more than it may read."""
        return self._bounded(self.matches())

    def others(self, join: int, collection: str, find: Find) -> Iterator[tuple[Record, dict[str, Any]] | None]:
        """Yield what `find` finds of another collection, by ID, within what the whole query may read."""
        return self._bounded(self._joins[join].matches(collection, find))

    def joins(self) -> tuple[dict[str, Any] | None, ...]:
        """Return how the documents of each other collection were found at last."""
        return tuple(join.plan for join in self._joins)

    def examined(self) -> Meter:
        """Return what is told of what was read of all collections together, with the plan of the first one."""
        return self._seen.told(self._all_read())

    def _all_read(self) -> Meter:
        total = Meter()
        total.plan = self.meter.plan
        for meter in (self.meter, *(join.meter for join in self._joins)):
            total.documents += meter.documents
            total.bytes += meter.bytes
            total.keys += meter.keys
        total.undone = self.meter.undone
        return total

    @property
    def told(self) -> Meter:
        """What is told of what was read: nothing of what is hidden."""
        return self._seen.told(self.meter)

    def _bounded(self, matches: Iterator[T | None]) -> Iterator[T | None]:
        for found in matches:
            if found is None:
                self._check_amount()
            yield found

    def check_time(self) -> None:
        """Raise `ReadTimedOut` when the time is up."""
        if monotonic() >= self._expired:
            raise ReadTimedOut(
                f"the query had looked at {self.meter.documents} documents when its time was up; "
                "narrow its filter, or give it more time"
            )

    def check_rights(self, door: Door) -> None:
        """Refuse to go on if the caller does not see any more what it saw when this began. Raises `Forbidden`."""
        self._seen.check(door)

    def counted(self) -> Iterator[int | None]:
        """Yield how many entries there are, in pieces, and None behind each; as `all_matches`."""
        if self._reader is None:
            raise InvariantViolated("without an index there are no entries to count")
        for size in self._reader.count():
            if size is None:
                self.check_time()
                self._check_amount()
            yield size

    def is_full(self) -> bool:
        """Whether a page ends, because so much was looked at for it."""
        meter = self.meter
        # Not behind a document that is hidden: the cursor would tell its ID.
        return self._seen.first is None and (
            meter.documents >= PAGE_DOCUMENTS_MAX
            or meter.bytes >= PAGE_BYTES_MAX
            or (self._streaming and meter.keys >= PAGE_DOCUMENTS_MAX)
        )

    def position(self) -> Position:
        """Return where the document is that was looked at last, in the order of the index."""
        if self._reader is None:
            raise InvariantViolated("without an index there is no order of entries")
        return self._reader.position()

    def found(self, items: list[T], end: Position | None, skip: int) -> FindResult[T]:
        """Return the page; the next one begins behind `end`, and `skip` matches of it are still to be skipped."""
        return FindResult(tuple(items), end, skip, self.revision, self.told, self.stale_since)

    def _matches(self) -> Matches:
        if self._reader is None:
            return matching(self._records, self._asked, self.meter)
        if self._use is Use.PAGES_BY_ID or self.in_order:
            return self._reader.matches(self._asked)
        return self._reader.unordered(self._asked)

    def _check_amount(self) -> None:
        limits, meter = self._limits, self._all_read() if self._joins else self.meter
        if max(meter.documents, meter.keys) > limits.query_documents_max or meter.bytes > limits.query_bytes_max:
            raise InvalidRequest(
                "query_too_costly",
                f"the query would look at more than {limits.query_documents_max} documents "
                f"or {limits.query_bytes_max >> 20} MiB; narrow its filter by _id, or by the fields of an index",
            )


class _Join:
    """Another collection that a pipeline reads, in the state that the query began with."""

    __slots__ = ("_past", "_seen", "_view", "meter", "plan")

    def __init__(self, view: View, seen: Views, *, past: bool = False) -> None:
        """The `past` is read one document after the other: it has one cursor for each collection."""
        self._view = view if past else SameState(view)
        self._seen = seen
        self._past = past
        self.meter = Meter()
        self.plan: dict[str, Any] | None = None
        """How its documents were found at last."""

    def matches(self, collection: str, find: Find) -> Matches:
        """Yield the documents that match, by ID; what was read before is at its end."""
        view, use = self._view, Use.PAGES_BY_ID
        planned, see = find, _as_they_are
        indexes = [] if self._past else indexes_of(view, collection)
        if (seen := self._seen.of(collection)) is not None:
            planned, indexes, see = seen.find(find), seen.indexes(indexes), seen.records
        asked = planned.asked._replace(node=find.asked.node)
        plan = plan_of(planned, indexes, partial(count_keys, view), needs=None, use=use)
        if plan is None:
            self.plan = find.plan()
            return matching(see(_records(view, collection, planned, None)), asked, self.meter)
        self.plan = plan.shown()
        return IndexReader(view, collection, plan, planned.place, self.meter, None, see).matches(asked)


class Views:
    """What a caller sees of the collections of one query. Asked in the event loop, used in the thread of queries."""

    __slots__ = ("_asked_at", "_of", "_request", "first")

    def __init__(self, door: Door, request: Query) -> None:
        """By the rights of now. Raises `Forbidden`."""
        self._request = request
        self._asked_at = door.access.revision
        self._of: dict[str, Seen] = {}
        rights = door.asked(request)
        if rights is not None:
            names = (
                [name for name, _ in request.pipeline.collections] if isinstance(request, AggregateDocuments) else []
            )
            verb = Verb.READ
            if isinstance(request, ExportDocuments):
                verb = reading_verb(rights, request.collection)
            for name in (request.collection, *names):
                view = rights.view(name, verb)
                if view is not None and name not in self._of:
                    self._of[name] = Seen(view)
        self.first = self._of.get(request.collection)
        """Of the collection of the query; None for everything."""

    def check(self, door: Door) -> None:
        """Refuse to go on if other views are those of now. Raises `Forbidden`."""
        if not door.access.enabled or door.access.revision == self._asked_at:
            return
        now = Views(door, self._request)
        if now != self:
            name = self._request.collection
            raise Forbidden(Verb.READ, Kind.COLLECTION, name, of="what this has shown so far ")
        self._asked_at = now._asked_at

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Views) and self._of == other._of

    def __hash__(self) -> int:
        return id(self)

    def of(self, collection: str) -> Seen | None:
        """Return what the caller sees of a collection; None for everything."""
        return self._of.get(collection)

    def planned(self, find: Find) -> Find:
        """Return the query as it is planned."""
        return find if self.first is None else self.first.find(find)

    def indexes(self, indexes: list[IndexFacts]) -> list[IndexFacts]:
        """Return the indexes that it may use."""
        return indexes if self.first is None else self.first.indexes(indexes)

    def records(self, records: Iterator[Record]) -> Iterator[Record]:
        """Yield documents as the caller sees them."""
        return records if self.first is None else self.first.records(records)

    def told(self, meter: Meter) -> Meter:
        """Return what is told of what was read."""
        if not self._of:
            return meter
        told = meter
        for seen in self._of.values():
            told = seen.told(told)
        return told


def _as_they_are(records: Iterator[Record]) -> Iterator[Record]:
    return records


def _use_of(request: Query) -> tuple[Use, frozenset[Path] | None]:
    """Return what becomes of a query's matches, and the paths that it needs of a document, None for all of it."""
    find = request.find
    asked = paths_of(find.asked.node)
    match request:
        case CountDocuments():
            return Use.COUNT, asked
        case DistinctValues(path=path):
            return Use.DISTINCT, None if asked is None else asked | {path}
    use = Use.SORT if find.order else Use.PAGES_BY_ID
    return use, needs_of(asked, find.shown_paths, find.order)


def _records(view: View, collection: str, find: Find, after: str | None) -> Iterator[Record]:
    match find.place:
        case Ids(names):
            left = names if after is None else tuple(name for name in names if name > after)
            found = pick_documents(view, collection, left, marked=True)
        case Span(lowest, end):
            found = scan_documents(view, collection, lowest=lowest, after=after, end=end, marked=True)
    return map(record_of, found)
