"""Renewing until when a document or a raw value is there, without writing it."""

from __future__ import annotations

import msgspec

from collectionstore_node.api.handlers.write_answers import outcome_lines, refusal
from collectionstore_node.api.http.answers import Answer, json_answer, revision_line
from collectionstore_node.api.http.call import Call
from collectionstore_node.api.http.idempotency import idempotency_key
from collectionstore_node.api.http.lives import life_of
from collectionstore_node.api.http.names import bucket_name, check_key, collection_name
from collectionstore_node.api.http.preconditions import ABSENT, write_precondition
from collectionstore_node.api.http.problems import Problem
from collectionstore_node.service.lives import Life
from collectionstore_node.service.operations import DocumentRef, KeyRef, Ref
from collectionstore_node.service.results import Code


class TouchDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body for a document: `ttl`, `none` for one that is to stay, or `lease`."""

    id: str
    ttl: str | None = None
    lease: int | None = None


class TouchValue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The same for a raw value."""

    key: str
    ttl: str | None = None
    lease: int | None = None


async def document(call: Call) -> Answer:
    """Change until when a document is there, and nothing else: its revision stays."""
    collection = collection_name(call.arguments[0])
    body = await call.json_struct(TouchDocument)
    name = check_key(body.id, call.api.limits.key_bytes_max, "document id")
    return await _touch(call, DocumentRef(collection, name), _given(body), {"id": name}, absent="document_not_found")


async def value(call: Call) -> Answer:
    """Change until when a raw value is there, and nothing else: its revision stays."""
    bucket = bucket_name(call.arguments[0])
    body = await call.json_struct(TouchValue)
    name = check_key(body.key, call.api.limits.key_bytes_max, "key")
    return await _touch(call, KeyRef(bucket, name), _given(body), {"key": name}, absent="key_not_found")


def _given(body: TouchDocument | TouchValue) -> Life:
    life = life_of(body.ttl, body.lease, "")
    if life is None:
        raise Problem("invalid_body", "give a ttl, such as 90s or none, or a lease")
    return life


async def _touch(call: Call, ref: Ref, life: Life, answer: dict[str, object], *, absent: str) -> Answer:
    headers = call.request.headers
    precondition, key = write_precondition(headers), idempotency_key(headers)
    if precondition == ABSENT:
        raise Problem("invalid_precondition", "what is absent has no time to live: If-None-Match makes no sense here")
    outcome = await call.api.store.touch(life.touch(ref, precondition), key=key, timeout_s=call.timeout_s)
    if outcome.code is not Code.OK:
        raise refusal(outcome, absent=absent)
    answer["revision"] = outcome.current_revision
    etag = b'ETag: "%d"\r\n' % outcome.current_revision
    return json_answer(answer, headers=etag + revision_line(outcome.revision) + outcome_lines(outcome))
