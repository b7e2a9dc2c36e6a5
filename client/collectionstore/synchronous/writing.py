# Generated from ../asynchronous by client/generate_sync.py: change it there.
"""Writes of what a filter finds, and bulks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from collectionstore.errors import InvalidArgument, NotFound, PreconditionFailed
from collectionstore.models.bulk import BulkOperation, InsertOne, check_replacement, check_update, named_id
from collectionstore.models.json_text import decode, encode, filter_text
from collectionstore.models.queries import Sort, sort_body, without_none
from collectionstore.models.results import (
    BulkWriteResult,
    DeleteResult,
    InsertManyResult,
    InsertOneResult,
    UpdateResult,
)
from collectionstore.synchronous.bulk import run_bulk
from collectionstore.synchronous.by_id import ById
from collectionstore.synchronous.context import body_of
from collectionstore.synchronous.handle import life, taken_id
from collectionstore.synchronous.images import find_and_modify
from collectionstore.wire.operations import DeleteFound, InsertDocument, UpdateFound
from collectionstore.wire.requests import as_request

T = TypeVar("T")

Filter = Mapping[str, Any]


class Writing(ById[T], Generic[T]):
    """Writes of one document or many."""

    def insert_one(
        self,
        document: T | Mapping[str, Any],
        *,
        ttl: object = None,
        lease: int | None = None,
        timeout: object = None,
    ) -> InsertOneResult:
        """Insert a document: under its `_id`, which must be free (DuplicateKey), or under one that the store makes."""
        document_id, encoded = self.encoded(document)
        if document_id is not None:
            try:
                made = self._put(document_id, encoded, None, False, ttl, lease, timeout)  # noqa: FBT003
            except PreconditionFailed as error:
                raise taken_id(document_id) from error
            return InsertOneResult(document_id, made.revision)
        operation = InsertDocument(collection=self.name, document=encoded)
        if ttl is None and lease is None:
            answer = self._context.call(operation, timeout)
        else:
            request = as_request(operation)
            request.parameters |= {name: str(one) for name, one in life(ttl, lease).items()}
            answer = self._context.send(request, timeout)
        made_id = answer.id if answer.id is not None else str(body_of(answer)["id"])
        return InsertOneResult(made_id, answer.revision)

    def insert_many(
        self, documents: Iterable[T | Mapping[str, Any]], *, ordered: bool = True, timeout: object = None
    ) -> InsertManyResult:
        """Insert documents as a bulk. Raises BulkWriteError for those that were not inserted."""
        operations: list[BulkOperation] = [InsertOne(one) for one in documents]
        if not operations:
            raise InvalidArgument("there are no documents to insert")
        result = self.bulk_write(operations, ordered=ordered, timeout=timeout)
        return InsertManyResult([result.inserted_ids[at] for at in range(len(operations))], result.revision)

    def replace_one(
        self,
        filter: Filter,  # noqa: A002 - PyMongo's name
        replacement: T | Mapping[str, Any],
        upsert: bool = False,  # noqa: FBT001, FBT002 - PyMongo's signature
        *,
        sort: Sort = None,
        timeout: object = None,
    ) -> UpdateResult:
        """Replace the first match."""
        check_replacement(replacement)
        document_id, encoded = self.encoded(replacement)
        wanted = dict(filter_text(filter))
        by_id = named_id(wanted)
        if document_id is not None:
            if by_id is not None and by_id[0] != document_id:
                raise InvalidArgument("a replacement has the _id of the document that it replaces, or none")
            if by_id is None and upsert:
                wanted["_id"] = document_id
                by_id = named_id(wanted)
        if by_id is not None and not by_id[1]:
            try:
                made = self._put(by_id[0], encoded, None, None if upsert else True, timeout=timeout)
            except PreconditionFailed:
                return UpdateResult(0, 0, None, 0)
            if made.created:
                return UpdateResult(0, 0, by_id[0], made.revision)
            return UpdateResult(1, 1, None, made.revision)
        said = find_and_modify(
            self._context,
            self.name,
            without_none(filter=wanted, replacement=decode(encoded), sort=sort_body(sort), upsert=upsert or None),
            "before",
            timeout,
            image=False,
        )
        if said.created:
            return UpdateResult(0, 0, said.id, said.revision)
        matched = int(said.modified or said.id is not None)
        return UpdateResult(matched, int(said.modified), None, said.revision)

    def update_one(
        self,
        filter: Filter,  # noqa: A002 - PyMongo's name
        update: Mapping[str, Any],
        upsert: bool = False,  # noqa: FBT001, FBT002 - PyMongo's signature
        *,
        array_filters: Sequence[Filter] | None = None,
        sort: Sort = None,
        timeout: object = None,
    ) -> UpdateResult:
        """Update the first match."""
        check_update(update)
        wanted = filter_text(filter)
        by_id = named_id(wanted)
        if by_id is not None and not by_id[1]:
            try:
                made = self.update(by_id[0], update, upsert=upsert, array_filters=array_filters, timeout=timeout)
            except NotFound as error:
                if error.code != "document_not_found":
                    raise
                return UpdateResult(0, 0, None, 0)
            if made.created:
                return UpdateResult(0, 0, by_id[0], made.revision)
            return UpdateResult(1, int(made.modified), None, made.revision)
        body = without_none(
            filter=wanted, update=update, sort=sort_body(sort), upsert=upsert or None, array_filters=array_filters
        )
        said = body_of(self._context.call(UpdateFound(collection=self.name, body=encode(body)), timeout))
        return UpdateResult(said["matched"], said["modified"], said["upserted_id"], said["revision"] or 0)

    def update_many(
        self,
        filter: Filter,  # noqa: A002 - PyMongo's name
        update: Mapping[str, Any],
        upsert: bool = False,  # noqa: FBT001, FBT002 - PyMongo's signature
        *,
        array_filters: Sequence[Filter] | None = None,
        timeout: object = None,
    ) -> UpdateResult:
        """Update all matches, each at once or not at all; all of them together are not one transaction.

        `upsert` inserts a document when there is none that matches, by a second call.
        """
        check_update(update)
        body = without_none(filter=filter_text(filter), update=update, array_filters=array_filters, many=True)
        matched = modified = skipped = revision = 0
        while True:
            said = body_of(self._context.call(UpdateFound(collection=self.name, body=encode(body)), timeout))
            matched, modified = matched + said["matched"], modified + said["modified"]
            skipped, revision = skipped + said["skipped"], max(revision, said["revision"] or 0)
            if said["next_cursor"] is None:
                break
            body["cursor"] = said["next_cursor"]
        if upsert and not matched and not skipped:
            return self.update_one(filter, update, upsert=True, array_filters=array_filters, timeout=timeout)
        return UpdateResult(matched, modified, None, revision, skipped)

    def delete_one(
        self,
        filter: Filter,  # noqa: A002 - PyMongo's name
        *,
        sort: Sort = None,
        timeout: object = None,
    ) -> DeleteResult:
        """Delete the first match."""
        wanted = filter_text(filter)
        by_id = named_id(wanted)
        if by_id is not None and not by_id[1]:
            gone = self.delete(by_id[0], timeout=timeout)
            return DeleteResult(0, 0) if gone is None else DeleteResult(1, gone.revision)
        body = encode(without_none(filter=wanted, sort=sort_body(sort)))
        said = body_of(self._context.call(DeleteFound(collection=self.name, body=body), timeout))
        return DeleteResult(said["deleted"], said["revision"] or 0)

    def delete_many(
        self,
        filter: Filter,  # noqa: A002 - PyMongo's name
        *,
        timeout: object = None,
    ) -> DeleteResult:
        """Delete all matches, each by itself."""
        body: dict[str, Any] = {"filter": filter_text(filter), "many": True}
        deleted = skipped = revision = 0
        while True:
            said = body_of(self._context.call(DeleteFound(collection=self.name, body=encode(body)), timeout))
            deleted, skipped = deleted + said["deleted"], skipped + said["skipped"]
            revision = max(revision, said["revision"] or 0)
            if said["next_cursor"] is None:
                return DeleteResult(deleted, revision, skipped)
            body["cursor"] = said["next_cursor"]

    def bulk_write(
        self,
        requests: Iterable[BulkOperation],
        *,
        ordered: bool = True,
        atomic: bool = False,
        timeout: object = None,
    ) -> BulkWriteResult:
        """Make many writes, those by ID together. Raises BulkWriteError, which has a result for each that was made.

        `ordered`: one after the other, and none behind one that fails. `atomic`: all at one revision or none, at most
        128, each by its ID.
        """
        return run_bulk(self, self._context, list(requests), ordered=ordered, atomic=atomic, timeout=timeout)
