"""`Intake`: how much of what clients send is taken in during one turn of the event loop, and what has waited too long.

A turn reads every socket that has something, and only then runs what is ready: the driver, the peers, the answers. With
two thousand clients that each send a request, to serve or to refuse them all takes a tenth of a second, and a commit,
which needs some ten turns, takes one: the node works at full speed and gets nothing done, and its heartbeats come late
(receive livelock, Mogul and Ramakrishnan 1997). So a turn takes in a bounded part; the rest waits here for the next
ones. As long as clients send less than the node can take, nothing is held.

When they send more, the queue is here, in front of everything that could refuse, and would grow to the number of
connections. It is bounded by time, as in CoDel (RFC 8289), which tells a queue that stands from a burst; in the form
for servers of Maurer, "Fail at Scale" (ACM Queue 13(8), 2015): a request may wait for `BURST_S`, and while the queue of
all addresses has not been empty for that long, for `TARGET_S`. What has waited for longer is refused, oldest first, at
a fraction of the cost of serving it. That bound is one for all: a thousand addresses with a request each are a queue,
too. And while requests are refused, the newest of an address are served first (Maurer's adaptive LIFO): to serve the
oldest would make every request wait for the whole target, those that are served as those that are refused.

Each address has a queue of its own, and they take turns (fair queueing, as in RFC 8290): a client that floods the node
makes its own requests wait, and not those of the others. What is taken in beyond the bounds, because there is no room
to hold it, is charged to the turn, and never more than half of it.

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
"""Requests that a turn refuses, at once or because they waited too long, without counting them as taken in: some four
milliseconds."""
REFUSALS_PER_SERVED: Final = 2
"""While something waits, a turn refuses so many for each request that the last one served: a refusal costs a fifth of a
write or so, so refusing takes no more than three tenths of the loop, whatever is sent. At twice what the node can take,
to serve 80 % of it asks for one and a half."""
REFUSALS_MIN: Final = 8
"""And so many in any case; where nothing can be served, turns are short."""
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
LATE_S: Final = TARGET_S / 2
"""While the queue stands, the newest requests of an address are served first once its oldest has waited so long."""
TURN_S_MAX: Final = 0.05
MARKED_TURNS: Final = 2
"""Turns of the loop within which the general path begins a request whose bytes it was given."""


class Source(Protocol):
    """A connection."""

    client: Client | None

    @property
    def refusable(self) -> bool:
        """Whether its bytes are requests, which may be refused; those of a stream are not."""

    def take_in(self, data: bytes) -> None:
        """Serve bytes that arrived."""


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
        "_refusals",
        "_refusals_max",
        "_refused_before",
        "_stands_since",
        "_turn_began",
        "_turning",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, overdue: Overdue) -> None:
        self._loop = loop
        self._overdue = overdue
        self._held: dict[Source, tuple[bytes, float]] = {}
        """What waits of each connection, and since when; the one that waits longest first."""
        self._queues: dict[Client | None, dict[Source, None]] = {}
        """The same by address, the next one to take from first; none of them is empty."""
        self._bytes = 0
        """Of all that is held."""
        self._turning = False
        """Whether turns are counted: the end of this one is awaited."""
        self._reads = 0
        """Reads taken in during this turn."""
        self._beyond = 0
        """Reads taken in since then because there was no room to hold them."""
        self._refusals = 0
        """Requests that were refused during this turn, and are not among its reads."""
        self._refusals_max = TURN_REFUSALS_MAX
        """How many it may refuse, besides REFUSALS_MIN of those that it takes in."""
        self._refused_before = overdue.refused
        self._stands_since = 0.0
        """When something was held last after nothing had been, by `_clock`."""
        self._clock = 0.0
        """Seconds of turns, up to the beginning of the last one."""
        self._turn_began = 0.0
        self._marked: list[list[Source]] = []
        """Connections that were marked in each of the last turns, and did not refuse anything yet."""

    @property
    def held(self) -> int:
        """Number of connections whose bytes wait for a later turn."""
        return len(self._held)

    def offer(self, source: Source, data: bytes) -> bytes:
        """Return what is to be taken in of `source` now: `data`, behind what was held before it, or nothing."""
        if not self._held:
            if not self._turning:
                self._begin()
            if self._overdue.refused != self._refused_before:
                self._discount()
            if self._reads < TURN_READS_MAX and self._refusals < self._refusals_max:
                self._reads += 1
                return data
            self._stands_since = self._clock
        waits = self._held.get(source)
        before, since = (b"", self._clock) if waits is None else waits
        most = PIPELINE_BYTES_MAX - len(before) if before else HELD_BYTES_MAX
        if len(data) > most or self._bytes + len(data) > HELD_TOTAL_BYTES_MAX:
            # In order, behind what was held of it; and fewer of those that wait are taken in next.
            self._beyond += 1
            if waits is not None:
                source.take_in(self._take(source))
            return data
        self._held[source] = before + data, since
        if waits is None:
            self._queues.setdefault(source.client, {})[source] = None
        self._bytes += len(data)
        return b""

    def holds(self, source: Source) -> bool:
        """Return whether something is held of a connection."""
        return source in self._held

    def take_back(self, source: Source) -> bytes:
        """Return what is held of a connection, and hold it no longer."""
        self._overdue.forget(source)
        return self._take(source) if source in self._held else b""

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
        if self._overdue.refused != self._refused_before:
            self._discount()
        served, self._refusals = self._reads, 0
        if not self._held and not self._marked:
            self._reads = 0
            self._refusals_max = TURN_REFUSALS_MAX
            self._turning = False
            return
        self._refusals_max = min(TURN_REFUSALS_MAX, REFUSALS_MIN + REFUSALS_PER_SERVED * served)
        # Half of it remains, whatever did not fit meanwhile: who sends bulk costs the others no more than that.
        self._reads = min(beyond, TURN_READS_MAX // 2)
        self._loop.call_soon(self._next_turn)
        self._refuse()
        queues, standing = self._queues, self._standing
        while queues and self._reads < TURN_READS_MAX and self._refusals < self._refusals_max + REFUSALS_MIN:
            self._reads += 1
            client, queue = next(iter(queues.items()))
            source = next(iter(queue))
            if standing and self._clock - self._held[source][1] > LATE_S:
                source = next(reversed(queue))
            data = self._take(source)
            if queue:
                # Behind all others: one read of each address in turn.
                del queues[client]
                queues[client] = queue
            source.take_in(data)
            if self._overdue.refused != self._refused_before:
                self._discount()

    @property
    def _standing(self) -> bool:
        """Whether something has been held for so long that it is no burst."""
        return self._clock - self._stands_since >= BURST_S

    def _discount(self) -> None:
        """Count what was refused at once as refused and not as taken in."""
        refused = self._overdue.refused
        fresh = min(refused - self._refused_before, self._reads)
        self._refused_before = refused
        self._refusals += fresh
        self._reads -= fresh

    def _refuse(self) -> None:
        """Have what has waited for too long refused, without the reads that it may turn out to be."""
        overdue, clock = self._overdue, self._clock
        marked = list[Source]()
        # BEFORE any is marked: what is marked is forgotten in a later turn, also if taking in a connection fails.
        self._marked.append(marked)
        # A turn also serves: half of what it takes in may be what waited too long and is not refused at once.
        marked_max = (TURN_READS_MAX - self._reads) // 2
        longest = TARGET_S if self._standing else BURST_S
        while self._held:
            source, (_, since) = next(iter(self._held.items()))
            if clock - since <= longest:
                break
            if self._refusals >= self._refusals_max or len(marked) >= marked_max:
                break
            refused = overdue.refused
            if source.refusable:
                overdue.mark(source)
            marked.append(source)
            source.take_in(self._take(source))
            if overdue.refused > refused:
                overdue.forget(source)
                marked.pop()
                self._refusals += overdue.refused - refused
                self._refused_before = overdue.refused
            else:
                # A request of the general path, which begins later, or no complete one.
                self._reads += 1

    def _forget_marks(self) -> None:
        if len(self._marked) >= MARKED_TURNS:
            for source in self._marked.pop(0):
                self._overdue.forget(source)
            if not any(self._marked):
                self._marked.clear()

    def _take(self, source: Source) -> bytes:
        """Return what is held of a connection that something is held of, and hold it no longer."""
        data, _ = self._held.pop(source)
        self._bytes -= len(data)
        queue = self._queues[source.client]
        del queue[source]
        if not queue:
            del self._queues[source.client]
        return data
