"""Long work on the event loop, in steps: a few steps in one turn of the loop, whatever is asked for.

A thread would not help: what takes long here (parsers, rendering, RocksDB's iterators) holds the interpreter anyway.

Work is a generator that yields after every step; a step should take about a millisecond. One job of a kind may be
finished within its first step, as most are. One that is not needs a place: `RUNNING_MAX` of a kind take steps in
rotation, so that their memory is bounded, and `WAITING_MAX` wait for a place, in order of arrival.
"""

from __future__ import annotations

import asyncio
import enum
from collections import deque
from collections.abc import Generator
from contextvars import copy_context
from typing import Any, Final, TypeVar

from collectionstore_node.errors import Overloaded

T = TypeVar("T")

RUNNING_MAX: Final = 4
"""Jobs of one kind beyond their first step that take steps in rotation."""
WAITING_MAX: Final = 128
"""Jobs of one kind that wait behind those."""
FIRST_STEPS_MAX: Final = 2
"""First steps in one turn of the loop."""
STEPS_MAX: Final = 3
"""Further steps in one turn. Counted, not timed: a simulation replays."""
READ_BYTES_MAX: Final = 1 << 20
"""What single reads return in one turn of the loop, before the others wait for the next one."""
READS_RESUMED_MAX: Final = 4
"""How many of those that wait go on in one turn; each may be a mebibyte."""


class Work(enum.Enum):
    """The kinds of long work, each with its own places."""

    BODY = "body"
    """Checking a large body."""
    LIST = "list"
    """Reading and rendering a page."""


class _Job:
    """A generator and the future of its result."""

    __slots__ = ("context", "deadline", "done", "kind", "steps", "timer")

    def __init__(
        self, kind: Work, steps: Generator[None, None, Any], deadline: float, done: asyncio.Future[Any]
    ) -> None:
        self.context = copy_context()
        """That of its request: the steps run in callbacks of others, and ask who calls."""
        self.kind = kind
        self.steps = steps
        self.deadline = deadline
        self.done = done
        self.timer: asyncio.TimerHandle | None = None


class Turns:
    """Runs jobs. Belongs to one event loop; `running_max` and `waiting_max` are per kind."""

    def __init__(self, *, running_max: int = RUNNING_MAX, waiting_max: int = WAITING_MAX) -> None:
        self._running_max = running_max
        self._waiting_max = waiting_max
        self._new: deque[_Job] = deque()
        self._rotation: deque[_Job] = deque()
        self._running = dict.fromkeys(Work, 0)
        self._waiting: dict[Work, deque[_Job]] = {kind: deque() for kind in Work}
        self._scheduled = False
        self._read_bytes = 0
        self._readers: deque[asyncio.Future[None]] = deque()

    @property
    def reads_wait(self) -> bool:
        """Whether a single read must wait for its turn: `await read_turn()`."""
        return self._read_bytes >= READ_BYTES_MAX or bool(self._readers)

    def read(self, size_bytes: int) -> None:
        """Note that a single read returned `size_bytes`."""
        if not self._read_bytes:
            # The count is of one turn. Without this, small reads of many turns add up, and then all of them queue.
            asyncio.get_running_loop().call_soon(self._forget_reads)
        self._read_bytes += size_bytes

    async def read_turn(self) -> None:
        """Return in a turn of the loop that has room for another read."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._readers.append(turn)
        self._schedule()
        await turn

    def _forget_reads(self) -> None:
        self._read_bytes = 0

    @property
    def pending(self) -> int:
        """How many jobs have places, or wait for one."""
        return sum(self._running.values()) + sum(map(len, self._waiting.values()))

    async def run(self, kind: Work, steps: Generator[None, None, T], *, timeout_s: float) -> T:
        """Return what `steps` returns. Raises what it raises, and `Overloaded` when there is no place or no time."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        job = _Job(kind, steps, loop.time() + timeout_s, done)
        if self._scheduled:
            self._new.append(job)
        else:
            # Nothing else is going on in this turn of the loop: the first step costs no round through it.
            self._schedule()
            self._first_step(job)
        return await done

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        self._read_bytes = 0
        for _ in range(min(READS_RESUMED_MAX, len(self._readers))):
            turn = self._readers.popleft()
            if not turn.done():
                turn.set_result(None)
        for _ in range(min(FIRST_STEPS_MAX, len(self._new))):
            self._first_step(self._new.popleft())
        for _ in range(STEPS_MAX):
            if not self._rotation:
                break
            job = self._rotation.popleft()
            if self._step(job):
                self._rotation.append(job)
            else:
                self._leave(job.kind)
        if self._new or self._rotation or self._readers:
            self._schedule()

    def _first_step(self, job: _Job) -> None:
        if not self._step(job):
            return
        kind = job.kind
        if self._running[kind] < self._running_max:
            self._running[kind] += 1
            self._rotation.append(job)
            self._schedule()
        elif len(self._waiting[kind]) < self._waiting_max:
            self._waiting[kind].append(job)
        else:
            job.steps.close()
            job.done.set_exception(Overloaded(f"{self._waiting_max} long requests of this kind are waiting already"))
            return
        job.timer = asyncio.get_running_loop().call_at(job.deadline, self._expire, job)

    def _leave(self, kind: Work) -> None:
        """Give the place of a finished job to the next one that waits."""
        waiting = self._waiting[kind]
        if waiting:
            self._rotation.append(waiting.popleft())
        else:
            self._running[kind] -= 1

    def _step(self, job: _Job) -> bool:
        """Take one step and return whether there are more."""
        if job.done.done():
            job.steps.close()  # it has expired, or its client has gone
        else:
            try:
                job.context.run(next, job.steps)
            except StopIteration as end:
                job.done.set_result(end.value)
            except Exception as error:  # it is the result, whatever it is
                job.done.set_exception(error)
            else:
                return True
        if job.timer is not None:
            job.timer.cancel()
        return False

    def _expire(self, job: _Job) -> None:
        if not job.done.done():
            job.done.set_exception(Overloaded("other long requests took the time that this one had"))
