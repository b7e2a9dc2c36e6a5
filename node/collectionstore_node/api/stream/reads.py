"""Reads of streams. Single reads that arrive together share one confirmation; lists run in the task that was made for
them. All streams together read so much in a turn of the loop, and none reads ahead of answers that its client leaves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from time import perf_counter
from typing import Any, Final

from collectionstore_node.api.handlers import catalog, documents, kv
from collectionstore_node.api.handlers.read_answers import page_answer
from collectionstore_node.api.http.answers import staleness_ms
from collectionstore_node.api.http.call import ApiContext
from collectionstore_node.api.http.cursors import decode_cursor
from collectionstore_node.api.http.names import bucket_name, collection_name
from collectionstore_node.api.http.problems import Problem
from collectionstore_node.api.stream import operations
from collectionstore_node.api.stream.conversion import consistency, prefix
from collectionstore_node.api.stream.flight import Flight, Stream
from collectionstore_node.api.stream.operations import Answer, Page
from collectionstore_node.api.stream.rendering import read_answer
from collectionstore_node.api.stream.settings import TURN_READS_MAX
from collectionstore_node.errors import NodeError
from collectionstore_node.lifecycle import NO_MEMORY
from collectionstore_node.service import Consistency, ReadConsistency
from collectionstore_node.service.operations import ListCollections, ListDocuments, ListKeys
from collectionstore_node.service.results import ListResult, ReadResult
from collectionstore_node.service.seeing import Unseen


class Reads:
    """Executes the reads of all streams of a port."""

    def __init__(self, api: ApiContext) -> None:
        self._store = api.store
        self._limits = api.limits
        self._reads = 0
        """Reads in this turn of the loop."""

    # Single reads

    def read(self, stream: Stream, flights: Sequence[Flight]) -> None:
        """Execute prepared reads: one confirmation for all linearizable ones with the same budget."""
        groups: dict[tuple[ReadConsistency, float], list[Flight]] = {}
        for flight in flights:
            operation = flight.operation
            try:
                current = consistency(operation) if isinstance(operation, operations.Read) else _LINEARIZABLE
            except Problem as problem:
                stream.fail(flight, problem)
                continue
            groups.setdefault((current, flight.timeout_s), []).append(flight)
        for (current, _), group in groups.items():
            stream.spawn(group, self._read_group(stream, group, current))

    async def _read_group(self, stream: Stream, flights: Sequence[Flight], current: ReadConsistency) -> None:
        store = self._store
        try:
            await store.confirm(current, timeout_s=flights[0].left_s)
        except NodeError as error:
            for flight in flights:
                stream.fail(flight, error)
            return
        for flight in flights:
            while self._reads >= TURN_READS_MAX:  # noqa: ASYNC110 - a turn of the loop is what it waits for
                await asyncio.sleep(0)
            if store.reads_wait:
                await store.read_turn()
            while stream.crowded:
                await stream.room()
            self._count_read()
            try:
                late = self._read_one(stream, flight)
                if late is not None:
                    await late
            except NO_MEMORY:
                raise
            except Exception as error:  # the boundary: everything becomes an answer
                stream.fail(flight, error)

    def _count_read(self) -> None:
        """Count a read in this turn of the loop: one confirmation serves all streams at once."""
        if not self._reads:
            asyncio.get_running_loop().call_soon(self._forget_reads)
        self._reads += 1

    def _forget_reads(self) -> None:
        self._reads = 0

    def _read_one(self, stream: Stream, flight: Flight) -> Coroutine[Any, Any, None] | None:
        """Answer a read; return what is left to do for a large document of which a part is shown."""
        operation, target = flight.operation, flight.target
        if stream.ended:
            raise Problem("client_closed", "the client closed the stream")
        if target is None or not isinstance(operation, operations.ConditionalRead):
            raise RuntimeError("only a read is read")
        found = self._store.read_at_once(target)
        if not isinstance(found, ReadResult):
            return self._read_late(stream, flight, operation, found)
        self._answer_read(stream, flight, operation, found)
        return None

    async def _read_late(
        self, stream: Stream, flight: Flight, operation: operations.ConditionalRead, found: Unseen
    ) -> None:
        self._answer_read(stream, flight, operation, await self._store.seen(found, timeout_s=flight.left_s))

    def _answer_read(
        self, stream: Stream, flight: Flight, operation: operations.ConditionalRead, found: ReadResult
    ) -> None:
        answer = read_answer(operation, found, stream.codec)
        answer.staleness_ms = self._staleness_ms(operation)
        stream.answer(flight, answer)

    def _staleness_ms(self, operation: operations.Read) -> int | None:
        if operation.consistency is Consistency.LINEARIZABLE:
            return None
        return staleness_ms(self._store.staleness_s())

    async def answer_collection(
        self, stream: Stream, flight: Flight, name: str, current: ReadConsistency, *, replayed: bool
    ) -> None:
        """Answer with what is known of a collection. Raises `Problem` or `NodeError`."""
        checked = collection_name(name)
        found = await self._store.read_collection(checked, consistency=current, timeout_s=flight.left_s)
        collection = found.collection
        if collection is None:
            raise Problem("collection_not_found", f"there is no collection {checked!r}")
        tag = flight.operation.tag
        stream.answer(
            flight,
            Answer(tag=tag, status=200, revision=found.revision, etag=collection.revision, replayed=replayed),
        )

    # Lists

    async def list_documents(self, stream: Stream, flight: Flight, operation: operations.ListDocuments) -> None:
        """Answer with one page of a collection's documents. Raises `Problem` or `NodeError`."""
        collection = collection_name(operation.collection)
        first = prefix(operation.prefix, self._limits)
        scope = ("documents", collection, first)
        request = ListDocuments(collection, first, _after(operation, scope), self._limit(operation))
        page = await self._store.lists.documents(
            request, show=documents.listed, consistency=consistency(operation), timeout_s=flight.left_s
        )
        self._answer_page(stream, flight, operation, page, scope, "documents")

    async def list_keys(self, stream: Stream, flight: Flight, operation: operations.ListKeys) -> None:
        """Answer with one page of a bucket's values. Raises `Problem` or `NodeError`."""
        bucket = bucket_name(operation.bucket)
        first = prefix(operation.prefix, self._limits)
        scope = ("keys", bucket, first)
        request = ListKeys(bucket, first, _after(operation, scope), self._limit(operation))
        show = kv.listed_with_value if operation.values else kv.listed
        page = await self._store.lists.keys(
            request, show=show, consistency=consistency(operation), timeout_s=flight.left_s
        )
        self._answer_page(stream, flight, operation, page, scope, "keys")

    async def get_collection(self, stream: Stream, flight: Flight, operation: operations.GetCollection) -> None:
        """Answer with what is known of a collection. Raises `Problem` or `NodeError`."""
        await self.answer_collection(stream, flight, operation.collection, consistency(operation), replayed=False)

    async def list_collections(self, stream: Stream, flight: Flight, operation: operations.ListCollections) -> None:
        """Answer with one page of the collections. Raises `Problem` or `NodeError`."""
        first = prefix(operation.prefix, self._limits)
        scope = ("collections", first)
        request = ListCollections(first, _after(operation, scope), self._limit(operation))
        page = await self._store.lists.collections(
            request, show=catalog.listed, consistency=consistency(operation), timeout_s=flight.left_s
        )
        self._answer_page(stream, flight, operation, page, scope, "collections")

    def _answer_page(
        self,
        stream: Stream,
        flight: Flight,
        operation: Page,
        page: ListResult[bytes],
        scope: tuple[str, ...],
        field: str,
    ) -> None:
        body, stale_ms = stream.codec.json(page_answer(scope, page, field).content), self._staleness_ms(operation)
        if stale_ms is not None and page.stale_since is not None:
            # Of the moment at which it was read, not that of the answer: a round may have been confirmed since.
            stale_ms = staleness_ms(perf_counter() - page.stale_since)
        answer = Answer(tag=operation.tag, status=200, revision=page.revision, body=body, staleness_ms=stale_ms)
        stream.answer(flight, answer)

    def _limit(self, operation: Page) -> int:
        return self._limits.list_items_default if operation.limit is None else operation.limit


_LINEARIZABLE: Final = Consistency.LINEARIZABLE


def _after(operation: Page, scope: tuple[str, ...]) -> str | None:
    return None if operation.cursor is None else decode_cursor(scope, operation.cursor)
