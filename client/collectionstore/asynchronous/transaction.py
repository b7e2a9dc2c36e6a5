"""Interactive transactions: what was read and is to be written, in one commit. docs/reference/transactions.md."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, cast, overload

from collectionstore.asynchronous.context import AsyncContext, body_of
from collectionstore.asynchronous.cursor import AsyncCursor
from collectionstore.errors import ClientClosed, InvalidOperation, NotFound
from collectionstore.models.bulk import check_replacement, check_update, named_id
from collectionstore.models.documents import Document, DocumentType
from collectionstore.models.ids import new_id
from collectionstore.models.json_text import encode, filter_text
from collectionstore.models.queries import Projection, Sort, text, without_none
from collectionstore.models.results import DeleteResult, Found, InsertOneResult, UpdateResult
from collectionstore.models.writes import Savepoint, Writes
from collectionstore.wire.operations import Count, GetDocument, GetValue
from collectionstore.wire.requests import json_request

T = TypeVar("T")


class AsyncTransaction:
    """Reads now, writes at its end: all at one revision, or none if anything that was read has changed since.

    As a context manager it commits behind its block, and is given up when that raises. `TransactionConflict` says to
    begin again, with new reads: `client.with_transaction` does so. Nothing of it is at a server before the commit.
    """

    def __init__(self, context: AsyncContext) -> None:
        # What is read must be what the commit checks: a stale read would only conflict more often.
        self._context = context.with_options(consistency="linearizable")
        self._writes = Writes()
        self._reads: list[dict[str, Any]] = []
        self._over = False
        self.revision: int | None = None
        """Of the commit; None before it."""

    @overload
    def collection(self, name: str) -> AsyncTransactionCollection[Document]: ...

    @overload
    def collection(self, name: str, type_: type[T]) -> AsyncTransactionCollection[T]: ...

    def collection(self, name: str, type_: type[Any] | None = None) -> AsyncTransactionCollection[Any]:
        """Return a collection whose reads and writes are part of the transaction."""
        return AsyncTransactionCollection(self, text("the name of a collection", name), DocumentType(type_))

    async def get_value(self, bucket: str, key: str) -> bytes | None:
        """Return a raw value, None if there is none."""
        self.check()
        own = self._writes.own(bucket, key, values=True)
        if own is not None:
            return own.text
        try:
            answer = await self._context.call(GetValue(bucket=bucket, key=key))
        except NotFound as error:
            if error.code != "key_not_found":
                raise
            self._reads.append({"bucket": bucket, "key": key, "revision": 0})
            return None
        self._reads.append({"bucket": bucket, "key": key, "revision": answer.etag})
        return answer.value or b""

    def put_value(self, bucket: str, key: str, value: bytes, *, content_type: str | None = None) -> None:
        """Create or replace a raw value."""
        self.check()
        step = without_none(op="put", bucket=bucket, key=key, value=bytes(value), content_type=content_type)
        self._writes.put(step, bucket, key, bytes(value), values=True)

    def delete_value(self, bucket: str, key: str) -> None:
        """Delete a raw value."""
        self.check()
        self._writes.delete({"op": "delete", "bucket": bucket, "key": key}, bucket, key, values=True)

    def savepoint(self) -> Savepoint:
        """Return a place to go back to."""
        self.check()
        return self._writes.savepoint()

    def rollback_to(self, savepoint: Savepoint) -> None:
        """Forget what was written since. What was read stays checked, as it may have been used."""
        self.check()
        self._writes.rollback_to(savepoint)

    async def commit(self, *, timeout: object = None) -> int:
        """Make all writes, if all that was read is still so; return the revision. Raises TransactionConflict."""
        self.check()
        self._over = True
        body = encode({"reads": self._reads, "writes": self._writes.steps()})
        request = json_request("POST", "/transactions:commit", body, writes=True, long=True)
        self.revision = int(body_of(await self._context.send(request, timeout))["revision"])
        return self.revision

    async def abort(self) -> None:
        """Give it up: nothing is sent. Giving up again does nothing."""
        self._over = True

    def check(self) -> None:
        """Raise ClientClosed when it was committed or given up."""
        if self._over:
            raise ClientClosed("the transaction was committed or given up")

    async def __aenter__(self) -> Self:
        self.check()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._over:
            return
        if error is None:
            await self.commit()
        else:
            await self.abort()


class AsyncTransactionCollection(Generic[T]):
    """A collection within a transaction."""

    def __init__(self, transaction: AsyncTransaction, name: str, documents: DocumentType[T]) -> None:
        self._transaction = transaction
        self._documents = documents
        self.name = name

    async def get(self, document_id: str) -> Found[T] | None:
        """Return a document, as this transaction has written it or as it is; None if there is none.

        Raises InvalidOperation for one that the transaction has updated: what it becomes is known at the commit.
        """
        transaction = self._transaction
        transaction.check()
        own = transaction._writes.own(self.name, text("an ID", document_id))
        if own is not None:
            if own.updated:
                raise InvalidOperation("a document that this transaction updates is read before, or put as a whole")
            if own.text is None:
                return None
            return Found(document_id, 0, self._documents.decode(document_id, 0, own.text))
        operation = GetDocument(collection=self.name, id=document_id)
        try:
            answer = await transaction._context.call(operation)
        except NotFound as error:
            if error.code != "document_not_found":
                raise
            transaction._reads.append({"collection": self.name, "id": document_id, "revision": 0})
            return None
        revision = answer.etag or 0
        transaction._reads.append({"collection": self.name, "id": document_id, "revision": revision})
        return Found(document_id, revision, self._documents.decode(document_id, revision, answer.body or b""))

    async def find(
        self,
        filter: Mapping[str, Any] | None = None,  # noqa: A002 - PyMongo's name
        projection: Projection = None,
        *,
        sort: Sort = None,
        limit: int = 0,
    ) -> list[T]:
        """Return the documents that match, all of one state. What comes, goes or changes among them is a conflict.

        Raises InvalidOperation when the transaction has written in this collection: queries do not see that.
        """
        return [one.document for one in await self._find(filter, projection, sort, limit)]

    async def find_one(
        self,
        filter: Mapping[str, Any] | str | None = None,  # noqa: A002 - PyMongo's name
        projection: Projection = None,
        *,
        sort: Sort = None,
    ) -> T | None:
        """Return the first document that matches. A text is the ID of the document."""
        wanted = {"_id": filter} if isinstance(filter, str) else filter_text(filter)
        by_id = named_id(wanted)
        if by_id is not None and not by_id[1] and projection is None:
            found = await self.get(by_id[0])
            return None if found is None else found.document
        for one in await self._find(wanted, projection, sort, 1):
            return one.document
        return None

    async def count_documents(
        self,
        filter: Mapping[str, Any] | None = None,  # noqa: A002 - PyMongo's name
    ) -> int:
        """Return how many documents match."""
        self._before_query()
        wanted = filter_text(filter)
        operation = Count(collection=self.name, body=encode(without_none(filter=wanted or None)))
        said = body_of(await self._transaction._context.call(operation))
        self._queried(wanted, said["revision"])
        return int(said["count"])

    async def insert_one(self, document: T | Mapping[str, Any]) -> InsertOneResult:
        """Insert a document at the commit, under its `_id` or under a UUIDv7 that is made here."""
        document_id, encoded = self._documents.encode(document)  # type: ignore[arg-type]
        made = document_id or new_id()
        self._put(made, encoded, if_exists=False)
        return InsertOneResult(made, 0)

    async def put(self, document_id: str, document: T | Mapping[str, Any]) -> None:
        """Create or replace a document at the commit."""
        _, encoded = self._documents.encode(document)  # type: ignore[arg-type]
        self._put(text("an ID", document_id), encoded)

    async def replace_one(
        self,
        filter: Mapping[str, Any],  # noqa: A002 - PyMongo's name
        replacement: T | Mapping[str, Any],
        upsert: bool = False,  # noqa: FBT001, FBT002 - PyMongo's signature
    ) -> UpdateResult:
        """Replace the first match at the commit."""
        check_replacement(replacement)
        own_id, encoded = self._documents.encode(replacement)  # type: ignore[arg-type]
        found = await self._first(filter)
        if found is None:
            if not upsert:
                return UpdateResult(0, 0, None, 0)
            by_id = named_id(filter_text(filter))
            made = own_id or (by_id[0] if by_id else new_id())
            self._put(made, encoded, if_exists=False)
            return UpdateResult(0, 0, made, 0)
        self._put(found, encoded)
        return UpdateResult(1, 1, None, 0)

    async def update(self, document_id: str, update: Mapping[str, Any], *, upsert: bool = False) -> None:
        """Change a document where it is, at the commit, which NotFound refuses if it is not there, unless `upsert`."""
        self._transaction.check()
        step: dict[str, Any] = {
            "op": "update",
            "collection": self.name,
            "id": document_id,
            "update": dict(check_update(update)),
        }
        if upsert:
            step["upsert"] = True
        self._transaction._writes.update(step, self.name, text("an ID", document_id))

    async def update_one(
        self,
        filter: Mapping[str, Any],  # noqa: A002 - PyMongo's name
        update: Mapping[str, Any],
        upsert: bool = False,  # noqa: FBT001, FBT002 - PyMongo's signature
    ) -> UpdateResult:
        """Update the first match at the commit; `upsert` needs a filter by `_id` alone."""
        check_update(update)
        found = await self._first(filter)
        if found is None:
            by_id = named_id(filter_text(filter))
            if not upsert:
                return UpdateResult(0, 0, None, 0)
            if by_id is None or by_id[1]:
                raise InvalidOperation("an upsert in a transaction names its document by _id alone")
            await self.update(by_id[0], update, upsert=True)
            return UpdateResult(0, 0, by_id[0], 0)
        await self.update(found, update)
        return UpdateResult(1, 1, None, 0)

    async def delete(self, document_id: str) -> None:
        """Delete a document at the commit; one that is not there is no error."""
        self._transaction.check()
        step = {"op": "delete", "collection": self.name, "id": text("an ID", document_id)}
        self._transaction._writes.delete(step, self.name, document_id)

    async def delete_one(
        self,
        filter: Mapping[str, Any],  # noqa: A002 - PyMongo's name
    ) -> DeleteResult:
        """Delete the first match at the commit."""
        found = await self._first(filter)
        if found is None:
            return DeleteResult(0, 0)
        await self.delete(found)
        return DeleteResult(1, 0)

    async def _first(self, filter_: Mapping[str, Any]) -> str | None:
        """Return the ID of the first match, which is then part of what was read."""
        wanted = filter_text(filter_)
        by_id = named_id(wanted)
        if by_id is not None and not by_id[1]:
            found = await self.get(by_id[0])
            return None if found is None else by_id[0]
        for one in await self._find(wanted, None, None, 1):
            return one.id
        return None

    async def _find(
        self, filter_: Mapping[str, Any] | None, projection: Projection, sort: Sort, limit: int
    ) -> list[Found[T]]:
        self._before_query()
        wanted = filter_text(filter_)
        cursor: AsyncCursor[T] = AsyncCursor(
            self._transaction._context,
            self.name,
            self._documents,
            wanted,
            projection=projection,
            sort=sort,
            limit=limit,
        )
        documents = []
        while (one := await cursor.next_found()) is not None:
            documents.append(one)
        self._queried(wanted, cursor.revision)
        return documents

    def _before_query(self) -> None:
        self._transaction.check()
        if self._transaction._writes.touches(self.name):
            raise InvalidOperation("queries of a transaction come before its writes in the same collection")

    def _queried(self, wanted: Mapping[str, Any], revision: int) -> None:
        self._transaction._reads.append({"collection": self.name, "filter": dict(wanted), "revision": revision})

    def _put(self, document_id: str, encoded: bytes, *, if_exists: bool | None = None) -> None:
        self._transaction.check()
        step = {"op": "put", "collection": self.name, "id": document_id, "document": cast(Any, encoded)}
        self._transaction._writes.put(step, self.name, document_id, encoded, if_exists=if_exists)
