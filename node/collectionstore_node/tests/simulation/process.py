"""A simulated operating system process: what shares a clock, and is paused or killed together.

The context of a callback identifies its process: everything that a process starts inherits it.
"""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Executor
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

_T = TypeVar("_T")
_TASKS_MIN: Final = 64

_RUNNING: ContextVar[Process | None] = ContextVar("process", default=None)


def running() -> Process | None:
    """Return the process whose code is running; None for the world's own."""
    return _RUNNING.get()


def owner(context: Context) -> Process | None:
    """Return the process that a callback with this context belongs to."""
    process: Process | None = context.get(_RUNNING)
    return process


@dataclass(frozen=True, slots=True)
class Clock:
    """A monotonic clock that runs at `rate` times the world's pace; `offset_s` is what it showed at the beginning."""

    rate: float = 1.0
    offset_s: float = 0.0

    def shown(self, world_s: float) -> float:
        """Return what the clock shows at a moment of the world."""
        return self.offset_s + world_s * self.rate

    def moment(self, shown_s: float) -> float:
        """Return the moment of the world at which the clock shows `shown_s`."""
        return (shown_s - self.offset_s) / self.rate


def no_delay() -> tuple[float, float]:
    """Return the default duration of a job in a thread."""
    return 0.0, 0.0


class Process:
    """One run of a program on a host. `world` is not affected by anything that is done to it."""

    def __init__(self, name: str, host: str, clock: Clock | None = None) -> None:
        """`name` is how the process is called in stories, `host` its address."""
        self.name = name
        self.host = host
        self.clock = clock or Clock()
        self.context = copy_context()
        self.context.run(_RUNNING.set, self)
        self.alive = True
        """False once it is killed: its code runs on to clean up, but nothing it does reaches anybody."""
        self.paused = False
        self.held: deque[asyncio.Handle] = deque()
        """Callbacks that came due while it was paused, in order."""
        self.threads: dict[Executor, SendQueue] = {}
        self.job_delays: Callable[[], tuple[float, float]] = no_delay
        """Returns seconds before a job in a thread takes effect, and from there until its result is known."""
        self.peer_identity: str | None = None
        """The URI that the process's certificate would hold; None has no certificate."""
        self._tasks: list[weakref.ref[asyncio.Task[Any]]] = []
        self._sweep_at = _TASKS_MIN

    def own(self, task: asyncio.Task[Any]) -> None:
        """Remember a task, in order of making, until it is done."""
        self._tasks.append(weakref.ref(task))
        if len(self._tasks) >= self._sweep_at:
            self._tasks = [one for one in self._tasks if (live := one()) is not None and not live.done()]
            self._sweep_at = 2 * len(self._tasks) + _TASKS_MIN

    def end_tasks(self) -> None:
        """Cancel every task that is left, as the end of a program does."""
        for one in self._tasks:
            task = one()
            if task is not None and not task.done():
                task.cancel()

    @property
    def tasks_left(self) -> list[asyncio.Task[Any]]:
        """The tasks that are not done."""
        return [task for one in self._tasks if (task := one()) is not None and not task.done()]


@dataclass(slots=True)
class Job:
    """A call that waits for, or runs in, a thread."""

    call: Callable[[], object]
    result: asyncio.Future[object]


@dataclass(slots=True)
class SendQueue:
    """An executor with one thread: its jobs run one after the other."""

    busy: bool = False
    waiting: deque[Job] = field(default_factory=deque)


def make_task(
    loop: asyncio.AbstractEventLoop,
    coro: Coroutine[Any, Any, _T] | Generator[Any, None, _T],
    context: Context | None = None,
) -> asyncio.Task[_T]:
    """Make a task that its process knows of; for `set_task_factory`."""
    task: asyncio.Task[_T] = asyncio.Task(coro, loop=loop, context=context)
    process = running() if context is None else owner(context)
    if process is not None:
        process.own(task)
    return task
