"""Hosts: each has a disk, an address, and at most one process of a member at a time, which can meet any end."""

from __future__ import annotations

import asyncio
from contextvars import Context
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Final

from collectionstore_node.errors import DataDirectoryRefused, StorageFailed
from collectionstore_node.raft.messages import NodeId
from collectionstore_node.tests.simulation.events import Trace
from collectionstore_node.tests.simulation.loop import SimulatedLoop
from collectionstore_node.tests.simulation.member import Run, identity_of, make_settings, run_member
from collectionstore_node.tests.simulation.memory_storage import MemoryDisk
from collectionstore_node.tests.simulation.network import Network
from collectionstore_node.tests.simulation.process import Clock, Process, make_task, owner, running

WALL_START_MS: Final = 1_760_000_000_000


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast the members of a world are; drawn once per seed."""

    heartbeat_ms: int = 150
    snapshot_commands: int = 1_000
    thread_s: tuple[float, float] = (0.0, 0.0002)
    """From the call of a job to its effect, and again to its result."""
    clock_rates: tuple[float, float] = (1.0, 1.0)


class Ended(AssertionError):
    """A member's process ended in a way that no fault explains."""


class Host:
    """A machine of the cluster. Everything is done to it from outside, at a moment of the world."""

    def __init__(self, cluster: Cluster, number: int, directory: Path) -> None:
        self.name = f"{cluster.prefix}-{number}"
        self.address = f"127.0.1.{number + 1}"
        self.disk = MemoryDisk(directory)
        self.process: Process | None = None
        self.run: Run | None = None
        self.refused: str | None = None
        """Why the last process refused to start; it will again, until the disk is replaced."""
        self.disk_hung_until = 0.0
        self.slow_disk = 1.0
        """What a job in a thread takes is multiplied by this."""
        self.wall_offset_ms = 0
        self._cluster = cluster
        self._task: asyncio.Task[None] | None = None
        self._ends_expected = False

    @property
    def up(self) -> bool:
        """Whether a process runs, paused or not."""
        return self.process is not None

    @property
    def node_id(self) -> NodeId | None:
        """The incarnation on the disk; None when that is empty."""
        return self.disk.identity.node_id if self.disk.identity is not None else None

    def start(self) -> None:
        """Start the member; it runs until something ends it."""
        if self.process is not None:
            raise RuntimeError(f"{self.name} runs already")
        cluster = self._cluster
        cluster.network.dark.discard(self.address)
        pace = cluster.pace
        settings = make_settings(
            self.name, self.address, heartbeat_ms=pace.heartbeat_ms, snapshot_commands=pace.snapshot_commands
        )
        random = Random(cluster.random.getrandbits(64))
        clock = Clock(random.uniform(*pace.clock_rates), random.uniform(0, 1e6))
        self.process = process = Process(self.name, self.address, clock)
        process.peer_identity = identity_of(self.name)
        process.job_delays = lambda: self._job_delays(random)
        self.run = Run(settings, self.disk, NodeId(random.getrandbits(62) + 1), random, self._wall_ms, asyncio.Event())
        self._ends_expected = False
        cluster.trace.tell(self.name, "starts")
        task = cluster.loop.create_task(run_member(self.run, cluster.loop), context=process.context)
        self._task = task
        task.add_done_callback(lambda done: self._ended(process, done), context=Context())

    def stop(self) -> None:
        """Ask the process to stop, as SIGTERM does."""
        if self.run is not None and self.process is not None:
            self._cluster.trace.tell(self.name, "is asked to stop")
            self._ends_expected = True
            self.run.stop.set()

    def kill(self) -> None:
        """End the process at once; its kernel keeps what was written and ends its connections."""
        self._cluster.trace.tell(self.name, "is killed")
        self.disk.release()
        self._die(silent=False)

    def lose_power(self) -> None:
        """End the process immediately; unsynced writes may be lost, and peers get no notice."""
        lost = self.disk.lose_power(self._cluster.random)
        self._cluster.trace.tell(self.name, f"loses power and {lost} writes")
        self._cluster.network.dark.add(self.address)
        self._die(silent=True)

    def lose_disk(self) -> None:
        """End the process and empty the disk: what starts here next is another incarnation."""
        self._cluster.trace.tell(self.name, "loses its disk")
        self.disk.wipe()
        self.refused = None
        self._die(silent=True)

    def pause(self) -> None:
        """Stop the process between two callbacks."""
        if self.process is not None:
            self._cluster.trace.tell(self.name, "is paused")
            self._cluster.loop.pause(self.process)

    def resume(self) -> None:
        """Let the process go on."""
        if self.process is not None and self.process.paused:
            self._cluster.trace.tell(self.name, "goes on")
            self._cluster.loop.resume(self.process)

    def _wall_ms(self) -> int:
        return WALL_START_MS + int(self._cluster.loop.now * 1000) + self.wall_offset_ms

    def _job_delays(self, random: Random) -> tuple[float, float]:
        lo_s, hi_s = self._cluster.pace.thread_s
        hung_s = max(0.0, self.disk_hung_until - self._cluster.loop.now)
        return hung_s + self.slow_disk * random.uniform(lo_s, hi_s), self.slow_disk * random.uniform(lo_s, hi_s)

    def _die(self, *, silent: bool) -> None:
        process, self.process = self.process, None
        if process is not None:
            self._cluster.bury(process, silent=silent)
            # What has begun to close goes on: cancelled again, it would leave half of it open.
            if self._task is not None and self.run is not None and not self.run.ending:
                self._task.cancel()

    def _ended(self, process: Process, task: asyncio.Task[None]) -> None:
        """The process's main task is over: see whether it should be, and cancel what it left."""
        error = None if task.cancelled() else task.exception()
        run = self.run
        process.end_tasks()
        if self.process is not process:
            return
        self.process = None
        self._cluster.bury(process, silent=False)
        self._cluster.trace.tell(self.name, f"ends: {type(error).__name__ if error else 'stopped'}")
        match error:
            case None if self._ends_expected:
                pass
            case StorageFailed() if run is not None and (
                run.database.hit if run.database is not None else self.disk.hit_while_opening
            ):
                # Whether the write during which the disk failed is there is unknown.
                self.disk.lose_power(self._cluster.random)
            case DataDirectoryRefused() if self.disk.rotten:
                self.refused = str(error)
            case _:
                self._cluster.failed(Ended(f"{self.name} ended: {error!r}"), error)


class Cluster:
    """All hosts of a world, running or not."""

    prefix: Final = "demo"

    def __init__(
        self, loop: SimulatedLoop, network: Network, trace: Trace, random: Random, pace: Pace, directory: Path
    ) -> None:
        """`directory` holds what are real files: tail markers and spools."""
        self.loop = loop
        self.network = network
        self.trace = trace
        self.random = random
        self.pace = pace
        self.hosts: list[Host] = []
        self.failure: BaseException | None = None
        """The first thing that should not have happened."""
        self.graves: list[Process] = []
        self._directory = directory
        loop.set_exception_handler(self._unhandled)
        loop.set_task_factory(make_task)

    def add(self) -> Host:
        """Return a new host, not started."""
        number = len(self.hosts)
        host = Host(self, number, self._directory / str(number))
        self.hosts.append(host)
        return host

    def failed(self, failure: BaseException, cause: BaseException | None = None) -> None:
        """Note what should not have happened; the first counts."""
        if self.failure is None:
            failure.__cause__ = cause
            self.failure = failure

    def bury(self, process: Process, *, silent: bool) -> None:
        """Cut a process off from everything; its code runs on to its end, and reaches no other node."""
        process.alive = False
        self.graves.append(process)
        self.network.cut_off(process, silent=silent)
        self.loop.resume(process)

    def _unhandled(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        del loop
        handle = context.get("handle")
        process = running() if handle is None else owner(handle._context)
        if process is not None and not process.alive:
            return
        error = context.get("exception")
        self.failed(AssertionError(f"unhandled: {context['message']}: {error!r}"), error)
