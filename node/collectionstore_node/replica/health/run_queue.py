"""How long the thread of the event loop waited for a processor: what tells a loop that was held from a busy machine.

Linux counts for every thread how long it was ready to run and another one had the processor (proc(5),
`/proc/PID/task/TID/schedstat`, second number, nanoseconds). A thread that computes, or sleeps in a lock or on a disk,
does not wait in this sense: what is left of a delay is the process's own.
"""

from __future__ import annotations

import os
from typing import Final

SCHEDSTAT: Final = "/proc/thread-self/schedstat"


class RunQueue:
    """The waiting time of the thread that makes the first call, which must make all."""

    __slots__ = ("_file",)

    def __init__(self) -> None:
        self._file = -1

    def __del__(self) -> None:
        if self._file >= 0:
            os.close(self._file)

    def waited_s(self) -> float:
        """Return how long it waited since it began, in seconds; always 0 where the kernel does not tell."""
        try:
            if self._file < 0:
                self._file = os.open(SCHEDSTAT, os.O_RDONLY | os.O_CLOEXEC)
            return int(os.pread(self._file, 64, 0).split()[1]) / 1e9
        except (OSError, IndexError, ValueError):
            # Built without it, or another system: then every delay counts as the loop's own.
            return 0.0


class Holds:
    """Splits the delay of a tick. Pure: takes times, in seconds, from one monotonic clock.

    The wait counts from the last sample that was taken before the tick was due. Samples are as frequent as there is
    work, so that what the thread waited while it was not late is hardly counted; where there is none, it sleeps.
    """

    __slots__ = ("_sampled_at", "_tick_s", "_ticked", "_waited")

    SAMPLE_S: Final = 0.005
    """Least time between two samples: one costs 3 us."""

    def __init__(self, tick_s: float) -> None:
        self._tick_s = tick_s
        self._ticked = self._sampled_at = float("-inf")
        self._waited = 0.0

    def due(self, now: float) -> bool:
        """Return whether a sample should be taken now."""
        return self._sampled_at + self.SAMPLE_S <= now <= self._ticked + self._tick_s

    def sample(self, now: float, waited_s: float) -> None:
        """Take a sample that is due."""
        self._sampled_at, self._waited = now, waited_s

    def tick(self, now: float, lag_s: float, waited_s: float) -> float:
        """Return how much of a tick's delay the thread did not wait for a processor, 0 to `lag_s`."""
        held = max(0.0, lag_s - max(0.0, waited_s - self._waited))
        self._ticked = self._sampled_at = now
        self._waited = waited_s
        return held
