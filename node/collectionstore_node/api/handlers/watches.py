"""Watches: the changes of a collection, of a bucket or of everything, as they come."""

from __future__ import annotations

from typing import Final, cast

from aiohttp import hdrs

from collectionstore_node.api.handlers.queries import filter_in_url
from collectionstore_node.api.handlers.watch_answers import Connected, PolledAnswer, WatchedAnswer
from collectionstore_node.api.handlers.watching import Watching, consumed, open_watch, position_of, selected
from collectionstore_node.api.http.answers import Answer
from collectionstore_node.api.http.call import Call
from collectionstore_node.api.http.names import bucket_name, collection_name
from collectionstore_node.api.http.problems import Problem
from collectionstore_node.changes import STORE, Form, Position, Scope, Selection
from collectionstore_node.service.operations import Start, WatchChanges
from collectionstore_node.service.queries import parse_fields_text

LAST_EVENT_ID: Final = "Last-Event-ID"
WAIT_DEFAULT_S: Final = 30.0
SSE_TYPE: Final = "text/event-stream"
LINES_TYPE: Final = "application/x-ndjson"


async def collection(call: Call) -> Answer:
    """Tell the changes of a collection as they come: as lines of JSON, server-sent events, or a page with `wait`."""
    return await _watch(call, Scope("collection", collection_name(call.arguments[0])))


async def bucket(call: Call) -> Answer:
    """Tell the changes of a bucket's raw values as they come, as those of a collection."""
    return await _watch(call, Scope("bucket", bucket_name(call.arguments[0])))


async def everything(call: Call) -> Answer:
    """Tell the changes of all collections and buckets as they come, as those of one collection."""
    return await _watch(call, STORE)


async def _watch(call: Call, scope: Scope) -> Answer:
    store, connection = call.api.store, cast(Connected, call.request.protocol)
    selection, start = await _asked(call, scope)
    wait_s, form = _form(call)
    if wait_s is not None and start is Start.SNAPSHOT:
        raise Problem("invalid_parameter", "a page has no initial documents: find them, and watch from their revision")
    watch = await open_watch(
        store,
        WatchChanges(selection, start),
        connection.client,
        lambda: connection.gone or connection.half_closed,
        consistency=call.options.consistency,
        timeout_s=call.timeout_s,
        once=wait_s == 0,
    )
    return WatchedAnswer(store, watch, form) if wait_s is None else PolledAnswer(store, watch, wait_s)


async def _asked(call: Call, scope: Scope) -> tuple[Selection, Start | Position]:
    store, options, timeout_s = call.api.store, call.options, call.timeout_s
    body = await call.json_struct(Watching) if call.request.method == "POST" else _in_url(call)
    start: Start | Position
    if options.consumer is None:
        selection = await selected(store, scope, body, timeout_s=timeout_s)
        start = position_of(store.watches.tokens, body.from_)
    else:
        selection, start = await consumed(
            store, scope, options.consumer, body, consistency=options.consistency, timeout_s=timeout_s
        )
    # That of a browser that connects again comes first. Whatever it holds, it becomes a place in the history, or it
    # is refused.
    header = call.request.headers.get(LAST_EVENT_ID)
    return selection, store.watches.tokens.decode(header) if header else start


def _in_url(call: Call) -> Watching:
    options = call.options
    given = options.filter
    return Watching(
        filter=None if given is None else filter_in_url(given, call.api.limits.depth_max),
        ops=None if options.ops is None else options.ops.split(","),
        fields=None if options.fields is None else parse_fields_text(options.fields),
        before=options.before,
        from_=options.from_,
    )


def _form(call: Call) -> tuple[float | None, Form]:
    """Return how long a page may wait, None for a stream, and the form of that."""
    wait_s = call.options.wait_s
    accepted = {one.partition(";")[0].strip().lower() for one in call.request.headers.get(hdrs.ACCEPT, "").split(",")}
    if wait_s is None and "application/json" in accepted and not accepted & {SSE_TYPE, LINES_TYPE}:
        wait_s = WAIT_DEFAULT_S
    return wait_s, Form.SSE if SSE_TYPE in accepted else Form.LINES
