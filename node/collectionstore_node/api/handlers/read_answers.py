"""How what was read becomes an answer: one stored value under the request's conditions, and pages of a list."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, repeat, zip_longest
from typing import Final

import orjson
from aiohttp import hdrs
from multidict import CIMultiDictProxy

from collectionstore_node.api.http.answers import JSON, Answer
from collectionstore_node.api.http.call import Call
from collectionstore_node.api.http.cursors import decode_cursor, encode_cursor
from collectionstore_node.api.http.preconditions import read_failed, read_unchanged
from collectionstore_node.api.http.problems import Problem
from collectionstore_node.service.results import ListResult, Stored

NO_CACHE: Final = b"Cache-Control: no-cache\r\n"
"""A cache must revalidate before it answers (RFC 9111 5.2.2.4); the ETag makes that cheap."""


def stored_answer(given: CIMultiDictProxy[str], stored: Stored, revision: int, lines: bytes) -> Answer:
    """Return a stored value, or 304 or 412 by the conditions in the request's headers. Raises `Problem`.

    `revision` is the store's when the value was read; `lines` are header lines of the value.
    """
    tag = stored.revision
    facts = b'ETag: "%d"\r\nX-Revision: %d\r\n%s' % (tag, revision, NO_CACHE)
    if stored.left_ms is not None:
        facts += b"X-Expires-In-Ms: %d\r\n" % stored.left_ms
        if stored.expiry.lease:
            facts += b"X-Lease: %d\r\n" % stored.expiry.lease
    # If-Match BEFORE If-None-Match: the order of RFC 9110 13.2.2.
    if hdrs.IF_MATCH in given and read_failed(given, tag):
        raise Problem("precondition_failed", f"the current revision is {tag}", current_revision=tag)
    if hdrs.IF_NONE_MATCH in given and read_unchanged(given, tag):
        return Answer(304, facts)
    return Answer(200, lines + facts, stored.value)


def after_cursor(call: Call, scope: tuple[str, ...]) -> str | None:
    """Return the name after which the requested page begins, None for the first page. Raises `Problem`."""
    cursor = call.options.cursor
    return None if cursor is None else decode_cursor(scope, cursor)


def page_answer(scope: tuple[str, ...], page: ListResult[bytes], field: str) -> Answer:
    """Return a page as `{field: [...], "next_cursor", "revision"}`.

    Items are joined as text: what is stored is compact JSON already.
    """
    cursor = None if page.next_after is None else encode_cursor(scope, page.next_after)
    tail = b'],"next_cursor":%s' % orjson.dumps(cursor)
    return joined(b'{"%s":[' % field.encode(), page.items, tail, page.revision, page.stale_since)


def joined(head: bytes, items: Sequence[bytes], tail: bytes, revision: int, stale_since: float | None) -> Answer:
    """Return the object that `head`, the items with commas between them, and `tail` begin: the revision ends it."""
    # Joined once: each copy of a page of four mebibytes takes a millisecond of the event loop.
    commas = repeat(b",", len(items) - 1)
    pieces = chain.from_iterable(zip_longest(items, commas, fillvalue=b""))
    end = b',"revision":%d}' % revision
    answer = Answer(200, b"%sX-Revision: %d\r\n%s" % (JSON, revision, NO_CACHE), b"".join((head, *pieces, tail, end)))
    answer.stale_since = stale_since
    return answer
