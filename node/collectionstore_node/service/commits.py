"""`Commits`: transactions with queries among their conditions, and the ends of interactive ones.

Where to look for what a query finds is planned here, on the state that this member has applied, and written into the
command: the state machine follows the plan, so that a planner may change from one version to the next. What a plan
says can be out of date when the command is applied; the state machine sees to that (`statemachine.searching`).
"""

from __future__ import annotations

import asyncio
from functools import partial
from time import perf_counter
from typing import Final

import orjson
from msgspec.structs import replace

from collectionstore_node.access.rights import DocumentView, Rights
from collectionstore_node.documents.filters import Node, parse_filter
from collectionstore_node.errors import InvalidPart, InvalidRequest, ManyDeleted, ReadTimedOut
from collectionstore_node.query.find import find_where
from collectionstore_node.query.planning import Use, plan_of
from collectionstore_node.query.spans import EVERYTHING, Ids, Span
from collectionstore_node.service.door import Door, Propose
from collectionstore_node.service.idempotency import request_text
from collectionstore_node.service.index_reads import count_keys, indexes_of
from collectionstore_node.service.operations import Commit, DocumentQuery, GuardedTransaction
from collectionstore_node.service.queries import Queries
from collectionstore_node.service.results import Outcome
from collectionstore_node.service.seeing import Seen
from collectionstore_node.statemachine.catalog import find_collection
from collectionstore_node.statemachine.commands import SCAN, Plan
from collectionstore_node.statemachine.commits import too_costly_at
from collectionstore_node.statemachine.costs import (
    FILTER_BYTES_MAX,
    QUERY_RANGES_MAX,
    TRANSACTION_COST_MAX,
    UPDATE_VALUES_MAX,
)
from collectionstore_node.statemachine.index_catalog import read_indexes
from collectionstore_node.statemachine.keys import idempotency_key, index_prefix
from collectionstore_node.statemachine.searching import parse_query
from collectionstore_node.statemachine.view import View

PLAN_BYTES_MAX: Final = 64 << 10
"""What the ranges of a plan may have together: they are in the log."""

TOO_COSTLY: Final = (
    f"the queries of a transaction look at about {TRANSACTION_COST_MAX >> 20} MiB of documents and entries of indexes; "
    "make an index for the filter, or narrow it by _id"
)


class QueryTooCostly(InvalidRequest):
    """The query at `position` looks at more than a transaction may; positions as in `Code.QUERY_TOO_COSTLY`."""

    def __init__(self, position: int) -> None:
        super().__init__("query_too_costly", TOO_COSTLY)
        self.position = position


class Commits:
    """Part of `Store`, whose errors it raises, and `InvalidPart("invalid_filter")`."""

    __slots__ = ("_door", "_propose", "_queries")

    def __init__(self, door: Door, queries: Queries, propose: Propose) -> None:
        self._door = door
        self._queries = queries
        self._propose = propose

    async def run(self, action: GuardedTransaction | Commit, *, key: str | None, timeout_s: float) -> Outcome:
        """Run a transaction with queries. Raises `OutcomeUnknown`."""
        began = perf_counter()
        planned = await self.planned(action, key=key, timeout_s=timeout_s)
        left_s = timeout_s - (perf_counter() - began)
        if left_s <= 0:
            raise ReadTimedOut("the time was up when the queries of the transaction were planned")
        # By what the client sent: a repeated request may be planned otherwise.
        return await self._propose(planned, key, left_s, request=request_text(action))

    async def planned(
        self, action: GuardedTransaction | Commit, *, key: str | None, timeout_s: float
    ) -> GuardedTransaction | Commit:
        """Return a transaction with the plans of its queries, which were carried out once on the state of this member.

        Raises `InvalidRequest("query_too_costly")`, unless there is an outcome under its idempotency key.
        """
        try:
            return await self._planned(action, timeout_s)
        except QueryTooCostly:
            # A repeated request is answered as the first one was, whatever its queries would look at by now.
            stored = self._door.key(key)
            if stored is None or self._door.replica.view.get(idempotency_key(stored)) is None:
                raise
            return action

    async def _planned(self, action: GuardedTransaction | Commit, timeout_s: float) -> GuardedTransaction | Commit:
        door, clock = self._door, asyncio.get_running_loop().time
        deadline = clock() + timeout_s
        door.admit(action)
        view, rights = door.replica.view, door.limited()
        try:
            return await self._queries.checked(lambda: _planned(action, view, rights), timeout_s=timeout_s)
        except ManyDeleted as gap:
            # As for a query: once.
            await door.replica.reclaim(gap.lo, gap.hi, timeout_s=deadline - clock())
        return await self._queries.checked(lambda: _planned(action, view, rights), timeout_s=deadline - clock())


def check_query(text: bytes, pointer: str) -> Node:
    """Return the filter of a query; `pointer` is where it is in the request. Raises `InvalidPart`."""
    if len(text) > FILTER_BYTES_MAX or sum(map(text.count, (b",", b"[", b"{"))) > UPDATE_VALUES_MAX:
        raise InvalidPart(
            "invalid_filter", pointer, f"a filter has at most {FILTER_BYTES_MAX} bytes and {UPDATE_VALUES_MAX} values"
        )
    return parse_filter(orjson.loads(text), pointer)


def _planned(action: GuardedTransaction | Commit, view: View, rights: Rights | None) -> GuardedTransaction | Commit:
    def query(given: DocumentQuery) -> DocumentQuery:
        return _query(given, view, None if rights is None else rights.view(given.collection))

    planned: GuardedTransaction | Commit
    match action:
        case GuardedTransaction(_, guards):
            planned = replace(action, guards=tuple(replace(one, query=query(one.query)) for one in guards))
        case Commit(_, queries, _):
            planned = replace(action, queries=tuple(replace(one, query=query(one.query)) for one in queries))
    position = too_costly_at(view, planned)
    if position is not None:
        raise QueryTooCostly(position)
    return planned


def _query(query: DocumentQuery, view: View, seen: DocumentView | None) -> DocumentQuery:
    # As the state machine does: what it would refuse is refused before it takes a place in the log.
    node = parse_query(query.filter).node
    return query if query.id is not None else replace(query, plan=plan(query.collection, node, view, seen))


def plan(collection: str, node: Node, view: View, seen: DocumentView | None = None) -> Plan:
    """Return where to look for the documents that match: by IDs, by an index, or everywhere.

    By no index that tells more than is `seen`: the filter is asked about documents as the caller sees them.
    """
    find = find_where(node)
    if isinstance(find.place, Ids):
        # Behind each ID what begins with it, and has it as a whole only.
        ranges = tuple((name.encode(), name.encode() + b"\0") for name in find.place.names)
        return _bounded(Plan(0, ranges))
    found = find_collection(view, collection)
    if found is not None and found.indexed:
        indexes = indexes_of(view, collection)
        if seen is not None:
            indexes = Seen(seen).indexes(indexes)
        made = plan_of(find, indexes, partial(count_keys, view), needs=None, use=Use.COUNT)
        if made is not None:
            prefix = made.facts.prefix
            for one in read_indexes(view, found.id):
                if index_prefix(found.id, one.id) == prefix:
                    ranges = tuple(_behind(prefix, *one) for one in made.ranges if one[0] < one[1])
                    return _bounded(Plan(one.id, ranges, single=not made.facts.multikey))
    match find.place:
        case Span(lowest, end) if find.place != EVERYTHING:
            return _bounded(Plan(0, ((lowest.encode(), b"" if end is None else end.encode()),)))
    return SCAN


def _behind(prefix: bytes, lo: bytes, hi: bytes) -> tuple[bytes, bytes]:
    # The end of all keys with the prefix has another one.
    return lo[len(prefix) :], hi[len(prefix) :] if hi.startswith(prefix) else b""


def _bounded(made: Plan) -> Plan:
    size = sum(len(lo) + len(hi) for lo, hi in made.ranges)
    return made if len(made.ranges) <= QUERY_RANGES_MAX and size <= PLAN_BYTES_MAX else SCAN
