"""Leaves the processors of a machine to the members on it: their clients wait for them, and this program has time.

A low priority is not enough. Linux compares the priorities of processes of one session only, where sessions share
processors evenly (autogroups, sched(7)), and members have sessions of their own. And a process that never pauses
keeps its processor until the next tick of the scheduler, up to 4 ms, also if a member became ready meanwhile; a write
waits that long at each of the members that it passes.

So the program works in small pieces and offers its processor behind each. When it was itself kept waiting for one,
others wait as well, and it rests. On an idle machine nothing of this costs it anything.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from collectionstore_node.backup.parts import PIECE_BYTES

WAITED: Final = 4
"""So many times as long as a thread had to wait for a processor it rests behind a piece."""
BUSY_RATE: Final = 8 << 20
"""Bytes per second that each thread handles however busy the machine is: a backup must end."""
_OFFER: Final[Callable[[], object]] = getattr(os, "sched_yield", lambda: None)
"""Not every system has it."""
_WAITING: Final = Path("/proc/thread-self/schedstat")
"""Of the thread that reads it: nanoseconds on a processor, nanoseconds that it was ready and had none, and turns."""


def waited_s() -> float:
    """Return how long this thread has been ready to run and had no processor; 0 where the kernel does not tell."""
    try:
        return int(_WAITING.read_bytes().split()[1]) / 1e9
    except (FileNotFoundError, PermissionError):  # not Linux, or a kernel that does not count
        return 0.0


class _Thread(threading.local):
    """What one thread has done."""

    since: float | None = None
    """What it had waited in all when it last rested; None before its first piece."""
    bytes: int = 0
    """That it handled since then."""


class Yielding:
    """Offers the processor between pieces of work. Thread-safe: each thread rests for itself."""

    def __init__(
        self,
        waited: Callable[[], float] = waited_s,
        sleep: Callable[[float], object] = time.sleep,
        offer: Callable[[], object] = _OFFER,
    ) -> None:
        self._waited = waited
        self._sleep = sleep
        self._offer = offer
        self._thread = _Thread()

    def after(self, size: int) -> None:
        """Offer the processor behind every `PIECE_BYTES` that a thread handles; rest if it had to wait for it."""
        mine = self._thread
        mine.bytes += size
        if mine.bytes < PIECE_BYTES:
            return
        self._offer()
        waited = self._waited()
        if mine.since is not None and waited > mine.since:
            self._sleep(min(WAITED * (waited - mine.since), mine.bytes / BUSY_RATE))
        mine.since, mine.bytes = waited, 0
