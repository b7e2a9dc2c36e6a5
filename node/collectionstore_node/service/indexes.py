"""`Indexes`: creating, reading and dropping the indexes of a collection."""

from __future__ import annotations

from collectionstore_node.errors import InvalidRequest
from collectionstore_node.indexes.definition import Definition
from collectionstore_node.service.door import Door, Propose
from collectionstore_node.service.operations import CreateIndex, DropIndex, ReadConsistency, ReadIndexes
from collectionstore_node.service.results import IndexesResult, IndexInfo, Outcome
from collectionstore_node.statemachine.catalog import find_collection
from collectionstore_node.statemachine.index_catalog import read_indexes, read_statistics


class Indexes:
    """The indexes of a store: part of `Store`, whose errors they raise."""

    __slots__ = ("_door", "_propose")

    def __init__(self, door: Door, propose: Propose) -> None:
        self._door = door
        self._propose = propose

    async def create(self, collection: str, definition: Definition, *, key: str | None, timeout_s: float) -> Outcome:
        """Create an index, which is built then. Returns the outcome, whatever its code. Raises `OutcomeUnknown`."""
        return await self._propose(CreateIndex(collection, definition), key, timeout_s)

    async def drop(self, collection: str, name: str, *, key: str | None, timeout_s: float) -> Outcome:
        """Drop an index, also one that is being built. Raises `OutcomeUnknown`."""
        return await self._propose(DropIndex(collection, name), key, timeout_s)

    async def read(self, request: ReadIndexes, *, consistency: ReadConsistency, timeout_s: float) -> IndexesResult:
        """Return the indexes of a collection, in order of creation. Raises `InvalidRequest("collection_not_found")`."""
        door = self._door
        view = await door.view(request, consistency, timeout_s)
        collection = find_collection(view, request.collection)
        if collection is None:
            raise InvalidRequest("collection_not_found", f"there is no collection {request.collection!r}")
        found = tuple(
            IndexInfo(one, read_statistics(view, collection.id, one.id)) for one in read_indexes(view, collection.id)
        )
        return IndexesResult(found, door.replica.revision)
