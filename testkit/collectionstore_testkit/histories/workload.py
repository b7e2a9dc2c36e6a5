"""Seeded clients that use a cluster over HTTP, whatever happens to it, and write down what they did and saw.

Reads no clock and draws no chance of its own, so it runs in virtual time as well as against real processes. Few keys
are in use at a time, so that clients meet; after `operations_per_key` operations a key is retired, so that long
histories stay quick to check.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final

import aiohttp

from collectionstore_testkit.histories.http_store import COLLECTION, BrokenPromise, Reply, Request, send
from collectionstore_testkit.histories.operations import Guard, Operation, Step

_KINDS: Final = ("get", "put", "create", "swap", "delete", "move", "exchange")
_UPDATED: Final = ("put", "create", "swap")
_WEIGHTS: Final = (40, 25, 5, 15, 5, 5, 5)


@dataclass(frozen=True, slots=True)
class WorkloadSettings:
    """How much the clients do."""

    clients: int = 4
    keys: int = 3
    """Keys in use at a time."""
    operations_per_key: int = 150
    timeout_s: float = 2.0
    """Budget of one request."""
    pause_s: float = 0.0
    """Longest pause of a client between two operations, drawn each time."""
    failure_pause_s: float = 0.05
    """After a request that reached no node."""
    keyed: float = 0.5
    """Share of the writes that carry an idempotency key and are sent again while their fate is unknown."""
    attempts_max: int = 5
    """Of a request that may be sent again."""
    reads_again: bool = False
    """Whether a read that read nothing is sent again."""
    updates: float = 0.0
    """Share of the writes of documents that are updates; older versions know none."""


@dataclass(slots=True)
class Progress:
    """Counts of the clients' operations."""

    outcomes: Counter[str] = field(default_factory=Counter)
    """Finished operations by outcome: ok, failed, unknown."""
    retries: int = 0
    writes: int = 0
    """Acknowledged writes."""
    last_write_at: float | None = None
    longest_write_pause_s: float = 0.0
    """Longest time without any acknowledged write, while the clients ran."""


class Workload:
    """Clients of one cluster. Belongs to an event loop; `history` grows while it runs."""

    def __init__(
        self,
        *,
        urls: Callable[[], Sequence[str]],
        session: aiohttp.ClientSession,
        now: Callable[[], float],
        random: Random,
        settings: WorkloadSettings | None = None,
        name: str = "client",
    ) -> None:
        """`urls()` are the base URLs of all nodes as they are now; `now()` is monotonic, in seconds."""
        self.history: list[Operation] = []
        self.progress = Progress()
        self._urls = urls
        # Unasked, aiohttp sends PUT and DELETE again after a lost connection: a refusal of the second attempt would say
        # nothing about the first. It has no public way to turn that off; its own test client does this.
        session._retry_connection = False
        self._session = session
        self._now = now
        self._random = random
        self._settings = settings or WorkloadSettings()
        self._name = name
        self._stopping = False
        self._next_id = 0
        self._next_value = 0
        self._next_key = 0
        self._used: Counter[str] = Counter()
        self._keys = [self._new_key() for _ in range(self._settings.keys)]
        self._known: dict[str, int] = {}
        """Revisions that some client saw last, for compare-and-set."""
        self._values: dict[str, str] = {}
        """The values that some client saw last, for conditions."""

    async def prepare(self) -> None:
        """Make the collection; keeps trying until a node does it."""
        while True:
            for url in self._urls():
                try:
                    async with self._session.put(
                        f"{url}/api/v1/collections/{COLLECTION}", timeout=aiohttp.ClientTimeout(total=10)
                    ) as response:
                        await response.read()
                        if response.status in (200, 201):
                            return
                except (aiohttp.ClientError, TimeoutError, OSError):
                    pass  # not this node, or not now: the next one
            await asyncio.sleep(self._settings.failure_pause_s)

    async def run(self, *, until: float) -> None:
        """Run all clients until `now()` is `until`, and let them finish what they do then. Raises `BrokenPromise`."""
        self.progress.last_write_at = self._now()
        async with asyncio.TaskGroup() as group:
            for number in range(self._settings.clients):
                random = Random(self._random.random())
                group.create_task(self._client(f"{self._name}-{number}", random, until), name=f"{self._name}-{number}")
        self._note_pause()

    def stop(self) -> None:
        """Have `run` end as if its time were over."""
        self._stopping = True

    async def read_all(self, *, timeout_s: float = 10.0) -> None:
        """Read every key once more, from any node: what was acknowledged must be there. Keeps trying."""
        for key in sorted(self._used):
            request = Request((Step("get", key),))
            done = False
            while not done:
                # A read that failed has paused already.
                done = await self._perform("reader", self._random, request, timeout_s)

    async def _client(self, process: str, random: Random, until: float) -> None:
        while self._now() < until and not self._stopping:
            await self._perform(process, random, self._draw(random), self._settings.timeout_s)
            if self._settings.pause_s:
                await asyncio.sleep(random.random() * self._settings.pause_s)

    async def _perform(self, process: str, random: Random, request: Request, timeout_s: float) -> bool:
        """Do one operation and note it; return whether it is known to have been done."""
        self._next_id += 1
        number, invoked = self._next_id, self._now()
        key = f"{self._name}-{number}" if request.writes and random.random() < self._settings.keyed else None
        reply = Reply("failed", retryable=True)
        doubtful = False
        again = key is not None or (self._settings.reads_again and not request.writes)
        for attempt in range(self._settings.attempts_max if again else 1):
            self.progress.retries += attempt > 0
            reply = await send(self._session, random.choice(list(self._urls())), request, timeout_s=timeout_s, key=key)
            if reply.outcome == "ok":
                break
            doubtful = doubtful or reply.outcome == "unknown"
            await asyncio.sleep(self._settings.failure_pause_s)
            if not reply.retryable:
                break
        if reply.outcome == "failed" and doubtful:
            reply = Reply("unknown")  # not applied this time, but perhaps by an earlier attempt
        self._note(number, process, request, invoked, reply)
        return reply.outcome == "ok"

    def _note(self, number: int, process: str, request: Request, invoked: float, reply: Reply) -> None:
        now = self._now()
        self.progress.outcomes[reply.outcome] += 1
        if reply.outcome == "ok" and request.writes:
            self.progress.writes += 1
            self._note_pause()
            self.progress.last_write_at = now
        if reply.outcome != "ok" and not request.writes:
            return  # a read that read nothing says nothing
        operation = Operation(
            id=number,
            process=process,
            then=request.then,
            invoked=invoked,
            returned=None if reply.outcome == "unknown" else now,
            outcome=reply.outcome,
            guards=request.guards,
            otherwise=request.otherwise,
            answer=reply.answer,
        )
        self.history.append(operation)
        self._learn(operation)

    def _note_pause(self) -> None:
        last = self.progress.last_write_at
        if last is not None:
            self.progress.longest_write_pause_s = max(self.progress.longest_write_pause_s, self._now() - last)

    def _learn(self, operation: Operation) -> None:
        answer = operation.answer
        if operation.outcome != "ok" or answer is None:
            return
        for position, step in enumerate(operation.ran()):
            seen = answer.seen[position] if position < len(answer.seen) else None
            if step.action == "put" and answer.revision is not None:
                self._known[step.key] = answer.revision
            elif step.action == "delete":
                self._known[step.key] = 0
            elif seen is not None:
                self._known[step.key] = seen.revision or 0
                self._values[step.key] = seen.value or ""

    # What to do next

    def _draw(self, random: Random) -> Request:
        (kind,) = random.choices(_KINDS, _WEIGHTS)
        key = self._draw_key(random)
        if kind == "get":
            return Request((Step("get", key),))
        # Asked only if it matters: seeds of runs without updates draw what they always drew.
        updates = self._settings.updates
        if updates and kind in _UPDATED and key.startswith("documents/") and random.random() < updates:
            return self._draw_update(random, key)
        if kind == "put":
            return Request((self._put(key),))
        if kind == "create":
            return Request((self._put(key),), (Guard(key, "revision", 0),))
        if kind == "swap":
            return Request((self._put(key),), (Guard(key, "revision", self._known.get(key, 0)),))
        if kind == "delete":
            return Request((Step("delete", key),))
        other = self._draw_key(random)
        if other == key:
            return Request((Step("get", key),), transaction=True)
        if kind == "move":
            then = (Step("get", key), Step("delete", key), self._put(other))
            exists = Guard(key, "exists", operand=True)
            return Request(then, (exists,), (Step("get", key), Step("get", other)), transaction=True)
        guards = (Guard(key, "revision", self._known.get(key, 0)), Guard(other, "revision", self._known.get(other, 0)))
        looks = (Step("get", key), Step("get", other))
        return Request((self._put(key), self._put(other)), guards, looks, transaction=True)

    def _draw_update(self, random: Random, key: str) -> Request:
        put = self._put(key)
        match random.randrange(4):
            case 0:
                return Request((put,), update=True)
            case 1:
                return Request((Step("get", key), put), update=True)
            case 2:
                return Request((put,), (Guard(key, "revision", self._known.get(key, 0)),), update=True)
            case _:
                return Request((put,), (Guard(key, "value", self._values.get(key) or "never"),))

    def _put(self, key: str) -> Step:
        self._next_value += 1
        return Step("put", key, f"{self._name}-v{self._next_value}")

    def _draw_key(self, random: Random) -> str:
        position = random.randrange(len(self._keys))
        key = self._keys[position]
        self._used[key] += 1
        if self._used[key] >= self._settings.operations_per_key:
            self._keys[position] = self._new_key()
        return key

    def _new_key(self) -> str:
        self._next_key += 1
        # Documents and raw values in turn.
        return f"{'documents/' if self._next_key % 2 else 'kv/'}{self._name}-k{self._next_key}"


__all__ = ["BrokenPromise", "Progress", "Workload", "WorkloadSettings"]
