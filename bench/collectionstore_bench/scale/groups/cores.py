"""Processes that share the cores of a node, and its disk.

A process has one thread that matters (the interpreter runs one at a time): it works on one job at a time, in order of
arrival. A node with `c` cores runs `c` of its processes at the same time; those that wait for a core take turns, one
job each. The disk completes one sync at a time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from collectionstore_bench.scale.groups.engine import Engine

Job = tuple[float, Callable[[], None]]
"""Seconds of work, and what happens when it is done."""


class Node:
    """The cores and the disk of one node."""

    __slots__ = ("_disk", "_disk_busy", "_engine", "_free", "_ready", "busy_s", "cores", "disk_busy_s")

    def __init__(self, engine: Engine, cores: int) -> None:
        self._engine = engine
        self._free = cores
        self.cores = cores
        self._ready: deque[Process] = deque()
        self._disk: deque[Job] = deque()
        self._disk_busy = False
        self.busy_s = 0.0
        """Processor time used so far."""
        self.disk_busy_s = 0.0

    def wants(self, process: Process) -> None:
        """Run a process that has a job, as soon as a core is free."""
        if self._free:
            self._free -= 1
            self._work(process)
        else:
            self._ready.append(process)

    def sync(self, seconds: float, then: Callable[[], None]) -> None:
        """Sync, behind the syncs before."""
        self._disk.append((seconds, then))
        if not self._disk_busy:
            self._next_sync()

    def _work(self, process: Process) -> None:
        seconds, then = process.jobs.popleft()
        self.busy_s += seconds
        process.busy_s += seconds

        def done() -> None:
            then()
            process.running = False
            if process.jobs:
                process.running = True
                self._ready.append(process)
            if self._ready:
                self._work(self._ready.popleft())
            else:
                self._free += 1

        self._engine.after(seconds, done)

    def _next_sync(self) -> None:
        self._disk_busy = bool(self._disk)
        if not self._disk:
            return
        seconds, then = self._disk.popleft()
        self.disk_busy_s += seconds

        def done() -> None:
            then()
            self._next_sync()

        self._engine.after(seconds, done)


class Process:
    """One member of one group."""

    __slots__ = ("busy_s", "jobs", "node", "running")

    def __init__(self, node: Node) -> None:
        self.node = node
        self.jobs: deque[Job] = deque()
        self.running = False
        """Whether it has a core, or waits for one."""
        self.busy_s = 0.0
        """Processor time used so far."""

    def work(self, seconds: float, then: Callable[[], None]) -> None:
        """Do a job of so many seconds, after those before."""
        self.jobs.append((seconds, then))
        if not self.running:
            self.running = True
            self.node.wants(self)
