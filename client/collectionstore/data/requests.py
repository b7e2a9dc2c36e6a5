"""The requests of the commands on data that need their texts as they are: bodies and documents pass unread."""

from __future__ import annotations

from typing import Any

from collectionstore.render.json_text import compact
from collectionstore.wire.answers import Answer
from collectionstore.wire.requests import Request, condition, document_path, json_request, segment, value_path

__all__ = ["segment", "value_path"]


def json_body(method: str, path: str, body: Any = None, *, writes: bool = False, long: bool = False) -> Request:
    """Return a request with a value as its JSON body; None for no body."""
    return json_request(method, path, None if body is None else compact(body).encode(), writes=writes, long=long)


def get_document(collection: str, document_id: str, *, at_revision: int | None = None, stale: bool = False) -> Request:
    """Return the request that reads a document."""
    request = Request("GET", document_path(collection, document_id))
    read_at(request, at_revision=at_revision, stale=stale)
    return request


def read_at(request: Request, *, at_revision: int | None = None, stale: bool = False) -> None:
    """Say of which state a read is."""
    if at_revision is not None:
        request.parameters["at_revision"] = str(at_revision)
    if stale:
        request.parameters["consistency"] = "stale"


def put_document(
    collection: str,
    document_id: str,
    body: bytes,
    *,
    if_revision: int | None = None,
    if_exists: bool | None = None,
    ttl: str | None = None,
) -> Request:
    """Return the request that creates or replaces a document."""
    request = json_request("PUT", document_path(collection, document_id), body, writes=True)
    return _conditional(request, if_revision, if_exists=if_exists, ttl=ttl)


def insert_document(collection: str, body: bytes, *, ttl: str | None = None) -> Request:
    """Return the request that creates a document under an ID of the store."""
    request = json_request("POST", f"/collections/{segment(collection)}/documents", body, writes=True)
    return _conditional(request, None, ttl=ttl)


def update_document(
    collection: str,
    document_id: str,
    body: bytes,
    *,
    form: str = "application/json",
    when: Any = None,
    upsert: bool = False,
    if_revision: int | None = None,
    ttl: str | None = None,
) -> Request:
    """Return the request that changes a document where it is; `when` is a filter that it must match."""
    request = Request("PATCH", document_path(collection, document_id), body=body, writes=True)
    request.headers["Content-Type"] = form
    request.parameters["return"] = "after"
    if when:
        request.parameters["when"] = compact(when)
    if upsert:
        request.parameters["upsert"] = "true"
    return _conditional(request, if_revision, ttl=ttl)


def delete_document(collection: str, document_id: str, *, if_revision: int | None = None) -> Request:
    """Return the request that deletes a document."""
    request = Request("DELETE", document_path(collection, document_id), writes=True)
    return _conditional(request, if_revision)


def id_of(answer: Answer) -> str:
    """Return the ID of the document that was created."""
    return answer.id or ""


def _conditional(
    request: Request, if_revision: int | None, *, if_exists: bool | None = None, ttl: str | None = None
) -> Request:
    if if_revision is not None:
        condition(request, if_revision)
    elif if_exists is not None:
        condition(request, if_exists=if_exists)
    if ttl:
        request.parameters["ttl"] = ttl
    return request
