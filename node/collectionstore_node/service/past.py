"""`Past`: reads of the state as it was at a revision, in the thread of queries.

The views that a read needs are taken in one turn of the event loop, so that all are of one state. What was changed
since the revision is collected from one of them, in the thread, and undone in the others (`statemachine.past`). A read
of the past never waits for the leader: a revision that is applied here is the same on every member.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from time import monotonic
from typing import Final, TypeVar

from collectionstore_node.access.rights import Rights
from collectionstore_node.errors import InvalidRequest, ManyDeleted, ReadTimedOut
from collectionstore_node.service.door import Door
from collectionstore_node.service.limits import StoreLimits
from collectionstore_node.service.operations import DocumentRef, List, ListDocuments, ListKeys, Read, ReadConsistency
from collectionstore_node.service.query_thread import QueryThread
from collectionstore_node.service.results import ListResult, ReadResult
from collectionstore_node.service.seeing import seen_stored
from collectionstore_node.statemachine.past import PastView, Scope, Undo, collect
from collectionstore_node.statemachine.reads import Page, get_document, get_key
from collectionstore_node.statemachine.view import View

T = TypeVar("T")

_Steps = Generator[None, None, T]

CURSORS: Final = 3
"""Scans of a query that go on at a time: of entries, and of documents in two ways."""


class Pinned:
    """The views of one read of the past. Made in the event loop, used in the thread of queries."""

    __slots__ = ("_history", "_others", "_scope", "_spare", "now", "undo")

    def __init__(self, view: View, revision: int, scope: Scope, *, others: int = 0) -> None:
        """`others` is how many collections are read beside the first."""
        self._history, self.now = view.fixed(), view.fixed()
        self._spare = [view.fixed() for _ in range(CURSORS)]
        self._others = [view.fixed() for _ in range(others)]
        self._scope = scope
        self.undo = Undo(revision)

    def collect(self, limits: StoreLimits, expired: float) -> _Steps[None]:
        """Collect what was different, BEFORE any of the views is read. Raises `HistoryGone` and `ReadTimedOut`.

        `expired` is when the read's time is up, by `time.monotonic`.
        """
        for _ in collect(self._history, self.now, self.undo, self._scope, bytes_max=limits.query_memory_bytes_max):
            if monotonic() >= expired:
                raise ReadTimedOut("the read had looked at a part of what was changed since when its time was up")
            yield

    def planning(self) -> View:
        """Return a view for short reads, one after the other."""
        return PastView(self.undo, self.now)

    def reading(self) -> View:
        """Return the view for CURSORS scans at a time; once."""
        return PastView(self.undo, self.now, self._spare)

    def others(self) -> tuple[View, ...]:
        """Return the views of the other collections."""
        return tuple(PastView(self.undo, one) for one in self._others)


class Past:
    """Single reads and pages of the past: part of `Store`, whose errors they raise, and `HistoryGone`."""

    __slots__ = ("_door", "_thread")

    def __init__(self, door: Door, thread: QueryThread) -> None:
        self._door = door
        self._thread = thread

    async def read(self, target: Read, consistency: ReadConsistency, revision: int, *, timeout_s: float) -> ReadResult:
        """Return one document or raw value as it was. Raises `InvalidRequest("collection_not_found")`."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + timeout_s
        await self._door.confirm(consistency, timeout_s)

        def steps(view: View, rights: Rights | None) -> _Steps[ReadResult]:
            yield from ()
            if not isinstance(target, DocumentRef):
                return ReadResult(get_key(view, target.bucket, target.key), revision)
            stored = get_document(view, target.collection, target.id)
            if stored is not None and rights is not None:
                stored = seen_stored(rights.view(target.collection), target.id, stored)
            return ReadResult(stored, revision)

        return await self._run(target, Scope.of(target), revision, steps, deadline - clock())

    async def page(
        self, request: List, read: Callable[[View, Rights | None], _Steps[Page[T]]], revision: int, *, timeout_s: float
    ) -> ListResult[T]:
        """Return one page of documents or values as they were."""
        match request:
            case ListDocuments(collection):
                scope = Scope(frozenset((collection,)))
            case ListKeys(bucket):
                scope = Scope(bucket=bucket)
            case _:
                raise InvalidRequest("invalid_parameter", "collections are listed as they are now")

        def steps(view: View, rights: Rights | None) -> _Steps[ListResult[T]]:
            page = yield from read(view, rights)
            return ListResult(page.items, page.next_after, revision)

        return await self._run(request, scope, revision, steps, timeout_s)

    async def _run(
        self,
        operation: Read | List,
        scope: Scope,
        revision: int,
        steps: Callable[[View, Rights | None], _Steps[T]],
        timeout_s: float,
    ) -> T:
        expired, replica = monotonic() + timeout_s, self._door.replica

        def begin() -> _Steps[T]:
            # By the rights of now, and not by those of the past: what was taken away is not to be had that way.
            rights = self._door.asked(operation)
            pinned = Pinned(replica.view, revision, scope)

            def run() -> _Steps[T]:
                yield from pinned.collect(self._door.limits, expired)
                return (yield from steps(pinned.reading(), rights))

            return run()

        return await in_thread(self._door, self._thread, begin, timeout_s=timeout_s)


async def in_thread(door: Door, thread: QueryThread, begin: Callable[[], _Steps[T]], *, timeout_s: float) -> T:
    """Run the steps that `begin` makes in the event loop. What was deleted and is in their way is reclaimed, once."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + timeout_s
    try:
        return await thread.run(begin, timeout_s=timeout_s)
    except ManyDeleted as gap:
        # Once: a client that deletes faster than the disk can reclaim gets 503.
        await door.replica.reclaim(gap.lo, gap.hi, timeout_s=deadline - clock())
    return await thread.run(begin, timeout_s=deadline - clock())
