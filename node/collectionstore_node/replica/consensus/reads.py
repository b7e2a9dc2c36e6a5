"""Linearizable reads: one ReadIndex round serves all reads that arrived before it started (thesis 6.4).

Invariant: a read joins only a round that starts AFTER it arrived; a round already in progress may confirm an index from
before the read began.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from time import perf_counter
from typing import Final

from collectionstore_node.errors import NotLeader, NotNow, ReadTimedOut
from collectionstore_node.metrics import ReadSeries
from collectionstore_node.raft.messages import NO_NODE, Index, NodeId
from collectionstore_node.raft.ready import ReadState
from collectionstore_node.replica.observation.command import Waiter

NO_INDEX: Final = Index(0)


@dataclass(slots=True)
class Round:
    """The reads of one ReadIndex request; `index` is 0 until the round is confirmed."""

    waiting: list[tuple[float, Waiter[None]]] = field(default_factory=list)
    index: Index = NO_INDEX


class Reads:
    """Rounds of reads; at most one is in progress. Belongs to the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, series: ReadSeries) -> None:
        self._loop = loop
        self._series = series
        self._next = Round()
        self._asked_at = 0.0
        self._asked: tuple[int, Round] | None = None
        self._confirmed: list[Round] = []
        self._sequence = 0
        self._closed = False

    @property
    def waiting(self) -> bool:
        """Whether to start a round: reads wait, and none is in progress."""
        return bool(self._next.waiting) and self._asked is None

    @property
    def pending(self) -> int:
        """Number of reads that wait, for a round or for its index to be applied."""
        return sum(len(one.waiting) for one in self._rounds())

    def join(self, deadline: float) -> asyncio.Future[None]:
        """Return a future that resolves when local state is linearizable for this read. Raises as `enqueue`."""
        future: asyncio.Future[None] = self._loop.create_future()
        self.enqueue(deadline, future)
        return future

    def enqueue(self, deadline: float, waiter: Waiter[None]) -> None:
        """Tell `waiter` when local state is linearizable for a read, or why it will not be.

        Raises `NotNow` when the node is stopping; `waiter` is told nothing then.
        """
        self._series.asked.inc()
        if self._closed:
            self._series.failed["stopping"].inc()
            raise NotNow("the node is stopping")
        self._next.waiting.append((deadline, waiter))

    def start(self) -> int:
        """Start the next round and return its request ID, unique in this process."""
        self._sequence += 1
        self._asked_at = perf_counter()
        self._asked = (self._sequence, self._next)
        self._next = Round()
        return self._sequence

    def confirmed(self, states: Iterable[ReadState]) -> None:
        """Record the index of a confirmed round."""
        for state in states:
            if self._asked is not None and self._asked[0] == state.request_id:
                self._asked[1].index = state.index
                self._series.seconds.observe(perf_counter() - self._asked_at)
                self._confirmed.append(self._asked[1])
                self._asked = None

    def failed(self, request_ids: Iterable[int], leader: NodeId) -> None:
        """Fail the reads of abandoned rounds; nothing was read."""
        for request_id in request_ids:
            if self._asked is not None and self._asked[0] == request_id:
                self._fail(self._asked[1], "not_leader", lambda: NotLeader(leader))
                self._asked = None

    def abandon(self) -> None:
        """Fail the round in progress: this node has just stepped down."""
        if self._asked is not None:
            self.failed((self._asked[0],), NO_NODE)

    def applied(self, index: Index) -> None:
        """Resolve every confirmed round whose index is applied."""
        if not self._confirmed:
            return
        for done in [one for one in self._confirmed if one.index <= index]:
            for _, future in done.waiting:
                if not future.done():
                    future.set_result(None)
        self._confirmed = [one for one in self._confirmed if one.index > index]

    def expire(self, now: float) -> None:
        """Fail reads past their deadline; their rounds continue for the others."""
        for one in self._rounds():
            for deadline, future in one.waiting:
                if deadline <= now and not future.done():
                    future.set_exception(ReadTimedOut("the read was not confirmed within its deadline"))
                    self._series.failed["timeout"].inc()
            one.waiting = [waiting for waiting in one.waiting if not waiting[1].done()]

    def close(self) -> None:
        """Fail all pending reads, and from now on every read."""
        self._closed = True
        for one in self._rounds():
            self._fail(one, "stopping", lambda: NotNow("the node is stopping"))

    def _rounds(self) -> list[Round]:
        asked = [] if self._asked is None else [self._asked[1]]
        return [self._next, *self._confirmed, *asked]

    def _fail(self, one: Round, reason: str, error: Callable[[], NotNow]) -> None:
        for _, future in one.waiting:
            if not future.done():
                future.set_exception(error())
                self._series.failed[reason].inc()
