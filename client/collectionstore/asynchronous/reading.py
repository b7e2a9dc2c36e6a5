"""Queries, and watches of what changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

from collectionstore.asynchronous.by_id import AsyncById
from collectionstore.asynchronous.context import body_of
from collectionstore.asynchronous.cursor import AsyncCursor
from collectionstore.asynchronous.watch import AsyncWatch, Start
from collectionstore.errors import InvalidArgument
from collectionstore.models.bulk import named_id
from collectionstore.models.json_text import encode, filter_text
from collectionstore.models.queries import Projection, Sort, text, without_none
from collectionstore.runtime.watching import OnGap
from collectionstore.wire.operations import Aggregate, Count, Distinct
from collectionstore.wire.requests import json_request, segment

T = TypeVar("T")

Filter = Mapping[str, Any]


class AsyncReading(AsyncById[T], Generic[T]):
    """Reads of many documents."""

    def find(
        self,
        filter: Filter | None = None,  # noqa: A002 - PyMongo's name
        projection: Projection = None,
        *,
        sort: Sort = None,
        limit: int = 0,
        skip: int = 0,
        batch_size: int | None = None,
        hint: str | None = None,
        at_revision: int | None = None,
        timeout: object = None,
    ) -> AsyncCursor[T]:
        """Return the documents that match, in the order of `sort` or of their IDs, as a cursor."""
        return AsyncCursor(
            self._context,
            self.name,
            self._documents,
            filter_text(filter),
            projection=projection,
            sort=sort,
            limit=limit,
            skip=skip,
            batch_size=batch_size,
            hint=hint,
            at_revision=at_revision,
            timeout=timeout,
        )

    async def find_one(
        self,
        filter: Filter | str | None = None,  # noqa: A002 - PyMongo's name
        projection: Projection = None,
        *,
        sort: Sort = None,
        skip: int = 0,
        hint: str | None = None,
        at_revision: int | None = None,
        timeout: object = None,
    ) -> T | None:
        """Return the first document that matches, None if none does. A text is the ID of the document."""
        wanted = {"_id": filter} if isinstance(filter, str) else filter_text(filter)
        by_id = named_id(wanted)
        if by_id is not None and not by_id[1] and projection is None and not skip and hint is None:
            found = await self.get(by_id[0], at_revision=at_revision, timeout=timeout)
        else:
            cursor = self.find(
                wanted, projection, sort=sort, skip=skip, hint=hint, limit=1, at_revision=at_revision, timeout=timeout
            )
            found = await cursor.next_found()
        return None if found is None else found.document

    async def count_documents(
        self,
        filter: Filter | None = None,  # noqa: A002 - PyMongo's name
        *,
        hint: str | None = None,
        timeout: object = None,
    ) -> int:
        """Return how many documents match."""
        body = encode(without_none(filter=filter_text(filter) or None, hint=hint))
        answer = await self._context.call(Count(collection=self.name, body=body), timeout)
        return int(body_of(answer)["count"])

    async def estimated_document_count(self, *, timeout: object = None) -> int:
        """Return how many documents there are; exactly, as the store has no estimates."""
        return await self.count_documents(timeout=timeout)

    async def distinct(
        self,
        key: str,
        filter: Filter | None = None,  # noqa: A002 - PyMongo's name
        *,
        hint: str | None = None,
        timeout: object = None,
    ) -> list[Any]:
        """Return the different values of a field, in their order; arrays by their elements. At most 10,000."""
        body = encode(without_none(field=text("a field", key), filter=filter_text(filter) or None, hint=hint))
        answer = await self._context.call(Distinct(collection=self.name, body=body), timeout)
        return list(body_of(answer)["values"])

    async def aggregate(
        self, pipeline: Sequence[Mapping[str, Any]], *, at_revision: int | None = None, timeout: object = None
    ) -> list[dict[str, Any]]:
        """Return what a pipeline makes: all of it, at most 1,000 documents or 4 MiB."""
        if isinstance(pipeline, Mapping | str):
            raise InvalidArgument("a pipeline is a list of stages")
        body = encode({"pipeline": list(pipeline)})
        if at_revision is None:
            answer = await self._context.call(Aggregate(collection=self.name, body=body), timeout)
        else:
            request = json_request("POST", f"/collections/{segment(self.name)}:aggregate", body, long=True)
            answer = await self._context.send(self._context.read_parameters(request, at_revision), timeout)
        return list(body_of(answer)["documents"])

    def watch(
        self,
        filter: Filter | None = None,  # noqa: A002 - as of find
        *,
        operations: Sequence[str] | None = None,
        projection: Projection = None,
        before: bool = False,
        start: Start = "now",
        consumer: str | None = None,
        on_gap: OnGap = "raise",
    ) -> AsyncWatch[T]:
        """Return the changes of the collection from now, or from another place, on: each once, in order.

        `start` is `now`, `snapshot` (first the documents that match, then `ready`, then changes), a revision, or the
        `token` of an event. `on_gap`: what to do when changes are not kept any more: `raise` HistoryLost, or `resync`,
        which tells `resync` and then a snapshot.
        """
        return AsyncWatch(
            self._context,
            {"collection": self.name},
            self._documents,
            filter_=filter,
            operations=operations,
            projection=projection,
            before=before,
            start=start,
            consumer=consumer,
            on_gap=on_gap,
        )
