"""`:findAndModify`, and what one that is answered again should have answered.

Documents are not kept with outcomes; but changes are, so that an answer that was lost is found in the history.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from collectionstore.asynchronous.context import AsyncContext, body_of
from collectionstore.errors import ImageNotKept, ProblemError
from collectionstore.models.json_text import encode
from collectionstore.models.queries import Projection, projection_body, without_none
from collectionstore.wire.operations import FindAndModify
from collectionstore.wire.requests import json_request, segment


class _Change(msgspec.Struct):
    event: str
    revision: int = 0
    op: str = ""
    id: str | None = None
    document: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    before: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)


class _Changes(msgspec.Struct):
    events: list[_Change]


async def recovered_image(
    context: AsyncContext,
    collection: str,
    revision: int,
    which: Literal["before", "after"],
    projection: Mapping[str, Any] | None,
) -> tuple[str, bytes | None]:
    """Return the ID and the document before or after the one write of a collection at `revision`, from its history.

    Raises ImageNotKept if the history does not go back so far, or has no such change.
    """
    path = f"/collections/{segment(collection)}:watch"
    body = without_none(before=which == "before" or None)
    request = json_request("POST", path, encode({"from": revision - 1, **body}))
    request.parameters["wait"] = "0s"
    try:
        answer = await context.send(request)
    except ProblemError as error:
        if error.status in (400, 404, 410):
            raise ImageNotKept(revision) from error
        raise
    for change in msgspec.json.decode(answer.body or b"", type=_Changes).events:
        if change.event == "change" and change.revision == revision and change.id is not None:
            text = bytes(change.before if which == "before" else change.document)
            if not text or projection is None:
                return change.id, text or None
            return change.id, await _projected(context, collection, change.id, revision, which, projection)
    raise ImageNotKept(revision)


async def _projected(
    context: AsyncContext,
    collection: str,
    document_id: str,
    revision: int,
    which: Literal["before", "after"],
    projection: Mapping[str, Any],
) -> bytes | None:
    """Return a document in part, as it was read in the past."""
    find = {"filter": {"_id": document_id}, "projection": projection, "limit": 1}
    request = json_request("POST", f"/collections/{segment(collection)}:find", encode(find))
    request.parameters["at_revision"] = str(revision - 1 if which == "before" else revision)
    found = body_of(await context.send(request))["documents"]
    return encode(found[0]["document"]) if found else None


@dataclass(frozen=True, slots=True)
class Modified:
    """What `:findAndModify` did; `document` is JSON text, None if there is none to show."""

    id: str | None
    created: bool
    modified: bool
    revision: int
    document: bytes | None


class _Said(msgspec.Struct):
    id: str | None = None
    created: bool = False
    modified: bool = False
    revision: int | None = None
    document: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)


async def find_and_modify(
    context: AsyncContext,
    collection: str,
    body: Mapping[str, Any],
    which: Literal["before", "after"],
    timeout: object = None,
    *,
    projection: Projection = None,
    image: bool = True,
) -> Modified:
    """Change one document; with `image` return it, also if the answer of the attempt that did it was lost."""
    shown = projection_body(projection)
    whole = {**body, **without_none(projection=shown)}
    if "remove" not in body:
        whole["return"] = which
    answer = await context.call(FindAndModify(collection=collection, body=encode(whole)), timeout)
    said = msgspec.json.decode(answer.body or b"", type=_Said)
    document = None if bytes(said.document) in (b"", b"null") else bytes(said.document)
    revision = said.revision or 0
    nothing_before = which == "before" and said.created
    if answer.replayed and image and document is None and revision and not nothing_before:
        if not said.modified and said.id is None:
            return Modified(None, said.created, said.modified, revision, None)
        found_id, document = await recovered_image(context, collection, revision, which, shown)
        return Modified(found_id, said.created, said.modified, revision, document)
    return Modified(said.id, said.created, said.modified, revision, document)
