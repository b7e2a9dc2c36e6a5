"""Operations that are requests in all but their form: the handlers of the HTTP API execute them, each in a task.

So they have the same rules, bounds and problems. What is hot on a stream, single documents and values, is not here.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any, Final, NamedTuple, cast

from aiohttp import hdrs, web
from multidict import CIMultiDict, CIMultiDictProxy

from collectionstore_node.api.handlers import aggregates, bulk, changes, found_changes, indexes, queries
from collectionstore_node.api.http.answers import Answer as HttpAnswer
from collectionstore_node.api.http.answers import staleness_ms
from collectionstore_node.api.http.call import ApiContext, Call, Handler
from collectionstore_node.api.http.idempotency import IDEMPOTENCY_KEY, REPLAYED
from collectionstore_node.api.http.options import Options, default_options
from collectionstore_node.api.http.problems import Problem
from collectionstore_node.api.stream import operations
from collectionstore_node.api.stream.conversion import (
    check_size,
    consistency,
    document_ref,
    idempotency_key,
    write_precondition,
)
from collectionstore_node.api.stream.flight import Flight, Stream
from collectionstore_node.api.stream.operations import Answer, Read, Write
from collectionstore_node.service import Consistency
from collectionstore_node.service.operations import ANY, Image, UpdateForm

_JSON: Final = "application/json"
_TYPES: Final = {form: kind for kind, form in changes.FORMS.items()}
_FORMS: Final = {
    "operators": UpdateForm.OPERATORS,
    "merge_patch": UpdateForm.MERGE_PATCH,
    "json_patch": UpdateForm.JSON_PATCH,
}
_IMAGES: Final = {None: Image.NONE, "before": Image.BEFORE, "after": Image.AFTER}
_REVISION: Final = re.compile(rb"X-Revision: ([0-9]+)\r\n")
_ETAG: Final = re.compile(rb'ETag: "([0-9]+)"\r\n')


class _Given(NamedTuple):
    """What handlers ask a request for."""

    headers: CIMultiDictProxy[str]


class _OperationCall(Call):
    """An operation as handlers see it: a request whose body has arrived."""

    __slots__ = ("_body",)

    def __init__(
        self,
        api: ApiContext,
        arguments: list[str],
        options: Options,
        headers: CIMultiDict[str],
        body: bytes,
        timeout_s: float,
    ) -> None:
        given = cast(web.BaseRequest, _Given(CIMultiDictProxy(headers)))
        super().__init__(api, given, arguments, options, None)
        self.timeout_s = timeout_s
        self._body = body

    async def body(self, bytes_max: int) -> bytes:
        """Return the body. Raises `Problem`."""
        check_size(len(self._body), bytes_max)
        return self._body


class Requests:
    """Executes these operations of all streams of a port."""

    def __init__(self, api: ApiContext) -> None:
        self._api = dataclasses.replace(api, store=api.store.for_streams())
        self._handlers: dict[type, tuple[Handler, Callable[[Any], Sequence[str]]]] = {
            **_both(operations.Find, operations.JsonFind, queries.find),
            **_both(operations.Count, operations.JsonCount, queries.count),
            **_both(operations.Distinct, operations.JsonDistinct, queries.distinct),
            **_both(operations.Aggregate, operations.JsonAggregate, aggregates.aggregate),
            **_both(operations.UpdateFound, operations.JsonUpdateFound, found_changes.update),
            **_both(operations.DeleteFound, operations.JsonDeleteFound, found_changes.delete),
            **_both(operations.FindAndModify, operations.JsonFindAndModify, found_changes.find_and_modify),
            **_both(operations.Bulk, operations.JsonBulk, bulk.post),
            **_both(operations.CreateIndex, operations.JsonCreateIndex, indexes.post),
            operations.ListIndexes: (indexes.list_all, _collection),
            operations.GetIndex: (indexes.get, _index),
            operations.DropIndex: (indexes.delete, _index),
        }

    @property
    def kinds(self) -> Sequence[type]:
        """The types of these operations."""
        return (*self._handlers, *_UPDATES)

    async def execute(self, stream: Stream, flight: Flight, operation: Any) -> None:
        """Answer with what the handler of the request answers. Raises `Problem` or `NodeError`."""
        options, headers, body = self._options(operation), _headers(operation), _body(operation)
        if isinstance(operation, _UPDATES):
            ref = document_ref(operation.collection, operation.id, self._api.limits)
            answer = await changes.patch(_OperationCall(self._api, [], options, headers, body, flight.left_s), ref)
        else:
            handler, arguments = self._handlers[type(operation)]
            call = _OperationCall(self._api, [*arguments(operation)], options, headers, body, flight.left_s)
            answer = await handler(call)
        stream.answer(flight, self._answer(stream, operation, options, answer))

    def _options(self, operation: Any) -> Options:
        options = default_options(self._api.limits)
        if isinstance(operation, Read):
            options.consistency = consistency(operation)
        if isinstance(operation, _UPDATES):
            options.when = _text(operation.when, "when")
            options.array_filters = _text(operation.array_filters, "array_filters")
            options.upsert = operation.upsert
            options.image = _IMAGES[operation.image]
        if isinstance(operation, operations.Bulk | operations.JsonBulk):
            options.mode = operation.mode
        return options

    def _answer(self, stream: Stream, operation: Any, options: Options, answer: HttpAnswer) -> Answer:
        lines = answer.header_lines
        revision, etag = _REVISION.search(lines), _ETAG.search(lines)
        made = Answer(
            tag=operation.tag,
            status=answer.code,
            revision=int(revision[1]) if revision is not None else 0,
            replayed=REPLAYED in lines,
            body=stream.codec.json(answer.content),
        )
        if etag is not None and int(etag[1]) != made.revision:
            made.etag = int(etag[1])
        if options.consistency is not Consistency.LINEARIZABLE:
            since = answer.stale_since
            stale_s = self._api.store.staleness_s() if since is None else perf_counter() - since
            made.staleness_ms = staleness_ms(stale_s)
        return made


_UPDATES: Final = (operations.UpdateDocument, operations.JsonUpdateDocument)


def _both(one: type, other: type, handler: Handler) -> dict[type, tuple[Handler, Callable[[Any], Sequence[str]]]]:
    return {one: (handler, _collection), other: (handler, _collection)}


def _collection(operation: Any) -> Sequence[str]:
    return (operation.collection,)


def _index(operation: Any) -> Sequence[str]:
    return (operation.collection, operation.name)


def _headers(operation: Any) -> CIMultiDict[str]:
    """Return the headers that say what the fields say. Raises `Problem`."""
    headers: CIMultiDict[str] = CIMultiDict()
    headers[hdrs.CONTENT_TYPE] = _JSON
    if isinstance(operation, operations.Bulk | operations.JsonBulk):
        headers[hdrs.CONTENT_TYPE] = bulk.TYPES[0]
    if isinstance(operation, Write) and (key := idempotency_key(operation)) is not None:
        headers[IDEMPOTENCY_KEY] = key
    if isinstance(operation, _UPDATES):
        headers[hdrs.CONTENT_TYPE] = _TYPES[_FORMS[operation.form]]
        precondition = write_precondition(operation)
        if precondition is not ANY:
            name = hdrs.IF_NONE_MATCH if precondition.exists is False else hdrs.IF_MATCH
            revisions = precondition.revisions
            headers[name] = "*" if revisions is None else ", ".join(f'"{one}"' for one in revisions)
    return headers


def _body(operation: Any) -> bytes:
    if isinstance(operation, operations.JsonBulk):
        return b"\n".join(map(bytes, operation.body))
    return bytes(operation.body) if hasattr(operation, "body") else b""


def _text(given: Any, name: str) -> str | None:
    """Return JSON text as a parameter has it, None for none. Raises `Problem`."""
    data = bytes(given)
    if not data:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise Problem("invalid_parameter", f"{name} is not valid UTF-8") from None
