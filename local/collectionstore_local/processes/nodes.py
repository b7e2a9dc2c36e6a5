"""Node processes kept running: what the kubelet does for pods, for the processes of this machine.

A node that is wanted and ends is started again, as it was: at once the first time, then after a delay that doubles up
to RESTART_DELAY_MAX_S and is forgotten once the node has run for STABLE_AFTER_S. A node that still runs when the
supervisor comes back is adopted, not restarted. Whether a node is wanted, and with which settings, is decided above.

Invariants:
- at most one process per data directory: before a start, running processes are searched for one with that directory;
- a stop waits until the process has ended; SIGKILL only after STOP_GRACE_S.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence

import msgspec
import structlog

from collectionstore_local.processes import records
from collectionstore_local.processes.process import (
    Process,
    ProcessName,
    adopt,
    arguments,
    environment,
    name_process,
    process_ids,
    start,
)
from collectionstore_local.processes.records import Launch, NodeExit, NodeRecord
from collectionstore_local.state import volumes
from collectionstore_local.state.directory import NodeDirectory
from collectionstore_operator.manifests.node_environment import PREFIX

RESTART_DELAY_MAX_S = 30.0
STABLE_AFTER_S = 30.0
STOP_GRACE_S = 15.0
LOG_BYTES_MAX = 64 << 20
DATA_DIR = f"{PREFIX}DATA_DIR"

CANNOT_START = 126
"""Stands for a program that could not even be started; the shells' code for it."""

EXIT_MEANINGS: Mapping[int, str] = {
    0: "it stopped as asked",
    64: "it refused its settings",
    65: "it refused its data directory",
    69: "an address was in use",
    70: "internal error",
    74: "its disk failed",
}

log = structlog.get_logger(__name__)


class Node:
    """One node's process. `changed` is called whenever it started or ended."""

    def __init__(self, directory: NodeDirectory, changed: Callable[[], None]) -> None:
        self.directory = directory
        self._changed = changed
        self._record = NodeRecord()
        self._process: Process | None = None
        self._started_on_loop = 0.0
        self._ended = asyncio.Event()
        self._quick_exits = 0
        self._retry: asyncio.TimerHandle | None = None

    @property
    def name(self) -> str:
        return self.directory.name

    @property
    def record(self) -> NodeRecord:
        """What is written down of it: wanted or not, how it was started, how it ended last."""
        return self._record

    @property
    def running(self) -> bool:
        return self._process is not None

    @property
    def quick_exits(self) -> int:
        """How many processes in a row ended before they were stable; 0 again once one has been."""
        return 0 if self.running and self._is_stable() else self._quick_exits

    def recover(self, *, start_wanted: bool) -> None:
        """Take over from an earlier supervisor: adopt the process if it still runs, else start it if it should."""
        self._record = records.load(self.directory)
        name = self._record.process
        process = adopt(name) if name is not None else None
        if process is not None:
            self._watch(process, self._record.started_at)
            log.info("node.adopted", node=self.name, pid=process.name.pid)
        elif self._record.wanted and start_wanted:
            if name is not None:
                self._note_exit(None, "it ended while no supervisor was looking")
            self._start()

    def want(self, launch: Launch) -> bool:
        """Have the node running; return whether it had to be started. A running one keeps its settings."""
        if self._process is not None:
            self._write(wanted=True)
            return False
        self._cancel_retry()
        self._quick_exits = 0
        self._write(wanted=True, launch=launch, restarts=0)
        self._start()
        return True

    async def stop(self) -> None:
        """Stop the node and return when its process has ended. It is not wanted any more."""
        self._cancel_retry()
        self._write(wanted=False)
        process = self._process
        if process is None:
            return
        process.send(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_GRACE_S):
                await self._ended.wait()
        except TimeoutError:
            log.warning("node.killed", node=self.name, reason=f"it did not stop within {STOP_GRACE_S:g} s of SIGTERM")
            process.send(signal.SIGKILL)
            await self._ended.wait()

    async def restart(self, launch: Launch) -> None:
        """Stop the node and start it with `launch`."""
        await self.stop()
        self.want(launch)

    def release(self) -> None:
        """Let go without touching the process: the next supervisor adopts it."""
        self._cancel_retry()
        if self._process is not None:
            asyncio.get_running_loop().remove_reader(self._process.fileno())
            self._process.close()
            self._process = None

    def _start(self) -> None:
        launch = self._record.launch
        if launch is None:
            raise RuntimeError(f"{self.name} is wanted, but nothing says how to start it")
        # A supervisor killed between the start and its record leaves a process that nobody wrote down.
        stray = _find_stray(launch)
        if stray is not None:
            self._adopt_stray(stray, launch)
            return
        volumes.create(self.directory)
        _limit_log(self.directory)
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        try:
            process = start(launch.command, {**inherited, **launch.settings}, output=self.directory.log)
        except OSError as error:
            self._quick_exits += 1
            self._note_exit(CANNOT_START, f"{launch.command[0]} cannot be started: {error.strerror}")
            self._schedule()
            return
        self._watch(process, time.time())
        log.info("node.started", node=self.name, pid=process.name.pid, revision=launch.revision)

    def _adopt_stray(self, name: ProcessName, launch: Launch) -> None:
        process = adopt(name)
        if process is None:
            self._schedule()
            return
        settings = {key: value for key, value in environment(name.pid).items() if key.startswith(PREFIX)}
        revision = launch.revision if settings == launch.settings else "unknown"
        self._write(launch=Launch(command=launch.command, settings=settings, revision=revision))
        self._watch(process, time.time())
        log.info("node.adopted", node=self.name, pid=name.pid, reason="it ran on this data directory already")

    def _watch(self, process: Process, started_at: float) -> None:
        loop = asyncio.get_running_loop()
        self._process = process
        self._started_on_loop = loop.time()
        self._ended.clear()
        self._write(process=process.name, started_at=started_at)
        loop.add_reader(process.fileno(), self._on_end)
        self._changed()

    def _on_end(self) -> None:
        process = self._process
        if process is None or process.is_running():
            return
        asyncio.get_running_loop().remove_reader(process.fileno())
        code = process.exit_code()
        self._quick_exits = 0 if self._is_stable() else self._quick_exits + 1
        process.close()
        self._process = None
        self._note_exit(code, describe_exit(code))
        self._ended.set()
        if self._record.wanted:
            self._schedule()
        self._changed()

    def _is_stable(self) -> bool:
        return asyncio.get_running_loop().time() - self._started_on_loop >= STABLE_AFTER_S

    def _note_exit(self, code: int | None, reason: str) -> None:
        self._write(last_exit=NodeExit(code=code, at=time.time(), reason=reason))
        log.info("node.ended", node=self.name, code=code, reason=reason, wanted=self._record.wanted)

    def _schedule(self) -> None:
        self._cancel_retry()
        delay_s = restart_delay_s(self._quick_exits)
        self._retry = asyncio.get_running_loop().call_later(delay_s, self._start_again)

    def _start_again(self) -> None:
        self._retry = None
        self._write(restarts=self._record.restarts + 1)
        self._start()

    def _cancel_retry(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

    def _write(self, **fields: object) -> None:
        changed = msgspec.structs.replace(self._record, **fields)
        if changed != self._record:
            records.store(self.directory, changed)
            self._record = changed


def restart_delay_s(quick_exits: int) -> float:
    """Return how long to wait before the next start, after that many exits in a row of a process that did not last."""
    if quick_exits <= 1:
        return 0.0
    return min(RESTART_DELAY_MAX_S, 0.25 * 2.0 ** min(quick_exits - 2, 16))


def describe_exit(code: int | None) -> str:
    """Return what an exit code says, for people."""
    if code is None:
        return "it ended; nobody learnt how, since an earlier supervisor had started it"
    if code < 0:
        return f"it was killed by {signal.Signals(-code).name}"
    return EXIT_MEANINGS.get(code, f"it ended with exit code {code}")


def _find_stray(launch: Launch) -> ProcessName | None:
    """Return a process that runs this very command on this very data directory.

    A shell that inherited the variables does not run the command.
    """
    directory = launch.settings.get(DATA_DIR)
    for pid in process_ids():
        if _runs(pid, launch.command) and environment(pid).get(DATA_DIR) == directory:
            return name_process(pid)
    return None


def _runs(pid: int, command: Sequence[str]) -> bool:
    return arguments(pid) == list(command)


def _limit_log(directory: NodeDirectory) -> None:
    if directory.log.exists() and directory.log.stat().st_size > LOG_BYTES_MAX:
        directory.log.replace(directory.log.with_suffix(".log.1"))
