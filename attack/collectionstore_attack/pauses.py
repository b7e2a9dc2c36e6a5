"""How long the machine itself stood still: a process for each processor that only sleeps, for 5 ms at a time.

A virtual machine whose processors are taken away does not tell its guests, whose threads then neither compute nor wait
for a processor: on one such machine a loop that only counts stood still for 125 ms. What a member did itself cannot be
told from it, but it cannot have done more than what it was late beyond such a pause.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

TICK_S: Final = 0.005
READY: Final = "ready"
SCHEDSTAT: Final = "/proc/thread-self/schedstat"
"""proc(5): the second number is how long this thread waited for a processor, in nanoseconds."""


class Pauses:
    """The longest pause that was seen, in seconds; final when the context has ended."""

    def __init__(self) -> None:
        self.worst_s = 0.0


@asynccontextmanager
async def watched() -> AsyncIterator[Pauses]:
    """Watch every processor that this process may use."""
    found = Pauses()
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-m", __name__, str(processor), stdout=asyncio.subprocess.PIPE
        )
        for processor in sorted(os.sched_getaffinity(0))
    ]
    try:
        for process in processes:
            await process.stdout.readline()  # type: ignore[union-attr]  # it is a pipe
        yield found
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            printed, _ = await process.communicate()
            found.worst_s = max(found.worst_s, float(printed or 0))


def pause_s(slept_s: float, waited_s: float) -> float:
    """Return how long a sleep of TICK_S lasted beyond it, without what its thread waited for a processor."""
    return max(0.0, slept_s - TICK_S - waited_s)


def _waited_s(file: int) -> float:
    return int(os.pread(file, 64, 0).split()[1]) / 1e9


def main() -> None:
    """Watch the processor named in the command line until SIGTERM, and print the longest pause."""
    ended = False

    def end(*_: object) -> None:
        nonlocal ended
        ended = True

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.sched_setaffinity(0, {int(sys.argv[1])})
    file = os.open(SCHEDSTAT, os.O_RDONLY)
    worst = 0.0
    print(READY, flush=True)
    at, waited = time.monotonic(), _waited_s(file)
    while not ended:
        time.sleep(TICK_S)
        now, waits = time.monotonic(), _waited_s(file)
        worst = max(worst, pause_s(now - at, waits - waited))
        at, waited = now, waits
    print(f"{worst:.6f}")


if __name__ == "__main__":
    main()
