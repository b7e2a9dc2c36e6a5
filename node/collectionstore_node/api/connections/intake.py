"""`Intake`: how much of what clients send is taken in during one turn of the event loop, and what has waited too long.

A turn reads every socket that has something, and only then runs what is ready: the driver, the peers, the answers. With
two thousand clients that each send a request, to serve or to refuse them all takes a tenth of a second, and a commit,
which needs some ten turns, takes one: the node works at full speed and gets nothing done, and its heartbeats come late
(receive livelock, Mogul and Ramakrishnan 1997). So a turn takes in a bounded part; the rest waits here for the next
ones. As long as clients send less than the node can take, nothing is held.

When they send more, the queue is here, in front of everything that could refuse, and would grow to the number of
connections. It is bounded by time, as in CoDel (RFC 8289), which tells a queue that stands from a burst; in the form
for servers of Maurer, "Fail at Scale" (ACM Queue 13(8), 2015): a request may wait for `BURST_S`, and while the queue
has not been empty for that long, for `TARGET_S`. What has waited for longer is refused, oldest first, at a fraction of
the cost of serving it. Each address has a queue of its own, and they take turns (fair queueing, as in RFC 8290): a
client that floods the node makes its own requests wait, and not those of the others.

Waiting begins when the loop last came round to the sockets before it read the bytes, as they may have waited in the
kernel since then. It is counted in turns that had something to take in, each for `TURN_S_MAX` at most: a process that
was not scheduled for a second has no queue because of it.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from collectionstore_node.api.budgets.clients import Client
from collectionstore_node.api.budgets.overdue import Overdue

TURN_READS_MAX: Final = 128
"""Reads of sockets that a turn takes in: some five to ten milliseconds of small requests. A number and not a time, as
what a request costs beyond its parsing comes later in the turn, and the same input is then taken in alike."""
TURN_REFUSALS_MAX: Final = 256
"""Requests that a turn refuses because they waited too long: some six milliseconds."""
HELD_BYTES_MAX: Final = 256 << 10
"""Of one connection: one read of a socket. More of it in a turn is bulk, whose cost is that of reading it, which has
been paid already."""
PIPELINE_BYTES_MAX: Final = 64 << 10
"""Requests that arrive at once, ahead of their answers, and so of several reads that are joined: of more a connection
serves the first one alone."""
HELD_TOTAL_BYTES_MAX: Final = 8 << 20
"""Of all connections together. What does not fit is taken in at once."""
BURST_S: Final = 1.0
"""A request may wait for so long while the queue of its address was empty less than that ago."""
TARGET_S: Final = 0.25
"""And for so long while that queue stands. CoDel's usual 5 % of the interval would be 0.05 s, which a node that does
not get the processor reaches without an overload: then it would refuse what it can serve."""
TURN_S_MAX: Final = 0.05
MARKED_TURNS: Final = 2
"""Turns of the loop within which the general path begins a request whose bytes it was given."""


class Source(Protocol):
    """A connection."""

    client: Client | None

    def take_in(self, data: bytes) -> None:
        """Serve bytes that arrived."""


class _Queue:
    """What is held of the connections of one address, in order; with when it began to wait."""

    __slots__ = ("held", "stands_since")

    def __init__(self, now: float) -> None:
        self.held: dict[Source, tuple[bytes, float]] = {}
        self.stands_since = now


class Intake:
    """What is held of the connections of one port. Belongs to one event loop."""

    __slots__ = (
        "_beyond",
        "_bytes",
        "_clock",
        "_held",
        "_loop",
        "_marked",
        "_overdue",
        "_queues",
        "_reads",
        "_turn_began",
        "_turning",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, overdue: Overdue) -> None:
        self._loop = loop
        self._overdue = overdue
        self._queues: dict[Client | None, _Queue] = {}
        """By address, the next one to take from first; none of them is empty."""
        self._held = 0
        self._bytes = 0
        """Of all that is held."""
        self._turning = False
        """Whether turns are counted: the end of this one is awaited."""
        self._reads = 0
        """Reads taken in during this turn."""
        self._beyond = 0
        """Reads taken in since then because there was no room to hold them."""
        self._clock = 0.0
        """Seconds of turns, up to the beginning of the last one."""
        self._turn_began = 0.0
        self._marked: list[list[Source]] = []
        """Connections that were marked in each of the last turns, and did not refuse anything yet."""

    @property
    def held(self) -> int:
        """Number of connections whose bytes wait for a later turn."""
        return self._held

    def offer(self, source: Source, data: bytes) -> bytes:
        """Return what is to be taken in of `source` now: `data`, behind what was held before it, or nothing."""
        if not self._held:
            if not self._turning:
                self._begin()
            self._reads += 1
            if self._reads <= TURN_READS_MAX:
                return data
        queue = self._queues.get(source.client)
        waits = None if queue is None else queue.held.get(source)
        before, since = (b"", self._clock) if waits is None else waits
        most = PIPELINE_BYTES_MAX - len(before) if before else HELD_BYTES_MAX
        if len(data) > most or self._bytes + len(data) > HELD_TOTAL_BYTES_MAX:
            # In order, behind what was held of it; and fewer of those that wait are taken in next.
            self._beyond += 1
            if queue is not None and waits is not None:
                source.take_in(self._take(queue, source))
            return data
        if queue is None:
            queue = self._queues[source.client] = _Queue(since)
        if waits is None:
            self._held += 1
        queue.held[source] = before + data, since
        self._bytes += len(data)
        return b""

    def holds(self, source: Source) -> bool:
        """Return whether something is held of a connection."""
        queue = self._queues.get(source.client)
        return queue is not None and source in queue.held

    def take_back(self, source: Source) -> bytes:
        """Return what is held of a connection, and hold it no longer."""
        self._overdue.forget(source)
        queue = self._queues.get(source.client)
        if queue is None or source not in queue.held:
            return b""
        return self._take(queue, source)

    def _begin(self) -> None:
        """Have the next turn counted."""
        # Idle time is no turn: it is counted from here on.
        self._turn_began = self._loop.time()
        self._turning = True
        self._loop.call_soon(self._next_turn)

    def _next_turn(self) -> None:
        now = self._loop.time()
        self._clock += min(now - self._turn_began, TURN_S_MAX)
        self._turn_began = now
        if self._marked:
            self._forget_marks()
        beyond, self._beyond = self._beyond, 0
        if not self._held and not self._marked:
            self._reads = 0
            self._turning = False
            return
        # Two at least, whatever did not fit meanwhile: one to refuse and one to serve.
        self._reads = min(beyond, TURN_READS_MAX - 2)
        self._loop.call_soon(self._next_turn)
        self._refuse()
        queues = self._queues
        while queues and self._reads < TURN_READS_MAX:
            self._reads += 1
            client, queue = next(iter(queues.items()))
            source = next(iter(queue.held))
            data = self._take(queue, source)
            if queue.held:
                # Behind all others: one read of each address in turn.
                del queues[client]
                queues[client] = queue
            source.take_in(data)

    def _refuse(self) -> None:
        """Have what has waited for too long refused, without the reads that it may turn out to be."""
        overdue, clock = self._overdue, self._clock
        before, marked = overdue.refused, list[Source]()
        # A turn also serves: half of what it takes in may be what waited too long and is not refused at once.
        marked_max = (TURN_READS_MAX - self._reads) // 2
        for queue in tuple(self._queues.values()):
            longest = TARGET_S if clock - queue.stands_since >= BURST_S else BURST_S
            while queue.held:
                source, (_, since) = next(iter(queue.held.items()))
                if clock - since <= longest:
                    break
                if overdue.refused - before >= TURN_REFUSALS_MAX or len(marked) >= marked_max:
                    break
                refused = overdue.refused
                overdue.mark(source)
                source.take_in(self._take(queue, source))
                if overdue.refused > refused:
                    overdue.forget(source)
                else:
                    # A request of the general path, which begins later, or no complete one.
                    self._reads += 1
                    marked.append(source)
        self._marked.append(marked)

    def _forget_marks(self) -> None:
        if len(self._marked) >= MARKED_TURNS:
            for source in self._marked.pop(0):
                self._overdue.forget(source)
            if not any(self._marked):
                self._marked.clear()

    def _take(self, queue: _Queue, source: Source) -> bytes:
        data, _ = queue.held[source]
        self._bytes -= len(data)
        self._remove(queue, source)
        return data

    def _remove(self, queue: _Queue, source: Source) -> None:
        del queue.held[source]
        self._held -= 1
        if not queue.held:
            del self._queues[source.client]
