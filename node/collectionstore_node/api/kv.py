"""Raw values: bytes under a key, in buckets that exist by being used. What goes in comes out, with its Content-Type."""

from __future__ import annotations

import base64
from typing import Final

import orjson

from collectionstore_node.api.answers import Answer
from collectionstore_node.api.bodies import DEFAULT_CONTENT_TYPE, kept_content_type
from collectionstore_node.api.idempotency import idempotency_key
from collectionstore_node.api.names import bucket_name, key_name
from collectionstore_node.api.ports import Call
from collectionstore_node.api.preconditions import write_precondition
from collectionstore_node.api.problems import Problem
from collectionstore_node.api.reads import after_cursor, page_answer, stored_answer
from collectionstore_node.api.writes import propose, refusal, removed, written
from collectionstore_node.statemachine.commands import Code, Delete, KeyRef, Put
from collectionstore_node.statemachine.reads import Listed, get_key, list_keys

_UNTRUSTED: Final = b"X-Content-Type-Options: nosniff\r\nContent-Security-Policy: sandbox; default-src 'none'\r\n"
"""Anyone may store a page with scripts; a browser must not run it with the rights of this origin."""


async def put(call: Call) -> Answer:
    """Create or replace a value: 201 when it is new, else 200."""
    ref = _ref(call)
    request = call.request
    precondition, key = write_precondition(request.headers), idempotency_key(request.headers)
    content_type = kept_content_type(request)
    value = await call.body(call.api.limits.value_bytes_max)
    outcome = await propose(call, Put(ref, value, precondition, content_type), key)
    if outcome.code is not Code.OK:
        raise refusal(outcome, absent="key_not_found")
    return written(201 if outcome.created else 200, outcome, _written(ref.key, outcome.revision))


async def get(call: Call) -> Answer:
    """Return the bytes as they were stored."""
    ref = _ref(call)
    view = await call.fresh_view()
    stored = get_key(view, ref.bucket, ref.key)
    if stored is None:
        raise Problem("key_not_found", "there is no value under this key")
    content_type = (stored.content_type or DEFAULT_CONTENT_TYPE).encode()
    return stored_answer(call, stored, b"Content-Type: %s\r\n%s" % (content_type, _UNTRUSTED))


async def delete(call: Call) -> Answer:
    """Remove a value; one that is not there is 404."""
    ref = _ref(call)
    headers = call.request.headers
    outcome = await propose(call, Delete(ref, write_precondition(headers)), idempotency_key(headers))
    if outcome.code is not Code.OK:
        raise refusal(outcome, absent="key_not_found")
    return removed(outcome, _written(ref.key, outcome.revision))


async def list_page(call: Call) -> Answer:
    """Return the keys of a bucket in code point order, with their values when asked."""
    bucket = bucket_name(call.arguments[0])
    options, limits = call.options, call.api.limits
    scope = ("keys", bucket, options.prefix)
    after = after_cursor(call, scope)
    page = list_keys(
        await call.fresh_view(),
        bucket,
        prefix=options.prefix,
        after=after,
        limit=options.limit,
        bytes_max=limits.list_bytes_max,
    )
    return page_answer(call, scope, page, "keys", _listed_with_value if options.values else _listed)


def _ref(call: Call) -> KeyRef:
    bucket, raw_key = call.arguments
    return KeyRef(bucket_name(bucket), key_name(raw_key, call.api.limits.key_bytes_max))


def _written(key: str, revision: int) -> bytes:
    return b'{"key":%s,"revision":%d}' % (orjson.dumps(key), revision)


def _facts(item: Listed) -> dict[str, object]:
    stored = item.stored
    return {
        "key": item.id,
        "revision": stored.revision,
        "size": len(stored.value),
        "content_type": stored.content_type or DEFAULT_CONTENT_TYPE,
    }


def _listed(item: Listed) -> bytes:
    return orjson.dumps(_facts(item))


def _listed_with_value(item: Listed) -> bytes:
    return orjson.dumps(_facts(item) | {"value": base64.b64encode(item.stored.value).decode()})
