"""What all reads have in common: one stored value under conditions, and pages of a listing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

import orjson
from aiohttp import hdrs

from collectionstore_node.api.answers import JSON, Answer
from collectionstore_node.api.cursors import decode_cursor, encode_cursor
from collectionstore_node.api.ports import Call
from collectionstore_node.api.preconditions import read_failed, read_unchanged
from collectionstore_node.api.problems import Problem
from collectionstore_node.statemachine.reads import Page
from collectionstore_node.statemachine.stored import Stored

NO_CACHE: Final = b"Cache-Control: no-cache\r\n"
"""A cache must ask before it answers; the ETag makes that cheap."""

T = TypeVar("T")


def stored_answer(call: Call, stored: Stored, headers: bytes) -> Answer:
    """Return a stored value, or 304 or 412 by the request's conditions. Raises `Problem`."""
    revision = stored.revision
    lines = b'ETag: "%d"\r\nX-Revision: %d\r\n%s' % (revision, call.api.replica.revision, NO_CACHE)
    given = call.request.headers
    if hdrs.IF_MATCH in given and read_failed(given, revision):
        raise Problem("precondition_failed", f"the current revision is {revision}", current_revision=revision)
    if hdrs.IF_NONE_MATCH in given and read_unchanged(given, revision):
        return Answer(304, lines)
    return Answer(200, headers + lines, stored.value)


def after_cursor(call: Call, scope: tuple[str, ...]) -> str | None:
    """Return the name behind which the page asked for begins, None for the first. Raises `Problem`."""
    cursor = call.options.cursor
    return None if cursor is None else decode_cursor(scope, cursor)


def page_answer(call: Call, scope: tuple[str, ...], page: Page[T], field: str, render: Callable[[T], bytes]) -> Answer:
    """Return a page as `{field: [...], "next_cursor", "revision"}`.

    Items are joined as text: what is stored is compact JSON already.
    """
    cursor = None if page.next_after is None else encode_cursor(scope, page.next_after)
    revision = call.api.replica.revision
    body = b'{"%s":[%s],"next_cursor":%s,"revision":%d}' % (
        field.encode(),
        b",".join(map(render, page.items)),
        orjson.dumps(cursor),
        revision,
    )
    return Answer(200, b"%sX-Revision: %d\r\n%s" % (JSON, revision, NO_CACHE), body)
