"""`Locks`: one holder at a time, for as long as its ttl or lease lasts, with a fencing token.

A lock is a value of a bucket of its own (`admissible.LOCKS`), which is written only where there is none: the revision
of that write is the token, and rises with every acquisition. Renewing it does not write it. So a transaction can ask
for the revision of a lock as for that of any value, and the write of a holder that has lost it is refused.

Requests that wait for a lock do so on the member that they were sent to, in the order of their arrival; the first of
them looks at the state that the member has applied until the lock is free, and then proposes. Members do not agree on
an order among them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Final

import msgspec
import orjson

from collectionstore_node.access.verbs import Kind, Verb
from collectionstore_node.errors import InvariantViolated, NotNow, Overloaded
from collectionstore_node.service.door import Door, Propose
from collectionstore_node.service.lives import Life
from collectionstore_node.service.operations import (
    LOCKS,
    Action,
    Delete,
    KeyRef,
    Precondition,
    Put,
    ReadConsistency,
)
from collectionstore_node.service.results import Code, LockInfo, LockResult, Outcome, ReadResult, Stored
from collectionstore_node.service.updates import derived_key
from collectionstore_node.statemachine.reads import get_key

WAITING_MAX: Final = 128
"""Requests that wait for locks on a member."""
LOOK_S: Final = 0.05
"""How often the first of those that wait for a lock looks whether it is free."""
ATTEMPTS_MAX: Final = 128
"""How often a request tries, and how many attempts of earlier ones with its idempotency key are repeated."""

_ABSENT: Final = Precondition(exists=False)


class Owner(msgspec.Struct, frozen=True):
    """The value of a lock."""

    owner: str


_owner_decoder: Final = msgspec.json.Decoder(Owner)


class Locks:
    """The locks of a store: part of `Store`, whose errors they raise."""

    __slots__ = ("_door", "_propose", "_queues", "_sleep", "_waiting")

    def __init__(self, door: Door, propose: Propose, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """`sleep` is waited for between two looks at a lock that another one holds."""
        self._door = door
        self._propose = propose
        self._sleep = sleep
        self._queues: dict[str, deque[asyncio.Future[bool]]] = {}
        """By lock: those that wait behind the one whose turn it is."""
        self._waiting = 0

    @property
    def waiting(self) -> int:
        """How many requests wait for a lock."""
        return self._waiting

    async def acquire(
        self,
        name: str,
        owner: str,
        life: Life,
        *,
        wait_s: float,
        key: str | None,
        timeout_s: float,
        gone: Callable[[], bool] = lambda: False,
    ) -> Outcome:
        """Acquire a lock, and wait up to `wait_s` while another one holds it.

        The token is the revision of the outcome; PRECONDITION_FAILED if it was held all the time. A repeated request
        with the same key is answered as the first one was. `gone` says whether the client has left: then it is not
        acquired any more. Raises `Overloaded` if too many wait, `NotNow` for a client that has left, and
        `OutcomeUnknown`.
        """
        now = perf_counter()
        deadline, give_up = now + timeout_s, now + min(wait_s, timeout_s)
        command = life.of(Put(KeyRef(LOCKS, name), orjson.dumps({"owner": owner}), _ABSENT, "application/json"))
        # BEFORE it waits: each attempt is admitted again.
        self._door.admit(command)
        tried = _Attempts(key)
        if not wait_s:
            return await self._try(command, tried, deadline)
        async with self._turn(name, give_up) as come:
            while True:
                if gone():
                    # It would be held for its whole ttl, by a client that does not know it.
                    raise NotNow("the client has left while it waited for the lock")
                last = not come or perf_counter() >= give_up
                # A repeated request asks first: it may hold the lock already.
                if last or self._is_free(name) or (key is not None and not tried.count):
                    outcome = await self._try(command, tried, deadline)
                    if last or outcome.code is not Code.PRECONDITION_FAILED or not tried.left:
                        return outcome
                await self._sleep(LOOK_S)

    async def _try(self, command: Action, tried: _Attempts, deadline: float) -> Outcome:
        """Make the next attempt; those of an earlier request with this key are passed over if they failed."""
        while True:
            outcome = await self._propose(command, tried.next_key(), max(0.001, deadline - perf_counter()))
            if not (outcome.replayed and outcome.code is Code.PRECONDITION_FAILED and tried.left):
                return outcome

    def release(self, name: str, token: int | None, *, key: str | None, timeout_s: float) -> Awaitable[Outcome]:
        """Release a lock that was acquired with `token`; None for that of any holder. Raises `OutcomeUnknown`."""
        return self._propose(Delete(KeyRef(LOCKS, name), _held(token)), key, timeout_s)

    def renew(self, name: str, token: int, life: Life, *, key: str | None, timeout_s: float) -> Awaitable[Outcome]:
        """Give a lock that was acquired with `token` so long to live from now on. Raises `OutcomeUnknown`."""
        return self._propose(life.touch(KeyRef(LOCKS, name), _held(token)), key, timeout_s)

    async def read(self, name: str, *, consistency: ReadConsistency, timeout_s: float) -> LockResult:
        """Return who holds a lock, None if it is free."""
        ref = KeyRef(LOCKS, name)
        await self._door.view(ref, consistency, timeout_s)
        found = self._door.read_now(ref)
        if not isinstance(found, ReadResult):
            raise InvariantViolated("a raw value has no view")
        return LockResult(None if found.stored is None else lock_of(name, found.stored), found.revision)

    def known(self, name: str) -> LockInfo | None:
        """Return who holds a lock as far as this member has applied it, for the answer to a request that did not."""
        rights = self._door.limited()
        if rights is not None and not rights.allows(Verb.READ, Kind.CLUSTER, ""):
            return None
        stored = get_key(self._door.replica.view, LOCKS, name)
        return None if stored is None else lock_of(name, stored)

    def _is_free(self, name: str) -> bool:
        return get_key(self._door.replica.view, LOCKS, name) is None

    @asynccontextmanager
    async def _turn(self, name: str, give_up: float) -> AsyncGenerator[bool]:
        """Wait for the turn of a request; yields whether it has come before `give_up`. Raises `Overloaded`."""
        if self._waiting >= WAITING_MAX:
            raise Overloaded(f"{WAITING_MAX} requests wait for locks on this member already")
        self._waiting += 1
        try:
            if not await self._come(name, give_up):
                yield False
                return
            try:
                yield True
            finally:
                self._pass_on(name)
        finally:
            self._waiting -= 1

    async def _come(self, name: str, give_up: float) -> bool:
        """Return whether it is the turn of a request before `give_up`; if so, call `_pass_on` behind it."""
        behind = self._queues.get(name)
        if behind is None:
            self._queues[name] = deque()
            return True
        loop = asyncio.get_running_loop()
        place: asyncio.Future[bool] = loop.create_future()
        behind.append(place)
        # Not `asyncio.wait_for`: it may swallow that a request is cancelled, and acquire for a client that has left.
        timer = loop.call_later(max(0.0, give_up - perf_counter()), _expire, place)
        try:
            return await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled() and place.result():
                self._pass_on(name)  # it was given at the same moment
            raise
        finally:
            timer.cancel()
            if place in behind:
                behind.remove(place)

    def _pass_on(self, name: str) -> None:
        behind = self._queues[name]
        while behind:
            place = behind.popleft()
            if not place.done():
                place.set_result(True)
                return
        del self._queues[name]


def _expire(place: asyncio.Future[bool]) -> None:
    if not place.done():
        place.set_result(False)


class _Attempts:
    """The idempotency keys of the attempts of one request, in an order that does not depend on what it finds."""

    __slots__ = ("_key", "count")

    def __init__(self, key: str | None) -> None:
        self._key = key
        self.count = 0

    @property
    def left(self) -> bool:
        """Whether there may be another attempt."""
        return self.count < ATTEMPTS_MAX

    def next_key(self) -> str | None:
        """Return the key of the next attempt."""
        self.count += 1
        if self._key is None or self.count == 1:
            return self._key
        return derived_key(self._key, self.count)


def lock_of(name: str, stored: Stored) -> LockInfo:
    """Return a lock as it is stored."""
    owner = _owner_decoder.decode(stored.value).owner
    return LockInfo(name, owner, stored.revision, stored.left_ms, stored.expiry.lease)


def _held(token: int | None) -> Precondition:
    return Precondition(exists=True) if token is None else Precondition(revisions=(token,))
