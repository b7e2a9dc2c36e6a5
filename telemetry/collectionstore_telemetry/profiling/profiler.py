"""A sampling profile of all threads, as collapsed stacks.

A separate thread reads the frames of the others (`sys._current_frames`). Nothing is instrumented, and the only cost
is the sampler's turns under the interpreter's lock.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections import Counter
from types import FrameType
from typing import Final

from collectionstore_telemetry.profiling.frames import function_name

INTERVAL_S: Final = 0.01
SECONDS_MAX: Final = 60
DEPTH_MAX: Final = 128
STACKS_MAX: Final = 20_000


class ProfileRunning(Exception):
    """Another profile is being taken; there is one at a time."""


class Profiler:
    """Takes profiles, one at a time. Belongs to the event loop."""

    def __init__(self) -> None:
        self._running = False

    async def collapsed(self, seconds: float) -> bytes:
        """Return the stacks sampled within `seconds`, one a line, `thread;outer;inner count`, the most frequent first.

        Flame graph tools read this format. Raises `ProfileRunning`.
        """
        if self._running:
            raise ProfileRunning
        self._running, stop = True, threading.Event()
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Counter[str]] = loop.create_future()

        def resolve(seen: Counter[str]) -> None:
            if not done.done():
                done.set_result(seen)

        def run() -> None:
            loop.call_soon_threadsafe(resolve, sample(seconds, stop))

        # Not the executor's thread: cancelling the caller must stop the sampler, and must not wait for it.
        thread = threading.Thread(target=run, name="profiler", daemon=True)
        try:
            thread.start()
            seen = await done
        finally:
            # If the client has disconnected, this task was cancelled: the sampler stops within an interval.
            stop.set()
            self._running = False
        return "".join(f"{stack} {count}\n" for stack, count in seen.most_common()).encode()


def sample(seconds: float, stop: threading.Event) -> Counter[str]:
    """Count the stacks of all other threads every `INTERVAL_S`, for `seconds` or until `stop` is set.

    Stacks beyond STACKS_MAX different ones are counted together.
    """
    seen: Counter[str] = Counter()
    own = threading.get_ident()
    for _ in range(max(1, round(seconds / INTERVAL_S))):
        if stop.wait(INTERVAL_S):
            break
        # At every sample: threads start and end meanwhile, and their idents are reused.
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        for ident, frame in sys._current_frames().items():
            if ident != own:
                stack = ";".join((names.get(ident, "thread"), *_calls(frame)))
                seen[stack if stack in seen or len(seen) < STACKS_MAX else "(other stacks)"] += 1
    return seen


def _calls(frame: FrameType | None) -> list[str]:
    """Return the functions of a stack, the outermost first."""
    calls: list[str] = []
    while frame is not None and len(calls) < DEPTH_MAX:
        calls.append(function_name(frame.f_globals.get("__name__"), frame.f_code))
        frame = frame.f_back
    return calls[::-1]
