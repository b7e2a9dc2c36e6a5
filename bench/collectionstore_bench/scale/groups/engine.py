"""Events in the order of their times; those of the same time in the order in which they were added."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count


class Engine:
    """A discrete-event simulation; `now` is in seconds."""

    __slots__ = ("_events", "_numbers", "now")

    def __init__(self) -> None:
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Run `action` in so many seconds."""
        heapq.heappush(self._events, (self.now + seconds, next(self._numbers), action))

    def run(self, until: float) -> None:
        """Run what is due before `until`, which is the time then."""
        events = self._events
        while events and events[0][0] < until:
            self.now, _, action = heapq.heappop(events)
            action()
        self.now = until
