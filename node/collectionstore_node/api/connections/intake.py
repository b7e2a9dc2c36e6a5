"""`Intake`: how much of what clients send is taken in during one turn of the event loop.

A turn reads every socket that has something, and only then runs what is ready: the driver, the peers, the answers. With
two thousand clients that each send a request, to serve or to refuse them all takes a tenth of a second, and a commit,
which needs some ten turns, takes one: the node works at full speed and gets nothing done, and its heartbeats come late
(receive livelock, Mogul and Ramakrishnan 1997). So a turn takes in a bounded part; the rest waits here for the next
ones, in order. Nothing is lost by that: as long as clients send less than the node can take, nothing is held.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

TURN_READS_MAX: Final = 128
"""Reads of sockets that a turn takes in: some five to ten milliseconds of small requests. A number and not a time, as
what a request costs beyond its parsing comes later in the turn, and the same input is then taken in alike."""
HELD_BYTES_MAX: Final = 256 << 10
"""Of one connection: one read of a socket. More of it in a turn is bulk, whose cost is that of reading it, which has
been paid already."""
HELD_TOTAL_BYTES_MAX: Final = 8 << 20
"""Of all connections together. What does not fit is taken in at once."""


class Source(Protocol):
    """A connection."""

    def take_in(self, data: bytes) -> None:
        """Serve bytes that arrived."""


class Intake:
    """What is held of the connections of one port. Belongs to one event loop."""

    __slots__ = ("_beyond", "_bytes", "_held", "_loop", "_reads")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._held: dict[Source, bytes] = {}
        self._bytes = 0
        """Of all that is held."""
        self._reads = 0
        """Reads taken in during this turn; 0 when it has not begun."""
        self._beyond = 0
        """Reads taken in since then because there was no room to hold them."""

    @property
    def held(self) -> int:
        """Number of connections whose bytes wait for a later turn."""
        return len(self._held)

    def offer(self, source: Source, data: bytes) -> bytes:
        """Return what is to be taken in of `source` now: `data` with what was held before it, or nothing."""
        held = self._held
        if not held:
            if not self._reads:
                self._loop.call_soon(self._next_turn)
            self._reads += 1
            if self._reads <= TURN_READS_MAX:
                return data
        before = held.get(source, b"")
        if len(before) + len(data) > HELD_BYTES_MAX or self._bytes + len(data) > HELD_TOTAL_BYTES_MAX:
            # In order, behind what was held of it; and fewer of those that wait are taken in next.
            self._beyond += 1
            return self.take_back(source) + data
        self._bytes += len(data)
        held[source] = before + data
        return b""

    def holds(self, source: Source) -> bool:
        """Return whether something is held of a connection."""
        return source in self._held

    def take_back(self, source: Source) -> bytes:
        """Return what is held of a connection, and hold it no longer."""
        data = self._held.pop(source, b"")
        self._bytes -= len(data)
        return data

    def _next_turn(self) -> None:
        held = self._held
        # One at least, whatever did not fit meanwhile.
        self._reads = min(self._beyond, TURN_READS_MAX - 1)
        self._beyond = 0
        if not held:
            self._reads = 0
            return
        self._loop.call_soon(self._next_turn)
        while held and self._reads < TURN_READS_MAX:
            self._reads += 1
            source = next(iter(held))
            source.take_in(self.take_back(source))
