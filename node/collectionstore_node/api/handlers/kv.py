"""Raw values: bytes under a key, in buckets that need no creation. Returned as they came, with their Content-Type."""

from __future__ import annotations

import base64
from typing import Final

import orjson
from aiohttp import hdrs
from multidict import CIMultiDictProxy

from collectionstore_node.api.handlers.direct import DirectGet, DirectPut
from collectionstore_node.api.handlers.read_answers import after_cursor, page_answer, stored_answer
from collectionstore_node.api.handlers.tickets import decided, delete_target
from collectionstore_node.api.handlers.write_answers import refusal, removed, written
from collectionstore_node.api.http.answers import Answer
from collectionstore_node.api.http.bodies import DEFAULT_CONTENT_TYPE, check_content_type, kept_content_type
from collectionstore_node.api.http.call import Call
from collectionstore_node.api.http.direct import BODY_BYTES_MAX, DirectCall
from collectionstore_node.api.http.idempotency import idempotency_key
from collectionstore_node.api.http.limits import HttpLimits
from collectionstore_node.api.http.names import bucket_name, key_name
from collectionstore_node.api.http.preconditions import write_precondition
from collectionstore_node.api.http.problems import Problem
from collectionstore_node.service import Store, StoreLimits
from collectionstore_node.service.lives import living
from collectionstore_node.service.operations import ANY, KeyRef, ListKeys, Put
from collectionstore_node.service.results import Code, Listed, Outcome, ReadResult

_UNTRUSTED: Final = b"X-Content-Type-Options: nosniff\r\nContent-Security-Policy: sandbox; default-src 'none'\r\n"
"""A stored value may be a page with scripts; a browser must not run it with the rights of this origin."""


async def put(call: Call) -> Answer:
    """Create or replace a value: 201 when it is new, else 200."""
    ref = _ref(call)
    request = call.request
    precondition, key = write_precondition(request.headers), idempotency_key(request.headers)
    content_type = kept_content_type(request)
    store = call.api.store
    value = await call.body(store.limits.value_bytes_max)
    write = Put(ref, value, precondition, content_type)
    outcome = await decided(call, living(call.options.life, write), key, {"key": ref.key})
    return outcome if isinstance(outcome, Answer) else _put_answer(store, write, outcome)


async def get(call: Call) -> Answer:
    """Return the bytes as they are stored."""
    found = await call.api.store.read(_ref(call), consistency=call.options.consistency, timeout_s=call.timeout_s)
    return _get_answer(call.request.headers, found)


async def delete(call: Call) -> Answer:
    """Remove a value; one that does not exist is 404."""
    ref = _ref(call)
    outcome = await delete_target(call, ref, {"key": ref.key}, absent="key_not_found")
    if isinstance(outcome, Answer):
        return outcome
    return removed(outcome, _written(ref.key, outcome.revision))


async def list_page(call: Call) -> Answer:
    """Return a page of a bucket's keys in code point order, with their values when `values` is true."""
    bucket = bucket_name(call.arguments[0])
    options = call.options
    scope = ("keys", bucket, options.prefix)
    request = ListKeys(bucket, options.prefix, after_cursor(call, scope), options.limit)
    page = await call.api.store.lists.keys(
        request,
        show=listed_with_value if options.values else listed,
        consistency=options.consistency,
        timeout_s=call.timeout_s,
    )
    return page_answer(scope, page, "keys")


def _ref(call: Call) -> KeyRef:
    bucket, raw_key = call.arguments
    return KeyRef(bucket_name(bucket), key_name(raw_key, call.api.limits.key_bytes_max))


def _direct_write(call: DirectCall, _limits: HttpLimits) -> Put:
    given = call.headers.get(hdrs.CONTENT_TYPE)
    content_type = DEFAULT_CONTENT_TYPE if given is None else check_content_type(given)
    return Put(KeyRef(call.place.name, call.last), call.body, ANY, content_type)


def _direct_bytes_max(limits: StoreLimits) -> int:
    return min(BODY_BYTES_MAX, limits.value_bytes_max)


def _put_answer(_store: Store, put: Put, outcome: Outcome) -> Answer:
    if outcome.code is not Code.OK:
        raise refusal(outcome, absent="key_not_found")
    key = put.ref.key if isinstance(put.ref, KeyRef) else put.ref.id
    return written(201 if outcome.created else 200, outcome, _written(key, outcome.revision))


def _get_answer(given: CIMultiDictProxy[str], found: ReadResult) -> Answer:
    stored = found.stored
    if stored is None:
        raise Problem("key_not_found", "there is no value under this key")
    content_type = (stored.content_type or DEFAULT_CONTENT_TYPE).encode()
    lines = b"Content-Type: %s\r\n%s" % (content_type, _UNTRUSTED)
    return stored_answer(given, stored, found.revision, lines)


def _written(key: str, revision: int) -> bytes:
    return orjson.dumps({"key": key, "revision": revision})


def _facts(item: Listed) -> dict[str, object]:
    stored = item.stored
    return {
        "key": item.id,
        "revision": stored.revision,
        "size": len(stored.value),
        "content_type": stored.content_type or DEFAULT_CONTENT_TYPE,
    }


def listed(item: Listed) -> bytes:
    """Return an item of a list as JSON, without its value."""
    return orjson.dumps(_facts(item))


def listed_with_value(item: Listed) -> bytes:
    """Return an item of a list as JSON, with its value in base64."""
    # Joined as text: base64 needs no escapes, and going through a string would copy a large value twice more.
    return b'%s,"value":"%s"}' % (listed(item)[:-1], base64.b64encode(item.stored.value))


GET: Final = DirectGet(name=bucket_name, target=KeyRef, answer=_get_answer)
PUT: Final = DirectPut(
    json=False, bytes_max=_direct_bytes_max, name=bucket_name, write=_direct_write, answer=_put_answer
)
