"""Requests of HTTP, for what streams do not have, and for where there are no streams."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from urllib.parse import quote

from msgspec import UNSET

from collectionstore.wire.operations import (
    Bulk,
    ConditionalWrite,
    CreateIndex,
    DeleteDocument,
    DeleteFound,
    DeleteValue,
    DropCollection,
    DropIndex,
    FindAndModify,
    GetCollection,
    GetDocument,
    GetValue,
    InsertDocument,
    ListCollections,
    ListIndexes,
    ListKeys,
    Operation,
    Page,
    PutDocument,
    PutValue,
    Query,
    Read,
    Revisions,
    UpdateDocument,
    UpdateFound,
    Write,
    name_of,
)

JSON = "application/json"
_FORMS = {
    "operators": JSON,
    "merge_patch": "application/merge-patch+json",
    "json_patch": "application/json-patch+json",
}


@dataclass(slots=True)
class Request:
    """One request. `path` is percent-encoded and begins behind `/api/v1`; `writes` says whether it changes something.

    With `repeatable` it is given an `Idempotency-Key`; `long` ones may take all of their time (queries, waits).
    """

    method: str
    path: str
    parameters: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    writes: bool = False
    repeatable: bool = True
    long: bool = False
    timed: bool = True
    """Whether the route takes `timeout`."""
    pieces: AsyncIterator[bytes] | None = None
    """A body that is made while it is sent, in place of `body`; only where the answer is a stream of lines."""

    @property
    def name(self) -> str:
        """What hooks are told: the method, the first part of the path and its action; no name of the user's."""
        first = self.path.lstrip("/").partition("/")[0].partition(":")[0]
        action = self.path.rpartition("/")[2].partition(":")[2]
        return f"{self.method} /{first}" + (f":{action}" if action else "")


def json_request(method: str, path: str, body: bytes | None = None, **options: object) -> Request:
    """Return a request with a JSON body."""
    request = Request(method, path, body=body, **options)  # type: ignore[arg-type]
    if body is not None:
        request.headers["Content-Type"] = JSON
    return request


def segment(name: str) -> str:
    """Return a name as one segment of a path."""
    return quote(name, safe="")


def document_path(collection: str, document_id: str) -> str:
    """Return the path of a document."""
    return f"/collections/{segment(collection)}/documents/{segment(document_id)}"


def as_request(operation: Operation) -> Request:
    """Return the request that does the same as an operation. `timeout_ms` is left to the sender."""
    request = _target(operation)
    if isinstance(operation, Read):
        if operation.consistency is not UNSET:
            request.parameters["consistency"] = operation.consistency
        if operation.max_staleness_ms is not UNSET:
            request.parameters["max_staleness"] = f"{operation.max_staleness_ms}ms"
        if operation.min_revision is not UNSET:
            request.parameters["min_revision"] = str(operation.min_revision)
    if isinstance(operation, Page):
        for name, value in (("prefix", operation.prefix), ("limit", operation.limit), ("cursor", operation.cursor)):
            if value is not UNSET:
                request.parameters[name] = str(value)
    if isinstance(operation, Write):
        request.writes = True
        if operation.idempotency_key is not UNSET:
            request.headers["Idempotency-Key"] = operation.idempotency_key
    if isinstance(operation, ConditionalWrite):
        condition(request, operation.if_revision, operation.if_exists)
    if operation.traceparent is not UNSET:
        request.headers["traceparent"] = operation.traceparent
    return request


def condition(request: Request, if_revision: object = UNSET, if_exists: object = UNSET) -> None:
    """Add the headers of a precondition."""
    if if_revision is not UNSET and if_revision is not None:
        request.headers["If-Match"] = _entity_tags(if_revision)  # type: ignore[arg-type]
    if if_exists is True and "If-Match" not in request.headers:
        request.headers["If-Match"] = "*"
    elif if_exists is False:
        request.headers["If-None-Match"] = "*"


def _entity_tags(revisions: Revisions) -> str:
    many = revisions if isinstance(revisions, list) else [revisions]
    return ", ".join(f'"{one}"' for one in many)


def _target(operation: Operation) -> Request:
    match operation:
        case PutDocument():
            return json_request("PUT", document_path(operation.collection, operation.id), operation.document)
        case InsertDocument():
            return json_request("POST", f"{_collection(operation.collection)}/documents", operation.document)
        case GetDocument():
            return _unless(Request("GET", document_path(operation.collection, operation.id)), operation.unless_revision)
        case DeleteDocument():
            return Request("DELETE", document_path(operation.collection, operation.id))
        case UpdateDocument():
            return _patch(operation)
        case PutValue():
            request = Request("PUT", value_path(operation.bucket, operation.key), body=operation.value)
            if operation.content_type is not UNSET:
                request.headers["Content-Type"] = operation.content_type
            return request
        case GetValue():
            return _unless(Request("GET", value_path(operation.bucket, operation.key)), operation.unless_revision)
        case DeleteValue():
            return Request("DELETE", value_path(operation.bucket, operation.key))
        case ListKeys():
            request = Request("GET", f"/kv/{segment(operation.bucket)}")
            if operation.values:
                request.parameters["values"] = "true"
            return request
        case ListCollections():
            return Request("GET", "/collections")
        case GetCollection():
            return Request("GET", _collection(operation.collection))
        case DropCollection():
            return Request("DELETE", _collection(operation.collection))
        case ListIndexes():
            return Request("GET", f"{_collection(operation.collection)}/indexes")
        case DropIndex():
            return Request("DELETE", f"{_collection(operation.collection)}/indexes/{segment(operation.name)}")
        case CreateIndex():
            return json_request("POST", f"{_collection(operation.collection)}/indexes", operation.body)
        case Bulk():
            request = Request("POST", f"{_collection(operation.collection)}:bulk", body=operation.body, long=True)
            request.headers["Content-Type"] = "application/x-ndjson"
            request.parameters["mode"] = operation.mode
            return request
        case Query() | UpdateFound() | DeleteFound():
            path = f"{_collection(operation.collection)}:{name_of(operation)}"
            return json_request("POST", path, operation.body, long=True)
        case FindAndModify():
            return json_request("POST", f"{_collection(operation.collection)}:findAndModify", operation.body)
    raise TypeError(f"{type(operation).__name__} has no request")


def _collection(name: str) -> str:
    return f"/collections/{segment(name)}"


def value_path(bucket: str, key: str) -> str:
    """Return the path of a value; slashes of a key stay as they are."""
    return f"/kv/{segment(bucket)}/{quote(key, safe='/')}"


def _unless(request: Request, revisions: object) -> Request:
    if revisions is not UNSET:
        request.headers["If-None-Match"] = _entity_tags(revisions)  # type: ignore[arg-type]
    return request


def _patch(operation: UpdateDocument) -> Request:
    request = json_request("PATCH", document_path(operation.collection, operation.id), operation.body)
    request.headers["Content-Type"] = _FORMS[operation.form]
    if operation.when:
        request.parameters["when"] = operation.when.decode()
    if operation.array_filters:
        request.parameters["array_filters"] = operation.array_filters.decode()
    if operation.upsert:
        request.parameters["upsert"] = "true"
    if operation.image is not UNSET:
        request.parameters["return"] = operation.image
    return request
