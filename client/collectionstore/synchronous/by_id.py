# Generated from ../asynchronous by client/generate_sync.py: change it there.
"""Documents by their IDs: what the store does with the least work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

from collectionstore.errors import InvalidArgument, NotFound
from collectionstore.models.bulk import check_update
from collectionstore.models.json_text import encode, filter_text
from collectionstore.models.queries import text
from collectionstore.models.results import Found, WriteResult
from collectionstore.synchronous.context import body_of
from collectionstore.synchronous.handle import Handle, life
from collectionstore.wire.operations import DeleteDocument, Form, GetDocument, PutDocument, Revisions, UpdateDocument
from collectionstore.wire.requests import as_request, json_request, segment

T = TypeVar("T")

Filter = Mapping[str, Any]


class ById(Handle[T], Generic[T]):
    """Reads and writes of one document by its ID."""

    def get(self, document_id: str, *, at_revision: int | None = None, timeout: object = None) -> Found[T] | None:
        """Return a document with its revision, None if there is none; `at_revision`: as it was then."""
        operation = GetDocument(collection=self.name, id=text("an ID", document_id))
        try:
            if at_revision is None:
                answer = self._context.call(operation, timeout)
            else:
                request = as_request(operation)
                answer = self._context.send(self._context.read_parameters(request, at_revision), timeout)
        except NotFound as error:
            if error.code != "document_not_found":
                raise
            return None
        revision = answer.etag or 0
        document = self._documents.decode(document_id, revision, answer.body or b"")
        left = None if answer.expires_in_ms is None else answer.expires_in_ms / 1_000
        return Found(document_id, revision, document, left)

    def put(
        self,
        document_id: str,
        document: T | Mapping[str, Any],
        *,
        if_revision: Revisions | None = None,
        if_exists: bool | None = None,
        ttl: object = None,
        lease: int | None = None,
        timeout: object = None,
    ) -> WriteResult:
        """Create or replace a document.

        `if_revision`: only if its revision is this one; `if_exists`: only if it is there, or is not; PreconditionFailed
        otherwise. `ttl` (seconds, or a text such as `30m`) or `lease` says until when it is there.
        """
        _, encoded = self.encoded(document)
        return self._put(document_id, encoded, if_revision, if_exists, ttl, lease, timeout)

    def _put(
        self,
        document_id: str,
        encoded: bytes,
        if_revision: Revisions | None = None,
        if_exists: bool | None = None,  # noqa: FBT001 - of the callers here
        ttl: object = None,
        lease: int | None = None,
        timeout: object = None,
    ) -> WriteResult:
        operation = PutDocument(collection=self.name, id=text("an ID", document_id), document=encoded)
        if if_revision is not None:
            operation.if_revision = if_revision
        if if_exists is not None:
            operation.if_exists = if_exists
        if ttl is None and lease is None:
            answer = self._context.call(operation, timeout)
        else:
            request = as_request(operation)
            request.parameters |= {name: str(one) for name, one in life(ttl, lease).items()}
            answer = self._context.send(request, timeout)
        return WriteResult(
            document_id,
            answer.revision,
            created=answer.status == 201,
            replayed=answer.replayed,
            schema_warning=answer.schema_warning,
        )

    def update(
        self,
        document_id: str,
        update: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        form: Form = "operators",
        when: Filter | None = None,
        upsert: bool = False,
        array_filters: Sequence[Filter] | None = None,
        if_revision: Revisions | None = None,
        timeout: object = None,
    ) -> WriteResult:
        """Change a document where it is: by operators, or as `form` says by a `merge_patch` or a `json_patch`.

        `when` is a filter that it must match when the update is applied: PreconditionFailed otherwise. NotFound if it
        is not there, unless `upsert`.
        """
        if form == "operators":
            check_update(update)
        elif form not in ("merge_patch", "json_patch"):
            raise InvalidArgument("form must be operators, merge_patch or json_patch")
        operation = UpdateDocument(
            collection=self.name, id=text("an ID", document_id), body=encode(update), form=form, upsert=upsert
        )
        if when is not None:
            operation.when = encode(filter_text(when, "when"))
        if array_filters is not None:
            operation.array_filters = encode(array_filters)
        if if_revision is not None:
            operation.if_revision = if_revision
        answer = self._context.call(operation, timeout)
        said = body_of(answer)
        return WriteResult(
            document_id,
            int(said["revision"]),
            created=answer.status == 201,
            modified=bool(said["modified"]),
            replayed=answer.replayed,
        )

    def delete(
        self, document_id: str, *, if_revision: Revisions | None = None, timeout: object = None
    ) -> WriteResult | None:
        """Delete a document; None if there was none."""
        operation = DeleteDocument(collection=self.name, id=text("an ID", document_id))
        if if_revision is not None:
            operation.if_revision = if_revision
        try:
            answer = self._context.call(operation, timeout)
        except NotFound as error:
            if error.code != "document_not_found":
                raise
            return None
        return WriteResult(document_id, answer.revision, replayed=answer.replayed)

    def touch(self, document_id: str, *, ttl: object = None, lease: int | None = None, timeout: object = None) -> None:
        """Move the time at which a document expires, and nothing else."""
        body = encode({"id": text("an ID", document_id), **life(ttl, lease)})
        request = json_request("POST", f"/collections/{segment(self.name)}:touch", body, writes=True)
        self._context.send(request, timeout)
