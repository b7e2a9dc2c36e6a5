"""`AsyncCursor`: the documents of a query, page by page, all of the state of the first page."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import msgspec

from collectionstore.asynchronous.context import AsyncContext, body_of
from collectionstore.errors import ClientClosed, InvalidOperation
from collectionstore.models.documents import DocumentType
from collectionstore.models.json_text import encode
from collectionstore.models.queries import Projection, Sort, bounded, projection_body, sort_body, without_none
from collectionstore.models.results import Found
from collectionstore.wire.operations import Find
from collectionstore.wire.requests import json_request, segment

T = TypeVar("T")

PAGE_MAX = 1_000


class _Item(msgspec.Struct, gc=False):
    id: str
    revision: int
    document: msgspec.Raw


class _Page(msgspec.Struct, gc=False):
    documents: list[_Item]
    next_cursor: str | None
    revision: int


_decode_page = msgspec.json.Decoder(_Page).decode


class AsyncCursor(Generic[T]):
    """The documents that a query finds. Iterate over it, or take all with `to_list`.

    The query is sent with the first document that is asked for; before that, `sort`, `limit`, `skip`, `batch_size` and
    `hint` may change it. Pages are fetched as they are needed, and no server keeps anything of a cursor: one that is
    not read to its end costs nothing, and needs no closing.
    """

    def __init__(
        self,
        context: AsyncContext,
        collection: str,
        documents: DocumentType[T],
        filter_: Mapping[str, Any],
        *,
        projection: Projection = None,
        sort: Sort = None,
        limit: int = 0,
        skip: int = 0,
        batch_size: int | None = None,
        hint: str | None = None,
        at_revision: int | None = None,
        timeout: object = None,
    ) -> None:
        self._context = context
        self._collection = collection
        self._documents = documents
        self._filter = filter_
        self._projection = projection_body(projection)
        self._sort = sort_body(sort)
        self._limit = bounded("limit", limit, 0, 1 << 53) or 0
        self._skip = bounded("skip", skip, 0, 10_000) or 0
        self._batch_size = bounded("batch_size", batch_size, 1, PAGE_MAX)
        self._hint = hint
        self._at_revision = bounded("at_revision", at_revision, 0, 1 << 62)
        self._timeout = timeout
        self._page: deque[_Item] = deque()
        self._next: str | None = None
        self._began = False
        self._closed = False
        self._given = 0
        self.revision = 0
        """Of the state that the documents are of; 0 before the first one."""

    def sort(self, key: Sort, direction: int = 1) -> Self:
        """Order by a field, or by pairs of a field and 1 or -1."""
        self._change()
        self._sort = sort_body(key, direction)
        return self

    def limit(self, limit: int) -> Self:
        """Give at most so many documents; 0 is all of them."""
        self._change()
        self._limit = bounded("limit", limit, 0, 1 << 53) or 0
        return self

    def skip(self, skip: int) -> Self:
        """Leave out so many matches, at most 10,000."""
        self._change()
        self._skip = bounded("skip", skip, 0, 10_000) or 0
        return self

    def batch_size(self, size: int) -> Self:
        """Fetch so many documents at a time, 1 to 1,000; as many as the store gives by itself otherwise."""
        self._change()
        self._batch_size = bounded("batch_size", size, 1, PAGE_MAX)
        return self

    def hint(self, index: str) -> Self:
        """Use this index, or `scan` for none."""
        self._change()
        self._hint = index
        return self

    def _change(self) -> None:
        if self._began:
            raise InvalidOperation("the cursor has begun: change it before the first document")

    async def next_found(self) -> Found[T] | None:
        """Return the next document with its ID and revision, None behind the last. Raises CollectionStoreError."""
        while not self._page:
            if self._closed:
                raise ClientClosed("the cursor was closed")
            if self._began and self._next is None:
                return None
            if self._limit and self._given >= self._limit:
                return None
            await self._fetch()
        if self._closed:
            raise ClientClosed("the cursor was closed")
        item = self._page.popleft()
        self._given += 1
        return Found(item.id, item.revision, self._documents.decode(item.id, item.revision, item.document))

    async def found(self) -> AsyncIterator[Found[T]]:
        """Iterate over the documents with their IDs and revisions."""
        while (one := await self.next_found()) is not None:
            yield one

    async def to_list(self, length: int | None = None) -> list[T]:
        """Return the documents that are left, at most `length`."""
        documents: list[T] = []
        while length is None or len(documents) < length:
            one = await self.next_found()
            if one is None:
                break
            documents.append(one.document)
        return documents

    async def explain(self) -> dict[str, Any]:
        """Return how the query is answered: the plan, and what it examined. Does not move the cursor."""
        answer = await self._context.call(
            Find(collection=self._collection, body=encode({**self._body(), "explain": True})), self._timeout
        )
        return dict(body_of(answer)["explain"])

    async def close(self) -> None:
        """Give no more documents."""
        self._closed = True
        self._page.clear()

    def _body(self) -> dict[str, Any]:
        size = self._batch_size or (min(self._limit - self._given, PAGE_MAX) if self._limit else None)
        if self._limit and size is not None:
            size = min(size, self._limit - self._given)
        return without_none(
            filter=self._filter or None,
            projection=self._projection,
            sort=self._sort,
            limit=size,
            skip=None if self._began else self._skip or None,
            cursor=self._next,
            hint=self._hint,
        )

    async def _fetch(self) -> None:
        body = encode(self._body())
        if self._at_revision is None or self._next is not None:
            answer = await self._context.call(Find(collection=self._collection, body=body), self._timeout)
        else:
            request = json_request("POST", f"/collections/{segment(self._collection)}:find", body, long=True)
            request.parameters["at_revision"] = str(self._at_revision)
            answer = await self._context.send(request, self._timeout)
        page = _decode_page(answer.body or b"")
        self._began = True
        self._page.extend(page.documents)
        self._next = page.next_cursor
        self.revision = page.revision

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        one = await self.next_found()
        if one is None:
            raise StopAsyncIteration
        return one.document

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
