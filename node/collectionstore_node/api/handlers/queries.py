"""Queries: find, count and distinct values, by a filter in the body; and the same find by query parameters."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from time import perf_counter
from typing import Any, Final, TypeVar

import msgspec
import orjson

from collectionstore_node.api.handlers.read_answers import joined
from collectionstore_node.api.http.answers import Answer
from collectionstore_node.api.http.call import Call
from collectionstore_node.api.http.cursors import Place, decode_place, encode_place, is_pinned
from collectionstore_node.api.http.json_bodies import compact_json
from collectionstore_node.api.http.json_windows import Rules
from collectionstore_node.api.http.names import collection_name
from collectionstore_node.api.http.problems import Problem
from collectionstore_node.errors import HistoryGone, UpgradePending
from collectionstore_node.service import Store
from collectionstore_node.service.operations import (
    CountDocuments,
    DistinctValues,
    Find,
    FindDocuments,
    ReadConsistency,
    ReadPoint,
    pinned_revision,
)
from collectionstore_node.service.queries import SKIP_MAX, parse_fields_text, parse_find, parse_path, parse_sort_text
from collectionstore_node.service.results import Found, Meter

T = TypeVar("T")

AT_ONCE_BYTES_MAX: Final = 2 << 10
"""A larger filter, or one with patterns, is checked in the thread of queries."""

_NOTHING: Final[dict[str, Any]] = {}


class Selection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a count: which documents are counted."""

    filter: dict[str, Any] = msgspec.field(default_factory=dict)
    explain: bool = False
    hint: str | None = None


class Distinct(Selection, frozen=True, kw_only=True):
    """The body of a request for the different values of `field`, a dotted path."""

    field: str


class Search(Selection, frozen=True, kw_only=True):
    """The body of a find."""

    sort: dict[str, Any] = msgspec.field(default_factory=dict)
    projection: dict[str, Any] | None = None
    limit: int | None = None
    skip: int = 0
    cursor: str | None = None


async def find(call: Call) -> Answer:
    """Return one page of the documents that match, in the order asked for."""
    name = collection_name(call.arguments[0])
    return await _found(call, name, await call.json_struct(Search))


async def list_found(call: Call, collection: str) -> Answer:
    """Do as `find`, for the parameters `filter`, `sort`, `fields` and `hint` of a list."""
    options = call.options
    if options.prefix:
        raise Problem(
            "invalid_parameter", 'prefix does not go with filter, sort, fields or hint; filter by {"_id": ...}'
        )
    search = Search(
        filter=_NOTHING if options.filter is None else filter_in_url(options.filter, call.api.limits.depth_max),
        sort=_NOTHING if options.sort is None else parse_sort_text(options.sort),
        projection=None if options.fields is None else parse_fields_text(options.fields),
        limit=options.limit,
        cursor=options.cursor,
        hint=options.hint,
    )
    return await _found(call, collection, search)


async def count(call: Call) -> Answer:
    """Return how many documents match."""
    name = collection_name(call.arguments[0])
    body = await call.json_struct(Selection)
    query = await checked(call, body.filter, lambda: parse_find(body.filter, hint=body.hint))
    started = perf_counter()
    counted = await call.api.store.queries.count(
        CountDocuments(name, query), consistency=call.options.consistency, timeout_s=call.timeout_s
    )
    head = b'{"count":%d' % counted.count
    revision = pinned_revision(call.options.consistency)
    explained = _explained(body, query, counted.meter, counted.count, started, revision)
    return joined(head, (), explained, counted.revision, counted.stale_since)


async def distinct(call: Call) -> Answer:
    """Return the different values of a field among the documents that match."""
    name = collection_name(call.arguments[0])
    body = await call.json_struct(Distinct)
    path = parse_path(body.field, "invalid_query", "/field")
    query = await checked(call, body.filter, lambda: parse_find(body.filter, hint=body.hint))
    started = perf_counter()
    found = await call.api.store.queries.distinct(
        DistinctValues(name, query, path), consistency=call.options.consistency, timeout_s=call.timeout_s
    )
    head = b'{"values":%s' % orjson.dumps(found.values)
    revision = pinned_revision(call.options.consistency)
    explained = _explained(body, query, found.meter, len(found.values), started, revision)
    return joined(head, (), explained, found.revision, found.stale_since)


async def _found(call: Call, name: str, search: Search) -> Answer:
    query = await checked(
        call, search.filter, lambda: parse_find(search.filter, search.sort, search.projection, search.skip, search.hint)
    )
    limit = call.api.limits.list_items_default if search.limit is None else search.limit
    scope, after, consistency = _scope(name, search), None, call.options.consistency
    store = call.api.store
    # None while the cluster is of an earlier feature level: its other members may not know cursors with revisions.
    signing = store.token_key() if store.pins else None
    place: Place | None = None
    if search.cursor is not None:
        place = _place(scope, search.cursor, signing, query)
        after, query = (place.key, place.name), msgspec.structs.replace(query, skip=place.skip)
        consistency = _continued(place, consistency)
    started = perf_counter()
    try:
        page = await store.queries.find(
            FindDocuments(name, query, after, limit), show=listed, consistency=consistency, timeout_s=call.timeout_s
        )
    except HistoryGone as gone:
        if place is None:
            raise
        # As Kubernetes does with lists: it is up to the client whether the rest may be of another state.
        onward = encode_place(scope, place._replace(revision=0), signing)
        raise Problem(
            gone.code,
            f"{gone.detail}; start again without a cursor, or take next_cursor for the rest as it is now",
            oldest_revision=gone.oldest,
            next_cursor=onward,
        ) from None
    cursor = None
    if page.next_after is not None:
        cursor = encode_place(scope, Place(*page.next_after, page.skip, page.revision), signing)
    tail = b'],"next_cursor":%s%s' % (
        orjson.dumps(cursor),
        _explained(search, query, page.meter, len(page.items), started, pinned_revision(consistency)),
    )
    return joined(b'{"documents":[', page.items, tail, page.revision, page.stale_since)


def _place(scope: tuple[str, ...], cursor: str, signing: bytes | None, query: Find) -> Place:
    if signing is None and is_pinned(cursor):
        raise UpgradePending("the cluster is being upgraded, and this member cannot read the cursor yet")
    place = decode_place(scope, cursor, signing)
    if place.skip > SKIP_MAX or (place.skip and query.order):
        raise Problem("invalid_cursor", "the cursor is damaged; start again without it")
    return place


def _continued(place: Place, consistency: ReadConsistency) -> ReadConsistency:
    """Return how a page behind `place` is read: at the revision of the first page."""
    if not place.revision:
        return consistency
    asked = pinned_revision(consistency)
    if asked is not None and asked != place.revision:
        raise Problem("invalid_cursor", f"the cursor is of revision {place.revision}, and at_revision is {asked}")
    return ReadPoint(at_revision=place.revision)


async def checked(call: Call, given: object, parse: Callable[[], T]) -> T:
    """Return the query that `parse` checks; at once if that takes no time."""
    return await checked_by(call.api.store, given, parse, timeout_s=call.timeout_s)


async def checked_by(store: Store, given: object, parse: Callable[[], T], *, timeout_s: float) -> T:
    """Do as `checked`, for what is no request of HTTP."""
    text = orjson.dumps(given)
    if len(text) <= AT_ONCE_BYTES_MAX and b"$regex" not in text:
        return parse()
    return await store.queries.checked(parse, timeout_s=timeout_s)


def _scope(name: str, search: Search) -> tuple[str, ...]:
    asked = hashlib.sha256(orjson.dumps([search.filter, search.sort])).hexdigest()
    return ("find", name, asked)


def filter_in_url(text: str, depth_max: int) -> dict[str, Any]:
    """Return the filter in a parameter. Raises `Problem`."""
    try:
        value: dict[str, Any] = orjson.loads(compact_json(text.encode(), Rules(depth_max, names_depth=0)))
    except Problem as problem:
        raise Problem("invalid_parameter", f"filter is not a JSON object: {problem.detail}") from None
    return value


def _explained(
    body: Selection, query: Find, meter: Meter, returned: int, started: float, revision: int | None
) -> bytes:
    if not body.explain:
        return b""
    facts: dict[str, object] = {
        "plan": meter.plan or query.plan(),
        "keys_examined": meter.keys,
        "examined": meter.documents,
        "examined_bytes": meter.bytes,
        "returned": returned,
        "elapsed_ms": round((perf_counter() - started) * 1_000, 3),
    }
    return b',"explain":%s' % orjson.dumps(facts | past_facts(meter, revision))


def past_facts(meter: Meter, revision: int | None) -> dict[str, object]:
    """Return what an explanation says of a read of the past; nothing for another one."""
    return {} if revision is None else {"at_revision": revision, "changed_since": meter.undone}


def listed(item: Found) -> bytes:
    """Return a match as JSON."""
    return b'{"id":%s,"revision":%d,"document":%s}' % (orjson.dumps(item.id), item.revision, item.document)
