"""Documents: JSON objects with an id, in collections. The store's metadata travels in headers, never in the object."""

from __future__ import annotations

from functools import cache
from typing import Final

import orjson
from multidict import CIMultiDictProxy

from collectionstore_node.api.handlers import changes, queries
from collectionstore_node.api.handlers.direct import DirectGet, DirectPut
from collectionstore_node.api.handlers.read_answers import after_cursor, page_answer, stored_answer
from collectionstore_node.api.handlers.tickets import decided, delete_target
from collectionstore_node.api.handlers.write_answers import (
    Written,
    outcome_lines,
    refusal,
    removed,
    written,
    written_by,
)
from collectionstore_node.api.http.answers import JSON, Answer
from collectionstore_node.api.http.call import Call
from collectionstore_node.api.http.direct import DirectCall
from collectionstore_node.api.http.idempotency import idempotency_key
from collectionstore_node.api.http.json_bodies import FEW_VALUES_BYTES, compact_json
from collectionstore_node.api.http.json_windows import Rules
from collectionstore_node.api.http.limits import HttpLimits
from collectionstore_node.api.http.names import collection_name, document_id
from collectionstore_node.api.http.preconditions import write_precondition
from collectionstore_node.api.http.problems import Problem
from collectionstore_node.service import Store, StoreLimits
from collectionstore_node.service.lives import living
from collectionstore_node.service.operations import ANY, DocumentRef, ListDocuments, Put
from collectionstore_node.service.results import Code, Listed, Outcome, ReadResult, inserted_id


async def put(call: Call) -> Answer:
    """Create or replace a document: 201 when it is new, else 200."""
    ref = _ref(call)
    # Path and headers BEFORE the body: a request that is refused for them need not send the rest of it.
    headers = call.request.headers
    precondition, key = write_precondition(headers), idempotency_key(headers)
    when = changes.condition_text(call)
    value = await _document(call)
    if when is not None:
        outcome = await changes.replace(call, ref, value, when)
    else:
        write = living(call.options.life, Put(ref, value, precondition))
        outcome = await decided(call, write, key, {"id": ref.id})
    if isinstance(outcome, Answer):
        return outcome
    return _put_answer(call.api.store, Put(ref, value), outcome)


async def post(call: Call) -> Answer:
    """Create a document under an id chosen by the store, or by the collection's sequence; `Location` has its path."""
    collection = collection_name(call.arguments[0])
    headers = call.request.headers
    if write_precondition(headers) is not ANY:
        raise Problem("invalid_precondition", "a new document has no revision to compare; use PUT with an id")
    key = idempotency_key(headers)
    document = await _document(call)
    store = call.api.store
    made, action = store.insertion(collection, document, key)
    life = call.options.life
    write = action if life is None else life.of_new(action)
    outcome = await decided(call, write, key, {"id": made} if made else {})
    if isinstance(outcome, Answer):
        return outcome
    # Made by a member that did not know of the sequence yet: this one now, or one that a repeated request met before.
    late = isinstance(action, Put) or outcome.replayed
    if outcome.code is Code.ID_REFUSED and late and life is None:
        outcome = await store.renumbered(collection, document, outcome, key=key, timeout_s=call.timeout_s)
    if outcome.code is Code.OK:
        made = inserted_id(outcome) or made
    if outcome.code is Code.PRECONDITION_FAILED:
        # Possible with a key only, long after its outcome was forgotten: the key derives the id.
        raise Problem(
            "document_exists",
            "a request with this Idempotency-Key created it long ago",
            headers=outcome_lines(outcome),
            revision=outcome.revision,
            id=made,
        )
    if outcome.code is not Code.OK:
        raise refusal(outcome, absent="document_not_found", document=Written(store, collection, document))
    answer = written(201, outcome, _written(made, outcome.revision))
    answer.header_lines += b"Location: /api/v1/collections/%s/documents/%s\r\n" % (collection.encode(), made.encode())
    return answer


async def get(call: Call) -> Answer:
    """Return a document as it is stored, in compact form."""
    found = await call.api.store.read(_ref(call), consistency=call.options.consistency, timeout_s=call.timeout_s)
    return _get_answer(call.request.headers, found)


async def delete(call: Call) -> Answer:
    """Remove a document; one that does not exist is 404."""
    ref = _ref(call)
    when = changes.condition_text(call)
    if when is None:
        outcome = await delete_target(call, ref, {"id": ref.id}, absent="document_not_found")
    else:
        outcome = await changes.remove(call, ref, when)
    if isinstance(outcome, Answer):
        return outcome
    return removed(outcome, _written(ref.id, outcome.revision))


async def patch(call: Call) -> Answer:
    """Change a document where it is, by operators, a merge patch or a JSON Patch."""
    return await changes.patch(call, _ref(call))


async def list_page(call: Call) -> Answer:
    """Return a page of documents by id, in code point order."""
    collection = collection_name(call.arguments[0])
    options = call.options
    if any(one is not None for one in (options.filter, options.sort, options.fields, options.hint)):
        return await queries.list_found(call, collection)
    scope = ("documents", collection, options.prefix)
    request = ListDocuments(collection, options.prefix, after_cursor(call, scope), options.limit)
    page = await call.api.store.lists.documents(
        request, show=listed, consistency=options.consistency, timeout_s=call.timeout_s
    )
    return page_answer(scope, page, "documents")


def _ref(call: Call) -> DocumentRef:
    collection, raw_id = call.arguments
    return DocumentRef(collection_name(collection), document_id(raw_id, call.api.limits.key_bytes_max))


async def _document(call: Call) -> bytes:
    api = call.api
    return await call.json_text(api.store.limits.document_bytes_max, _rules(api.limits.depth_max))


_rules = cache(Rules)
"""Made once, for the hot path."""


def _direct_write(call: DirectCall, limits: HttpLimits) -> Put:
    value = compact_json(call.body, _rules(limits.depth_max))
    return Put(DocumentRef(call.place.name, call.last), value)


def _direct_bytes_max(limits: StoreLimits) -> int:
    return min(FEW_VALUES_BYTES, limits.document_bytes_max)


def _put_answer(store: Store, put: Put, outcome: Outcome) -> Answer:
    if outcome.code is not Code.OK:
        raise refusal(outcome, absent="document_not_found", document=written_by(store, put))
    document_id = put.ref.id if isinstance(put.ref, DocumentRef) else put.ref.key
    return written(201 if outcome.created else 200, outcome, _written(document_id, outcome.revision))


def _get_answer(given: CIMultiDictProxy[str], found: ReadResult) -> Answer:
    if found.stored is None:
        raise Problem("document_not_found", "there is no document with this id")
    return stored_answer(given, found.stored, found.revision, JSON)


def _written(document_id: str, revision: int) -> bytes:
    return orjson.dumps({"id": document_id, "revision": revision})


def listed(item: Listed) -> bytes:
    """Return an item of a list as JSON."""
    stored = item.stored
    return b'{"id":%s,"revision":%d,"document":%s}' % (orjson.dumps(item.id), stored.revision, stored.value)


GET: Final = DirectGet(name=collection_name, target=DocumentRef, answer=_get_answer)
PUT: Final = DirectPut(
    json=True, bytes_max=_direct_bytes_max, name=collection_name, write=_direct_write, answer=_put_answer
)
