"""Documents: JSON objects with an id, in collections. The store's own facts travel in headers, never in the object."""

from __future__ import annotations

import orjson
import uuid_utils

from collectionstore_node.api.answers import JSON, Answer
from collectionstore_node.api.bodies import require_json
from collectionstore_node.api.idempotency import document_id_for, idempotency_key
from collectionstore_node.api.json_bodies import parse_document
from collectionstore_node.api.names import collection_name, document_id
from collectionstore_node.api.ports import Call
from collectionstore_node.api.preconditions import ABSENT, write_precondition
from collectionstore_node.api.problems import Problem
from collectionstore_node.api.reads import after_cursor, page_answer, stored_answer
from collectionstore_node.api.writes import propose, refusal, removed, written
from collectionstore_node.statemachine.commands import ANY, Code, Delete, DocumentRef, Put
from collectionstore_node.statemachine.reads import Listed, get_document, list_documents


async def put(call: Call) -> Answer:
    """Create or replace a document: 201 when it is new, else 200."""
    ref = _ref(call)
    headers = call.request.headers
    precondition, key = write_precondition(headers), idempotency_key(headers)
    value = await _document(call)
    outcome = await propose(call, Put(ref, value, precondition), key)
    if outcome.code is not Code.OK:
        raise refusal(outcome, absent="document_not_found")
    return written(201 if outcome.created else 200, outcome, _written(ref.id, outcome.revision))


async def post(call: Call) -> Answer:
    """Create a document under an id made here; its path is in `Location`."""
    collection = collection_name(call.arguments[0])
    headers = call.request.headers
    if write_precondition(headers) is not ANY:
        raise Problem("invalid_precondition", "a new document has no revision to compare; use PUT with an id")
    key = idempotency_key(headers)
    value = await _document(call)
    made = str(uuid_utils.uuid7()) if key is None else document_id_for(collection, key)
    # Absent in any case: a key that was forgotten after its time must not overwrite what it made then.
    outcome = await propose(call, Put(DocumentRef(collection, made), value, ABSENT), key)
    if outcome.code is Code.PRECONDITION_FAILED:
        raise Problem("document_exists", "a request with this Idempotency-Key made it long ago", id=made)
    if outcome.code is not Code.OK:
        raise refusal(outcome, absent="document_not_found")
    answer = written(201, outcome, _written(made, outcome.revision))
    answer.header_lines += b"Location: /api/v1/collections/%s/documents/%s\r\n" % (collection.encode(), made.encode())
    return answer


async def get(call: Call) -> Answer:
    """Return a document as it was stored, in canonical form."""
    ref = _ref(call)
    view = await call.fresh_view()
    stored = get_document(view, ref.collection, ref.id)
    if stored is None:
        raise Problem("document_not_found", "there is no document with this id")
    return stored_answer(call, stored, JSON)


async def delete(call: Call) -> Answer:
    """Remove a document; one that is not there is 404."""
    ref = _ref(call)
    headers = call.request.headers
    outcome = await propose(call, Delete(ref, write_precondition(headers)), idempotency_key(headers))
    if outcome.code is not Code.OK:
        raise refusal(outcome, absent="document_not_found")
    return removed(outcome, _written(ref.id, outcome.revision))


async def list_page(call: Call) -> Answer:
    """Return documents by id, in code point order."""
    collection = collection_name(call.arguments[0])
    options, limits = call.options, call.api.limits
    scope = ("documents", collection, options.prefix)
    after = after_cursor(call, scope)
    page = list_documents(
        await call.fresh_view(),
        collection,
        prefix=options.prefix,
        after=after,
        limit=options.limit,
        bytes_max=limits.list_bytes_max,
    )
    return page_answer(call, scope, page, "documents", _listed)


def _ref(call: Call) -> DocumentRef:
    collection, raw_id = call.arguments
    return DocumentRef(collection_name(collection), document_id(raw_id, call.api.limits.key_bytes_max))


async def _document(call: Call) -> bytes:
    require_json(call.request)
    limits = call.api.limits
    return parse_document(await call.body(limits.document_bytes_max), limits.depth_max)


def _written(document_id: str, revision: int) -> bytes:
    return b'{"id":%s,"revision":%d}' % (orjson.dumps(document_id), revision)


def _listed(item: Listed) -> bytes:
    stored = item.stored
    return b'{"id":%s,"revision":%d,"document":%s}' % (orjson.dumps(item.id), stored.revision, stored.value)
