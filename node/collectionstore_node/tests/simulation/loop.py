"""An event loop without threads, sockets and clocks: time jumps to the next callback, and one seed decides the rest.

All processes of the simulated world share it. It is asyncio's own loop but for four things: where time comes from,
which callbacks are held back because their process is paused, what an executor is, and who opens connections.

Each callback costs `CALLBACK_S`, so that time advances even while callbacks are always ready. Callbacks of one
process run in the order that asyncio promises; those of several processes that are ready together, in any order.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextvars import Context
from functools import partial
from random import Random
from typing import Any, Final, Protocol, TypeVar, cast

from collectionstore_node.tests.simulation.events import Trace
from collectionstore_node.tests.simulation.process import Job, Process, SendQueue, owner, running

CALLBACK_S: Final = 5e-6
"""What a callback costs; about what one costs in fact."""
_IDLE_HANDLES_MAX: Final = 200
"""Cancelled timers are swept out when there are more than this, and they are the majority."""

_T = TypeVar("_T")


class Dialling(Protocol):
    """Where connections come from: `network.Network`."""

    async def connect(
        self, client: Process | None, make_protocol: Callable[[], asyncio.BaseProtocol], host: str, port: int
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        """Return a connected pair. Raises `OSError`."""

    def listen(
        self, server: Process | None, make_protocol: Callable[[], asyncio.BaseProtocol], host: str, port: int
    ) -> asyncio.AbstractServer:
        """Accept connections from now on. Raises `OSError` when the address is taken."""


class Deadlock(AssertionError):
    """No event is scheduled, and a task still waits."""


class SimulatedLoop(asyncio.BaseEventLoop):
    """The loop of one world. `network` is set before anybody dials or listens."""

    network: Dialling

    def __init__(self, random: Random, trace: Trace, *, callbacks_max: int = 50_000_000) -> None:
        """`callbacks_max` bounds the whole run: a loop that never ends is a failure, not a wait."""
        super().__init__()
        self._random = random
        self._trace = trace
        self._now = 0.0
        self._left = callbacks_max
        self._ready: deque[asyncio.Handle]
        self._scheduled: list[asyncio.TimerHandle]
        self._timer_cancelled_count: int
        self._stopping: bool
        self._in_job = False
        trace.now = lambda: self._now

    # Time

    @property
    def now(self) -> float:
        """Seconds since the world began."""
        return self._now

    @property
    def in_job(self) -> bool:
        """Whether the code that runs now is a job in a thread."""
        return self._in_job

    def time(self) -> float:
        """Return what the running process's clock shows; outside of processes, the world's seconds."""
        process = running()
        return self._now if process is None else process.clock.shown(self._now)

    def call_at(  # type: ignore[override]  # a callback's arguments are not checked here
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Schedule at a moment of the running process's clock."""
        process = running()
        return super().call_at(
            when if process is None else process.clock.moment(when), callback, *args, context=context
        )

    def call_at_moment(
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Schedule at a moment of the world."""
        return super().call_at(when, callback, *args, context=context)

    # One turn

    def _run_once(self) -> None:
        self._sweep()
        ready, scheduled = self._ready, self._scheduled
        if not ready and not self._stopping:
            if not scheduled:
                raise Deadlock("no event is scheduled, and a task still waits")
            self._now = max(self._now, scheduled[0].when())
        while scheduled and scheduled[0].when() <= self._now:
            timer = heapq.heappop(scheduled)
            timer._scheduled = False  # type: ignore[attr-defined]  # as the base class does
            ready.append(timer)
        count = len(ready)
        self._left -= count
        if self._left < 0:
            raise AssertionError("the world does not come to rest")
        if count > 1:
            self._interleave(count)
        for _ in range(count):
            handle = ready.popleft()
            if handle.cancelled():
                continue
            process = owner(handle._context)  # type: ignore[attr-defined]
            if process is not None and process.paused:
                process.held.append(handle)
                continue
            self._now += CALLBACK_S
            handle._run()

    def _interleave(self, count: int) -> None:
        """Put the ready callbacks of different processes in a random order; those of one process keep theirs."""
        groups: dict[Process | None, list[asyncio.Handle]] = {}
        for handle in self._ready:
            groups.setdefault(owner(handle._context), []).append(handle)  # type: ignore[attr-defined]
        if len(groups) == 1:
            return
        order = list(groups.values())
        self._random.shuffle(order)
        self._ready.clear()
        for group in order:
            self._ready.extend(group)

    def _sweep(self) -> None:
        """Take cancelled timers away, as the base class does."""
        scheduled = self._scheduled
        if self._timer_cancelled_count > max(_IDLE_HANDLES_MAX, len(scheduled) // 2):
            for timer in scheduled:
                timer._scheduled = not timer.cancelled()  # type: ignore[attr-defined]
            scheduled[:] = [timer for timer in scheduled if not timer.cancelled()]
            heapq.heapify(scheduled)
            self._timer_cancelled_count = 0
        while scheduled and scheduled[0].cancelled():
            self._timer_cancelled_count -= 1
            timer = heapq.heappop(scheduled)
            timer._scheduled = False  # type: ignore[attr-defined]

    # Processes

    def pause(self, process: Process) -> None:
        """Stop a process between two callbacks, as SIGSTOP does."""
        process.paused = True

    def resume(self, process: Process) -> None:
        """Let a process go on with what came due meanwhile, in its order."""
        if process.paused:
            process.paused = False
            self._ready.extend(process.held)
            process.held.clear()

    def stall(self, process: Process, seconds: float) -> None:
        """Keep a process busy, as by a call that blocks; what was paused stays paused."""
        if not process.paused:
            self.pause(process)
            self.call_at_moment(self._now + seconds, self.resume, process, context=_WORLD)

    # Threads

    def run_in_executor(  # type: ignore[override]  # the base is annotated as a coroutine, and is none
        self, executor: Executor | None, func: Callable[..., _T], *args: Any
    ) -> asyncio.Future[_T]:
        """Call `func` after a while, in no thread. Every executor has one thread, the default one has many."""
        result: asyncio.Future[object] = self.create_future()
        job = Job(partial(func, *args), result)
        process = running()
        if executor is None or process is None:
            self._start_job(process, None, job)
        else:
            lane = process.threads.setdefault(executor, SendQueue())
            lane.waiting.append(job)
            if not lane.busy:
                self._next_job(process, lane)
        return cast("asyncio.Future[_T]", result)

    def _next_job(self, process: Process, lane: SendQueue) -> None:
        lane.busy = bool(lane.waiting)
        if lane.waiting:
            self._start_job(process, lane, lane.waiting.popleft())

    def _start_job(self, process: Process | None, lane: SendQueue | None, job: Job) -> None:
        before_s, after_s = process.job_delays() if process is not None else (0.0, 0.0)
        self.call_at_moment(self._now + before_s, self._do_job, process, lane, job, after_s)

    def _do_job(self, process: Process | None, lane: SendQueue | None, job: Job, after_s: float) -> None:
        """Let the job take effect; its result is known later, and a crash may come between."""
        value: object = None
        error: BaseException | None = None
        if not job.result.cancelled():
            self._in_job = True
            try:
                value = job.call()
            except Exception as raised:  # whatever a thread raises is its future's
                error = raised
            finally:
                self._in_job = False
        self.call_at_moment(self._now + after_s, self._end_job, process, lane, job, value, error)

    def _end_job(
        self,
        process: Process | None,
        lane: SendQueue | None,
        job: Job,
        value: object,
        error: BaseException | None,
    ) -> None:
        if not job.result.done():
            if error is None:
                job.result.set_result(value)
            else:
                job.result.set_exception(error)
        if process is not None and lane is not None:
            self._next_job(process, lane)

    # Connections

    async def create_connection(  # type: ignore[override]
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: str | None = None,
        port: int | None = None,
        **options: object,
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        """Dial in the simulated network. TLS is left out; so is everything else that `options` may hold."""
        del options
        if host is None or port is None:
            raise ValueError("the simulated network dials a host and a port")
        return await self.network.connect(running(), protocol_factory, host, port)

    async def create_server(  # type: ignore[override]
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: str | Sequence[str] | None = None,
        port: int | None = None,
        **options: object,
    ) -> asyncio.AbstractServer:
        """Listen in the simulated network, without TLS."""
        del options
        if not isinstance(host, str) or port is None:
            raise ValueError("the simulated network listens on a host and a port")
        return self.network.listen(running(), protocol_factory, host, port)

    def _write_to_self(self) -> None:
        """There is no selector to wake."""

    def _process_events(self, event_list: object) -> None:
        """There are no events but callbacks."""


_WORLD: Final = Context()
