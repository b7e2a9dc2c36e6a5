"""Collections: create, list, read, drop, and change options. A collection's revision is that of its creation.

Its entity tag is the revision at which its options were last changed: that of its creation, if never.
"""

from __future__ import annotations

from typing import Any

import msgspec
import orjson
from aiohttp import hdrs

from collectionstore_node.api.handlers.read_answers import NO_CACHE, after_cursor, page_answer
from collectionstore_node.api.handlers.write_answers import outcome_lines, refusal, removed
from collectionstore_node.api.http.answers import Answer, json_answer, revision_line
from collectionstore_node.api.http.bodies import require_json
from collectionstore_node.api.http.call import Call
from collectionstore_node.api.http.idempotency import REPLAYED, idempotency_key
from collectionstore_node.api.http.json_windows import Rules
from collectionstore_node.api.http.names import collection_name
from collectionstore_node.api.http.preconditions import ABSENT, write_precondition
from collectionstore_node.api.http.problems import Problem
from collectionstore_node.service import Consistency, ReadConsistency
from collectionstore_node.service.limits import SCHEMA_BYTES_MAX
from collectionstore_node.service.operations import (
    ANY,
    DEFAULTS,
    CollectionOptions,
    ListCollections,
    parse_options,
    shown_options,
    versioned,
)
from collectionstore_node.service.results import Code, CollectionInfo, Configured, Outcome, Usage


class NewCollection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a POST."""

    name: str


async def put(call: Call) -> Answer:
    """Create a collection unless it exists: 201 if it was created, 200 if it existed. The body may have its options."""
    name = collection_name(call.arguments[0])
    headers = call.request.headers
    precondition = write_precondition(headers)
    if precondition not in (ANY, ABSENT):
        raise Problem("invalid_precondition", "the only precondition of a collection is If-None-Match: *")
    key = idempotency_key(headers)
    options = await _options(call)
    if options is None:
        outcome = await call.api.store.create_collection(name, key=key, timeout_s=call.timeout_s)
    else:
        outcome = await call.api.store.options.create(name, options, key=key, timeout_s=call.timeout_s)
    if outcome.code is Code.OK:
        return _created(name, outcome, options)
    if outcome.code is not Code.COLLECTION_EXISTS:
        raise refusal(outcome, absent="collection_not_found")
    replayed = outcome_lines(outcome)
    current = outcome.current_revision
    if options is not None and precondition != ABSENT:
        # The same ones: others are refused.
        return await _found(call, name, Consistency.LINEARIZABLE, replayed)
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


async def patch(call: Call) -> Answer:
    """Change options by a merge patch; null sets a default. With If-Match only if nothing has changed them since."""
    name = collection_name(call.arguments[0])
    headers = call.request.headers
    precondition, key = write_precondition(headers), idempotency_key(headers)
    revisions = precondition.revisions or ()
    if precondition.exists is False or len(revisions) > 1:
        raise Problem("invalid_precondition", "options are changed under one entity tag in If-Match, or under none")
    limits = call.api.limits
    rules = Rules(limits.depth_max, names_depth=0)
    given: dict[str, Any] = orjson.loads(await call.json_text(SCHEMA_BYTES_MAX + limits.control_bytes_max, rules))
    patched = await call.api.store.options.patch(
        name, given, expected=revisions[0] if revisions else 0, key=key, timeout_s=call.timeout_s
    )
    outcome, configured = patched
    if outcome.code is not Code.OK:
        raise refusal(outcome, absent="collection_not_found")
    lines = b'ETag: "%d"\r\n' % configured.revision + revision_line(outcome.revision) + outcome_lines(outcome)
    return json_answer({"name": name, **_shown(configured), "revision": outcome.revision}, headers=lines)


async def get(call: Call) -> Answer:
    """Return a collection's catalog record, and those of its options that are set."""
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


async def _options(call: Call) -> CollectionOptions | None:
    """Return the options in the body; None for an empty object, as for no body. Raises `Problem` or `InvalidPart`."""
    request, limits = call.request, call.api.limits
    if hdrs.TRANSFER_ENCODING not in request.headers and request.headers.get(hdrs.CONTENT_LENGTH, "0") == "0":
        return None
    body = await call.body(SCHEMA_BYTES_MAX + limits.control_bytes_max)
    if not body:
        return None
    require_json(request)
    given = orjson.loads(await call.compact(body, Rules(limits.depth_max, names_depth=0)))
    if not given:
        return None
    return await call.api.store.options.parsed(lambda: parse_options(given), timeout_s=call.timeout_s)


def _created(name: str, outcome: Outcome, options: CollectionOptions | None = None) -> Answer:
    revision = outcome.revision
    headers = b'ETag: "%d"\r\nLocation: /api/v1/collections/%s\r\n' % (revision, name.encode())
    replayed = REPLAYED if outcome.replayed else b""
    members: dict[str, Any] = {"name": name, "revision": revision}
    if options is not None and options != DEFAULTS:
        members |= _shown(Configured(versioned(options, DEFAULTS, revision), revision))
    return json_answer(members, status=201, headers=headers + revision_line(revision) + replayed)


def _shown(configured: Configured) -> dict[str, Any]:
    return {"options": shown_options(configured.options), "options_revision": configured.revision}


async def _found(call: Call, name: str, consistency: ReadConsistency, headers: bytes = b"") -> Answer:
    found = await call.api.store.read_collection(name, consistency=consistency, timeout_s=call.timeout_s)
    collection = found.collection
    if collection is None:
        raise Problem("collection_not_found", f"there is no collection {name!r}")
    lines = revision_line(found.revision) + NO_CACHE + headers
    return _existing(name, collection.revision, lines, collection.configured, collection.usage)


def _existing(
    name: str, revision: int, headers: bytes, configured: Configured | None = None, usage: Usage | None = None
) -> Answer:
    members: dict[str, Any] = {"name": name, "revision": revision}
    if configured is not None:
        members |= _shown(configured)
    if usage is not None:
        members["usage"] = {"documents": usage.documents, "bytes": usage.size_bytes, "counting": usage.counting}
    etag = b'ETag: "%d"\r\n' % (revision if configured is None else configured.revision)
    return json_answer(members, headers=etag + headers)


def listed(item: CollectionInfo) -> bytes:
    """Return an item of a list as JSON."""
    return orjson.dumps({"name": item.name, "revision": item.revision})
