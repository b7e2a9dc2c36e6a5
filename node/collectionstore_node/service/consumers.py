"""`Consumers`: named places in the history, which clients move forward as they go."""

from __future__ import annotations

import asyncio
from typing import Final, NamedTuple, TypeAlias

import orjson
from msgspec.structs import replace

from collectionstore_node.access.rights import Rights
from collectionstore_node.access.verbs import Kind, Verb
from collectionstore_node.changes import Position
from collectionstore_node.errors import InvalidRequest
from collectionstore_node.service.door import Door, Propose
from collectionstore_node.service.operations import (
    AckConsumer,
    Consistency,
    DeleteConsumer,
    PutConsumer,
    ReadConsistency,
    ReadConsumers,
)
from collectionstore_node.service.results import Outcome
from collectionstore_node.statemachine.consumers import (
    CONSUMERS_MAX,
    REQUEST_BYTES_MAX,
    Consumer,
    find_consumer,
    scan_consumers,
)
from collectionstore_node.statemachine.history import kept_after

ConsumerAction: TypeAlias = PutConsumer | AckConsumer | DeleteConsumer

OWNER: Final = "_owner"
"""In what a consumer asks for: the user whose it is. No request has such a member."""


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
        """Create, move or delete a consumer. Returns the outcome, whatever its code. Raises `OutcomeUnknown`.

        One that a user has created is that user's: to all others it is none. It is marked in what it asks for, and so
        where access control is not used nothing is stored of it.
        """
        door = self._door
        door.admit(action)
        if not door.access.enabled:
            return await self._propose(action, key, timeout_s)
        if isinstance(action, PutConsumer):
            action = replace(action, request=_owned(action.request, door.user))
        elif not self._is_own(find_consumer(door.replica.view, action.name)):
            # This member may be behind: what it knows of the owner does not change while the consumer exists.
            clock = asyncio.get_running_loop().time
            began = clock()
            await door.confirm(Consistency.LINEARIZABLE, timeout_s)
            timeout_s = max(0.001, timeout_s - (clock() - began))
            found = find_consumer(door.replica.view, action.name)
            if found is not None and not self._is_own(found):
                raise InvalidRequest("consumer_not_found", f"there is no consumer {action.name!r}")
        return await self._propose(action, key, timeout_s)

    def _is_own(self, record: Consumer | None) -> bool:
        """Whether a consumer is the caller's; those who administer see all."""
        if record is None:
            return False
        rights = self._door.limited()
        return rights is None or owner_of(record.request) == self._door.user or _administers(rights)

    async def read(self, request: ReadConsumers, *, consistency: ReadConsistency, timeout_s: float) -> ConsumersResult:
        """Return all consumers, or the one that is asked for. Raises `InvalidRequest("consumer_not_found")`."""
        view = await self._door.view(request, consistency, timeout_s)
        kept = Position(kept_after(view))
        every = self._door.limited() is None
        found = tuple(
            ConsumerFacts(name, _shown(record), gone=Position(record.revision, record.passed) < kept)
            for name, record in scan_consumers(view)
            if (request.name is None or name == request.name) and (every or self._is_own(record))
        )
        if request.name is not None and not found:
            raise InvalidRequest("consumer_not_found", f"there is no consumer {request.name!r}")
        return ConsumersResult(found, self._door.replica.revision)


def owner_of(request: bytes) -> str:
    """Return the user who has created a consumer that asks for this; empty for one that is everyone's."""
    found = orjson.loads(request).get(OWNER, "")
    return found if type(found) is str else ""


def _owned(request: bytes, user: str) -> bytes:
    return orjson.dumps({**orjson.loads(request), OWNER: user}, option=orjson.OPT_SORT_KEYS) if user else request


def _shown(record: Consumer) -> Consumer:
    asked = orjson.loads(record.request)
    return record if asked.pop(OWNER, None) is None else replace(record, request=orjson.dumps(asked))


def _administers(rights: Rights) -> bool:
    return rights.allows(Verb.ADMIN, Kind.CLUSTER, "")


__all__ = ["CONSUMERS_MAX", "REQUEST_BYTES_MAX", "ConsumerFacts", "Consumers", "ConsumersResult"]
