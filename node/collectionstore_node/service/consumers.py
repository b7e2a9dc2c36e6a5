"""`Consumers`: named places in the history, which clients move forward as they go."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from collectionstore_node.changes import Position
from collectionstore_node.errors import InvalidRequest
from collectionstore_node.service.door import Door, Propose
from collectionstore_node.service.operations import (
    AckConsumer,
    DeleteConsumer,
    PutConsumer,
    ReadConsistency,
    ReadConsumers,
)
from collectionstore_node.service.results import Outcome
from collectionstore_node.statemachine.consumers import CONSUMERS_MAX, REQUEST_BYTES_MAX, Consumer, scan_consumers
from collectionstore_node.statemachine.history import kept_after

ConsumerAction: TypeAlias = PutConsumer | AckConsumer | DeleteConsumer


class ConsumerFacts(NamedTuple):
    """A consumer, and where it is."""

    name: str
    record: Consumer
    gone: bool
    """Whether changes behind its place are not kept any more."""

    @property
    def position(self) -> Position:
        """Where it goes on."""
        return Position(self.record.revision, self.record.passed)


class ConsumersResult(NamedTuple):
    """Consumers in order of name, and the store's revision when they were read."""

    consumers: tuple[ConsumerFacts, ...]
    revision: int


class Consumers:
    """The consumers of a store: part of `Store`, whose errors they raise."""

    __slots__ = ("_door", "_propose")

    def __init__(self, door: Door, propose: Propose) -> None:
        self._door = door
        self._propose = propose

    async def change(self, action: ConsumerAction, *, key: str | None, timeout_s: float) -> Outcome:
        """Create, move or delete a consumer. Returns the outcome, whatever its code. Raises `OutcomeUnknown`."""
        return await self._propose(action, key, timeout_s)

    async def read(self, request: ReadConsumers, *, consistency: ReadConsistency, timeout_s: float) -> ConsumersResult:
        """Return all consumers, or the one that is asked for. Raises `InvalidRequest("consumer_not_found")`."""
        view = await self._door.view(request, consistency, timeout_s)
        kept = Position(kept_after(view))
        found = tuple(
            ConsumerFacts(name, record, gone=Position(record.revision, record.passed) < kept)
            for name, record in scan_consumers(view)
            if request.name is None or name == request.name
        )
        if request.name is not None and not found:
            raise InvalidRequest("consumer_not_found", f"there is no consumer {request.name!r}")
        return ConsumersResult(found, self._door.replica.revision)


__all__ = ["CONSUMERS_MAX", "REQUEST_BYTES_MAX", "ConsumerFacts", "Consumers", "ConsumersResult"]
