"""Collections: create, list, look at, drop. A collection's revision is that of its creation."""

from __future__ import annotations

import msgspec
import orjson

from collectionstore_node.api.answers import Answer, json_answer, revision_line
from collectionstore_node.api.idempotency import REPLAYED, idempotency_key
from collectionstore_node.api.names import collection_name
from collectionstore_node.api.ports import Call
from collectionstore_node.api.preconditions import ABSENT, write_precondition
from collectionstore_node.api.problems import Problem
from collectionstore_node.api.reads import NO_CACHE, after_cursor, page_answer
from collectionstore_node.api.requests import read_request
from collectionstore_node.api.writes import propose, refusal, removed
from collectionstore_node.statemachine.catalog import find_collection
from collectionstore_node.statemachine.commands import (
    ANY,
    Code,
    CreateCollection,
    DropCollection,
    Outcome,
)
from collectionstore_node.statemachine.reads import ListedCollection, list_collections


class NewCollection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a POST."""

    name: str


async def put(call: Call) -> Answer:
    """Make sure that a collection exists: 201 when it is new, 200 when it was there. The body is not looked at."""
    name = collection_name(call.arguments[0])
    headers = call.request.headers
    precondition = write_precondition(headers)
    if precondition not in (ANY, ABSENT):
        raise Problem("invalid_precondition", "the only precondition of a collection is If-None-Match: *")
    outcome = await propose(call, CreateCollection(name), idempotency_key(headers))
    if outcome.code is Code.OK:
        return _created(name, outcome)
    if outcome.code is not Code.COLLECTION_EXISTS:
        raise refusal(outcome, absent="collection_not_found")
    if precondition == ABSENT:
        raise Problem("precondition_failed", "the collection exists", revision=outcome.revision)
    # This node may not have applied its creation yet.
    await call.api.replica.read_barrier(timeout_s=call.timeout_s)
    return _found(call, name)


async def post(call: Call) -> Answer:
    """Create a collection named in the body; 409 when it exists."""
    headers = call.request.headers
    if write_precondition(headers) is not ANY:
        raise Problem("invalid_precondition", "a new collection has no revision to compare")
    key = idempotency_key(headers)
    name = collection_name((await read_request(call, NewCollection)).name)
    outcome = await propose(call, CreateCollection(name), key)
    if outcome.code is not Code.OK:
        raise refusal(outcome, absent="collection_not_found")
    return _created(name, outcome)


async def get(call: Call) -> Answer:
    """Return what is known of a collection."""
    name = collection_name(call.arguments[0])
    await call.fresh_view()
    return _found(call, name)


async def delete(call: Call) -> Answer:
    """Drop a collection with all its documents."""
    name = collection_name(call.arguments[0])
    headers = call.request.headers
    if write_precondition(headers) is not ANY:
        raise Problem("invalid_precondition", "dropping a collection takes no precondition")
    outcome = await propose(call, DropCollection(name), idempotency_key(headers))
    if outcome.code is not Code.OK:
        raise refusal(outcome, absent="collection_not_found")
    return removed(outcome, orjson.dumps({"name": name, "revision": outcome.revision}))


async def list_page(call: Call) -> Answer:
    """Return collections by name."""
    options = call.options
    scope = ("collections", options.prefix)
    after = after_cursor(call, scope)
    page = list_collections(await call.fresh_view(), prefix=options.prefix, after=after, limit=options.limit)
    return page_answer(call, scope, page, "collections", _listed)


def _created(name: str, outcome: Outcome) -> Answer:
    revision = outcome.revision
    headers = b'ETag: "%d"\r\nLocation: /api/v1/collections/%s\r\n' % (revision, name.encode())
    replayed = REPLAYED if outcome.replayed else b""
    return json_answer(
        {"name": name, "revision": revision}, status=201, headers=headers + revision_line(revision) + replayed
    )


def _found(call: Call, name: str) -> Answer:
    replica = call.api.replica
    found = find_collection(replica.view, name)
    if found is None:
        raise Problem("collection_not_found", f"there is no collection {name!r}")
    headers = b'ETag: "%d"\r\n' % found.id + revision_line(replica.revision) + NO_CACHE
    return json_answer({"name": name, "revision": found.id}, headers=headers)


def _listed(item: ListedCollection) -> bytes:
    return orjson.dumps({"name": item.name, "revision": item.collection.id})
