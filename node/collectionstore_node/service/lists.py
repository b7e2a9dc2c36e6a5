"""`Lists`: pages of documents, raw values and collections, read in steps between other requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from time import perf_counter
from typing import TypeVar

from collectionstore_node.errors import ManyDeleted
from collectionstore_node.service.door import Door
from collectionstore_node.service.operations import (
    List,
    ListCollections,
    ListDocuments,
    ListKeys,
    ReadConsistency,
    pinned_revision,
)
from collectionstore_node.service.past import Past
from collectionstore_node.service.results import CollectionInfo, Listed, ListResult
from collectionstore_node.service.turns import Work
from collectionstore_node.statemachine.reads import Page, list_collections, list_documents, list_keys
from collectionstore_node.statemachine.view import View

T = TypeVar("T")


class Lists:
    """The lists of a store: part of `Store`, whose errors they raise."""

    __slots__ = ("_door", "_past")

    def __init__(self, door: Door, past: Past) -> None:
        self._door = door
        self._past = past

    async def documents(
        self, request: ListDocuments, *, show: Callable[[Listed], T], consistency: ReadConsistency, timeout_s: float
    ) -> ListResult[T]:
        """Return one page of a collection's documents. Raises `InvalidRequest("collection_not_found")`.

        `show` converts each item as it is read, so that reading and rendering a page share its steps.
        """
        return await self._list(
            request,
            lambda view: list_documents(
                view,
                request.collection,
                prefix=request.prefix,
                after=request.after,
                limit=request.limit,
                bytes_max=self._door.limits.list_bytes_max,
                show=show,
            ),
            consistency,
            timeout_s,
        )

    async def keys(
        self, request: ListKeys, *, show: Callable[[Listed], T], consistency: ReadConsistency, timeout_s: float
    ) -> ListResult[T]:
        """Return one page of a bucket's raw values; a bucket that was never used is empty."""
        return await self._list(
            request,
            lambda view: list_keys(
                view,
                request.bucket,
                prefix=request.prefix,
                after=request.after,
                limit=request.limit,
                bytes_max=self._door.limits.list_bytes_max,
                show=show,
            ),
            consistency,
            timeout_s,
        )

    async def collections(
        self,
        request: ListCollections,
        *,
        show: Callable[[CollectionInfo], T],
        consistency: ReadConsistency,
        timeout_s: float,
    ) -> ListResult[T]:
        """Return one page of the catalog."""
        return await self._list(
            request,
            lambda view: list_collections(
                view,
                prefix=request.prefix,
                after=request.after,
                limit=request.limit,
                show=lambda item: show(CollectionInfo(item.name, item.collection.id)),
            ),
            consistency,
            timeout_s,
        )

    async def _list(
        self,
        request: List,
        read: Callable[[View], Generator[None, None, Page[T]]],
        consistency: ReadConsistency,
        timeout_s: float,
    ) -> ListResult[T]:
        clock = asyncio.get_running_loop().time
        deadline = clock() + timeout_s
        await self._door.view(request, consistency, timeout_s)
        revision = pinned_revision(consistency)
        if revision is not None:
            return await self._past.page(request, read, revision, timeout_s=deadline - clock())
        try:
            return await self._door.turns.run(Work.LIST, self._page(read), timeout_s=deadline - clock())
        except ManyDeleted as gap:
            # Once: a client that deletes faster than the disk can reclaim gets 503.
            await self._door.replica.reclaim(gap.lo, gap.hi, timeout_s=deadline - clock())
        return await self._door.turns.run(Work.LIST, self._page(read), timeout_s=deadline - clock())

    def _page(self, read: Callable[[View], Generator[None, None, Page[T]]]) -> Generator[None, None, ListResult[T]]:
        # Revision and view in the same step, without a yield between: both are of one state. What is applied while the
        # page is read is not in it, as the scan reads a consistent view.
        replica = self._door.replica
        revision, staleness_s = replica.revision, replica.staleness_s()
        stale_since = None if staleness_s is None else perf_counter() - staleness_s
        page = yield from read(replica.view)
        return ListResult(page.items, page.next_after, revision, stale_since)
