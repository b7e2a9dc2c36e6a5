"""Collections: create, list, read, drop. A collection's revision is that of its creation."""

from __future__ import annotations

import msgspec
import orjson

from collectionstore_node.api.handlers.read_answers import NO_CACHE, after_cursor, page_answer
from collectionstore_node.api.handlers.write_answers import outcome_lines, refusal, removed
from collectionstore_node.api.http.answers import Answer, json_answer, revision_line
from collectionstore_node.api.http.call import Call
from collectionstore_node.api.http.idempotency import REPLAYED, idempotency_key
from collectionstore_node.api.http.names import collection_name
from collectionstore_node.api.http.preconditions import ABSENT, write_precondition
from collectionstore_node.api.http.problems import Problem
from collectionstore_node.service import Consistency, ReadConsistency
from collectionstore_node.service.operations import ANY, ListCollections
from collectionstore_node.service.results import Code, CollectionInfo, Outcome


class NewCollection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a POST."""

    name: str


async def put(call: Call) -> Answer:
    """Create a collection unless it exists: 201 if it was created, 200 if it existed. The body is ignored."""
    name = collection_name(call.arguments[0])
    headers = call.request.headers
    precondition = write_precondition(headers)
    if precondition not in (ANY, ABSENT):
        raise Problem("invalid_precondition", "the only precondition of a collection is If-None-Match: *")
    key = idempotency_key(headers)
    outcome = await call.api.store.create_collection(name, key=key, timeout_s=call.timeout_s)
    if outcome.code is Code.OK:
        return _created(name, outcome)
    if outcome.code is not Code.COLLECTION_EXISTS:
        raise refusal(outcome, absent="collection_not_found")
    replayed = outcome_lines(outcome)
    current = outcome.current_revision
    if precondition == ABSENT:
        problem = Problem("precondition_failed", "the collection exists", headers=replayed, revision=outcome.revision)
        if current:
            problem.members["current_revision"] = current
        raise problem
    if current:
        # From the outcome, not from the catalog: a retry is answered as the first request was, also after a delete.
        return _existing(name, current, revision_line(outcome.revision) + NO_CACHE + replayed)
    # An outcome of feature level 1 does not say which it found. Linearizable: this node may not have applied its
    # creation yet.
    return await _found(call, name, Consistency.LINEARIZABLE, replayed)


async def post(call: Call) -> Answer:
    """Create the collection named in the body; 409 when it exists."""
    headers = call.request.headers
    if write_precondition(headers) is not ANY:
        raise Problem("invalid_precondition", "a new collection has no revision to compare")
    key = idempotency_key(headers)
    name = collection_name((await call.json_struct(NewCollection)).name)
    outcome = await call.api.store.create_collection(name, key=key, timeout_s=call.timeout_s)
    if outcome.code is not Code.OK:
        raise refusal(outcome, absent="collection_not_found")
    return _created(name, outcome)


async def get(call: Call) -> Answer:
    """Return a collection's catalog record."""
    return await _found(call, collection_name(call.arguments[0]), call.options.consistency)


async def delete(call: Call) -> Answer:
    """Drop a collection with all its documents."""
    name = collection_name(call.arguments[0])
    headers = call.request.headers
    if write_precondition(headers) is not ANY:
        raise Problem("invalid_precondition", "dropping a collection takes no precondition")
    key = idempotency_key(headers)
    outcome = await call.api.store.drop_collection(name, key=key, timeout_s=call.timeout_s)
    if outcome.code is not Code.OK:
        raise refusal(outcome, absent="collection_not_found")
    return removed(outcome, orjson.dumps({"name": name, "revision": outcome.revision}))


async def list_page(call: Call) -> Answer:
    """Return a page of collections by name."""
    options = call.options
    scope = ("collections", options.prefix)
    request = ListCollections(options.prefix, after_cursor(call, scope), options.limit)
    page = await call.api.store.lists.collections(
        request, show=listed, consistency=options.consistency, timeout_s=call.timeout_s
    )
    return page_answer(scope, page, "collections")


def _created(name: str, outcome: Outcome) -> Answer:
    revision = outcome.revision
    headers = b'ETag: "%d"\r\nLocation: /api/v1/collections/%s\r\n' % (revision, name.encode())
    replayed = REPLAYED if outcome.replayed else b""
    return json_answer(
        {"name": name, "revision": revision}, status=201, headers=headers + revision_line(revision) + replayed
    )


async def _found(call: Call, name: str, consistency: ReadConsistency, headers: bytes = b"") -> Answer:
    found = await call.api.store.read_collection(name, consistency=consistency, timeout_s=call.timeout_s)
    collection = found.collection
    if collection is None:
        raise Problem("collection_not_found", f"there is no collection {name!r}")
    return _existing(name, collection.revision, revision_line(found.revision) + NO_CACHE + headers)


def _existing(name: str, revision: int, headers: bytes) -> Answer:
    etag = b'ETag: "%d"\r\n' % revision
    return json_answer({"name": name, "revision": revision}, headers=etag + headers)


def listed(item: CollectionInfo) -> bytes:
    """Return an item of a list as JSON."""
    return orjson.dumps({"name": item.name, "revision": item.revision})
