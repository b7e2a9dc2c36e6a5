"""How many loops have a round at the same time, and how long ago each made progress.

A loop that waits for its turn is slow because of the others, and not stuck: it counts as silent only for as long as no
turn at all is taken or ends. A round is measured from the start of its turn.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Final

from collectionstore_operator.reconcile.loop import Round

TURNS: Final = 10
"""Loops that have a round at the same time; the others wait, BEFORE they take or renew their Lease and observe. With
all at once a status request would spend its deadline of one second on waiting for the processor, so that members that
are well seemed not to respond, and a round would outlive its Lease before it acts.

Where the API server is slow the wait grows with the number of clusters, without a bound: with 200 clusters and rounds
of 20 s it is close to 400 s. So the liveness probe does not count it (`Rounds.silent_s`)."""


class Turns:
    """Shared by all loops of this process. Turns are taken in the order in which they were asked for."""

    def __init__(self, count: int = TURNS, *, clock: Callable[[], float] = time.monotonic) -> None:
        """`count` is how many loops have a turn at once."""
        self.clock = clock
        self._free = asyncio.Semaphore(count)
        self._moved = clock()

    async def take(self) -> None:
        """Wait for a turn."""
        await self._free.acquire()
        self._moved = self.clock()

    def end(self) -> None:
        """Give a turn back."""
        self._free.release()
        self._moved = self.clock()

    def still_s(self) -> float:
        """Return the seconds since a turn was last taken or ended, by any loop."""
        return self.clock() - self._moved


class Rounds(AbstractAsyncContextManager[None]):
    """The turns of one loop, and when it last made progress; entered for each round."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._last = turns.clock()
        self._waits = False

    async def __aenter__(self) -> None:
        self._waits = True
        try:
            await self._turns.take()
        finally:
            self._waits = False
            self._last = self._turns.clock()

    async def __aexit__(self, *_: object) -> None:
        self._turns.end()

    def started(self) -> None:
        """Restart the measurement, when a loop starts."""
        self._last = self._turns.clock()

    def finished(self, _outcome: Round) -> None:
        """Record the end of a round, whatever its outcome."""
        self._last = self._turns.clock()

    def silent_s(self) -> float:
        """Return the seconds since the running round got its turn, or since the last one finished.

        While the loop waits for a turn: since any loop took or ended one, if that is shorter.
        """
        silent_s = self._turns.clock() - self._last
        return min(silent_s, self._turns.still_s()) if self._waits else silent_s
