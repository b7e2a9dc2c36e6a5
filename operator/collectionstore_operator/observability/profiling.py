"""What the process is doing: a statistical profile of all threads, and the tasks of the event loop with their stacks.

The profile is taken by a thread of its own that looks at the frames of the others (`sys._current_frames`); nothing is
put into the event loop, and nothing is slowed down but by the sampler's own turns. Frames name code, never values.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from types import CodeType, FrameType
from typing import Any, Final

import msgspec

INTERVAL_S: Final = 0.01
SECONDS_MAX: Final = 60
DEPTH_MAX: Final = 128
STACKS_MAX: Final = 20_000
GROUPS_MAX: Final = 200
NAMES_MAX: Final = 5
CHAIN_MAX: Final = 32


class TaskGroup(msgspec.Struct, frozen=True):
    """Tasks that wait at the same place; `stack` from the outermost await inwards, `names` of the first few."""

    count: int
    names: list[str]
    stack: list[str]


class Tasks(msgspec.Struct, frozen=True):
    """All tasks of the event loop, by where they wait; `omitted` groups are not listed."""

    total: int
    groups: list[TaskGroup]
    omitted: int


class ProfileRunning(Exception):
    """A profile is being taken already; there is one at a time."""


class Profiler:
    """Takes profiles, one at a time. Belongs to the event loop."""

    def __init__(self) -> None:
        self._running = False

    async def collapsed(self, seconds: float) -> bytes:
        """Return the stacks seen within `seconds`, one a line, `thread;outer;inner count`, the most frequent first.

        That is the input of flame graph tools. Raises `ProfileRunning`.
        """
        if self._running:
            raise ProfileRunning
        self._running, stop = True, threading.Event()
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Counter[str]] = loop.create_future()

        def tell(seen: Counter[str]) -> None:
            if not done.done():
                done.set_result(seen)

        def run() -> None:
            loop.call_soon_threadsafe(tell, sample(seconds, stop))

        thread = threading.Thread(target=run, name="profiler", daemon=True)
        try:
            thread.start()
            seen = await done
        finally:
            # Whoever asked may have gone: the sampler ends at once then.
            stop.set()
            self._running = False
        return "".join(f"{stack} {count}\n" for stack, count in seen.most_common()).encode()


def sample(seconds: float, stop: threading.Event) -> Counter[str]:
    """Look at all other threads every `INTERVAL_S` until `seconds` are over or `stop` is set."""
    seen: Counter[str] = Counter()
    own = threading.get_ident()
    for _ in range(max(1, round(seconds / INTERVAL_S))):
        if stop.wait(INTERVAL_S):
            break
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        for ident, frame in sys._current_frames().items():
            if ident != own:
                stack = ";".join((names.get(ident, "thread"), *_calls(frame)))
                seen[stack if stack in seen or len(seen) < STACKS_MAX else "(other stacks)"] += 1
    return seen


def tasks() -> Tasks:
    """Return the tasks of the running loop, those that wait at the same place together."""
    groups: dict[tuple[str, ...], list[str]] = {}
    found = asyncio.all_tasks()
    for task in found:
        groups.setdefault(tuple(_awaited(task.get_coro())), []).append(task.get_name())
    ordered = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    listed = [TaskGroup(len(names), sorted(names)[:NAMES_MAX], list(stack)) for stack, names in ordered[:GROUPS_MAX]]
    return Tasks(len(found), listed, max(0, len(ordered) - GROUPS_MAX))


def _calls(frame: FrameType | None) -> list[str]:
    """Return the functions of a stack, the outermost first."""
    calls: list[str] = []
    while frame is not None and len(calls) < DEPTH_MAX:
        calls.append(_function(frame.f_globals.get("__name__"), frame.f_code))
        frame = frame.f_back
    return calls[::-1]


def _function(module: object, code: CodeType) -> str:
    return f"{module}.{code.co_qualname}".replace(";", ",").replace(" ", "_")


def _awaited(coroutine: Any) -> Iterator[str]:
    """Yield where a suspended coroutine waits, and what it waits for, for as long as that is code."""
    for _ in range(CHAIN_MAX):
        frame = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "gi_frame", None)
        if frame is None:
            if coroutine is not None:
                yield type(coroutine).__qualname__
            return
        yield f"{_function(frame.f_globals.get('__name__'), frame.f_code)}:{frame.f_lineno}"
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "gi_yieldfrom", None)
