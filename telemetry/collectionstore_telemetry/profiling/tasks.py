"""The tasks of the running event loop, grouped by the place where they wait."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from collectionstore_telemetry.profiling.frames import function_name

GROUPS_MAX: Final = 200
NAMES_MAX: Final = 5
CHAIN_MAX: Final = 32


@dataclass(frozen=True, slots=True)
class TaskGroup:
    """Tasks that wait at the same place; `stack` from the outermost await inwards, `names` of the first few."""

    count: int
    names: list[str]
    stack: list[str]


@dataclass(frozen=True, slots=True)
class Tasks:
    """All tasks of the event loop, by the place where they wait; `omitted` groups are not listed."""

    total: int
    groups: list[TaskGroup]
    omitted: int


def tasks() -> Tasks:
    """Return the tasks of the running loop, the largest group first."""
    groups: dict[tuple[str, ...], list[str]] = {}
    found = asyncio.all_tasks()
    for task in found:
        groups.setdefault(tuple(_awaited(task.get_coro())), []).append(task.get_name())
    ordered = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    listed = [TaskGroup(len(names), sorted(names)[:NAMES_MAX], list(stack)) for stack, names in ordered[:GROUPS_MAX]]
    return Tasks(len(found), listed, max(0, len(ordered) - GROUPS_MAX))


def _awaited(coroutine: Any) -> Iterator[str]:
    """Yield where a suspended coroutine waits, then where the coroutine it awaits does, for as long as that is code."""
    for _ in range(CHAIN_MAX):
        # Futures and awaitables of C code end the chain: they have no Python frame.
        frame = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "gi_frame", None)
        if frame is None:
            if coroutine is not None:
                yield type(coroutine).__qualname__
            return
        yield f"{function_name(frame.f_globals.get('__name__'), frame.f_code)}:{frame.f_lineno}"
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "gi_yieldfrom", None)
