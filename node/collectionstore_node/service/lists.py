"""`Lists`: pages of documents, raw values and collections, read in steps between other requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from time import perf_counter
from typing import TypeVar

from msgspec.structs import replace

from collectionstore_node.access.callers import Caller
from collectionstore_node.access.current import CALLER, calling
from collectionstore_node.access.rights import DocumentView, Rights
from collectionstore_node.access.verbs import Kind, Verb
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
from collectionstore_node.service.seeing import Seen
from collectionstore_node.service.turns import Work
from collectionstore_node.statemachine.reads import Page, See, list_collections, list_documents, list_keys
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
            lambda view, rights: list_documents(
                view,
                request.collection,
                prefix=request.prefix,
                after=request.after,
                limit=request.limit,
                bytes_max=self._door.limits.list_bytes_max,
                show=show,
                see=None if rights is None else _seeing(rights.view(request.collection)),
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
            lambda view, _: list_keys(
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
        """Return one page of the catalog: of those collections that the caller may read."""
        return await self._list(
            request,
            lambda view, rights: list_collections(
                view,
                prefix=request.prefix,
                after=request.after,
                limit=request.limit,
                show=lambda item: show(CollectionInfo(item.name, item.collection.id)),
                see=None if rights is None else lambda name: rights.allows(Verb.READ, Kind.COLLECTION, name),
            ),
            consistency,
            timeout_s,
        )

    async def _list(
        self,
        request: List,
        read: Callable[[View, Rights | None], Generator[None, None, Page[T]]],
        consistency: ReadConsistency,
        timeout_s: float,
    ) -> ListResult[T]:
        clock = asyncio.get_running_loop().time
        deadline = clock() + timeout_s
        door = self._door
        await door.view(request, consistency, timeout_s)
        revision = pinned_revision(consistency)
        if revision is not None:
            return await self._past.page(request, read, revision, timeout_s=deadline - clock())
        try:
            return await door.turns.run(Work.LIST, self._page(request, read), timeout_s=deadline - clock())
        except ManyDeleted as gap:
            # Once: a client that deletes faster than the disk can reclaim gets 503.
            await door.replica.reclaim(gap.lo, gap.hi, timeout_s=deadline - clock())
        return await door.turns.run(Work.LIST, self._page(request, read), timeout_s=deadline - clock())

    def _page(
        self, request: List, read: Callable[[View, Rights | None], Generator[None, None, Page[T]]]
    ) -> Generator[None, None, ListResult[T]]:
        # Now: the steps run in a callback.
        return self._steps(request, read, CALLER.get())

    def _steps(
        self,
        request: List,
        read: Callable[[View, Rights | None], Generator[None, None, Page[T]]],
        caller: Caller | None,
    ) -> Generator[None, None, ListResult[T]]:
        # Rights, revision and view in the same step, without a yield between: all are of one state. What is applied
        # while the page is read is not in it, as the scan reads a consistent view.
        with calling(caller):
            rights = self._door.asked(request)
        replica = self._door.replica
        revision, staleness_s = replica.revision, replica.staleness_s()
        stale_since = None if staleness_s is None else perf_counter() - staleness_s
        page = yield from read(replica.view, rights)
        return ListResult(page.items, page.next_after, revision, stale_since)


def _seeing(view: DocumentView | None) -> See | None:
    """Return from documents to what a caller sees of them; None if it sees all."""
    if view is None:
        return None
    seen = Seen(view)

    def see(item: Listed) -> Listed | None:
        text = seen.text(item.id, item.stored.revision, item.stored.value)
        return None if text is None else Listed(item.id, replace(item.stored, value=text))

    return see
