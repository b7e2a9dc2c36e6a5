"""Keeps node processes running, as the kubelet does containers of pods.

A node that should run and ends is restarted with the same settings: at once the first time, then after a delay that
doubles up to RESTART_DELAY_MAX_S and is reset once the node has run for STABLE_AFTER_S. A node that still runs when a
supervisor starts is adopted, not restarted. Whether a node should run, and with which settings, is decided elsewhere.

Invariants:
- at most one process per data directory: before a start, running processes are searched for one with that directory;
- a stop waits until the process has ended; it sends SIGKILL only after STOP_GRACE_S.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence

import msgspec
import structlog

from collectionstore_local.processes import node_records
from collectionstore_local.processes.node_records import Launch, NodeExit, NodeRecord
from collectionstore_local.processes.process import (
    Process,
    ProcessIdentity,
    adopt,
    arguments,
    environment,
    identify_process,
    process_ids,
    start,
)
from collectionstore_local.state import volumes
from collectionstore_local.state.directory import NodeDirectory
from collectionstore_operator.manifests.node_environment import PREFIX

RESTART_DELAY_MAX_S = 30.0
STABLE_AFTER_S = 30.0
STOP_GRACE_S = 15.0
LOG_BYTES_MAX = 64 << 20
DATA_DIR = f"{PREFIX}DATA_DIR"

SEPARATOR = "--"
"""In a command: what comes after it takes the place of the process (backups.restored_start)."""

CANNOT_START = 126
"""The exit code recorded for a program that cannot be started, as in shells."""

EXIT_MEANINGS: Mapping[int, str] = {
    0: "it stopped on request",
    64: "its settings were invalid",
    65: "its data directory was rejected",
    69: "an address was in use",
    70: "internal error",
    71: "it had no file descriptor left",
    74: "its disk failed",
    75: "it had no memory left",
    76: "its data is of a newer feature level than its version",
}

log = structlog.get_logger(__name__)


class Node:
    """The process of one node. `changed` is called after every start and end."""

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
        """The record as written: desired state, settings, last process and last exit."""
        return self._record

    @property
    def running(self) -> bool:
        return self._process is not None

    @property
    def quick_exits(self) -> int:
        """How many processes in a row ended before they were stable; 0 once one is."""
        return 0 if self.running and self._is_stable() else self._quick_exits

    def recover(self, *, start_desired: bool) -> None:
        """Continue after an earlier supervisor: adopt the process if it runs, else start it if `start_desired`."""
        self._record = node_records.load(self.directory)
        recorded = self._record.process
        process = adopt(recorded) if recorded is not None else None
        if process is not None:
            self._watch(process, self._record.started_at)
            log.info("node.adopted", node=self.name, pid=process.identity.pid)
        elif self._record.should_run and start_desired:
            if recorded is not None:
                self._record_exit(None, "it ended while no supervisor was running")
            self._start()

    def ensure_running(self, launch: Launch) -> bool:
        """Start the node if it does not run; return whether it was started. A running node keeps its settings."""
        if self._process is not None:
            self._write(should_run=True)
            return False
        self._cancel_retry()
        self._quick_exits = 0
        # BEFORE the start: a supervisor that ends in between leaves a record from which the next one starts the node.
        self._write(should_run=True, launch=launch, restarts=0)
        self._start()
        return True

    async def stop(self) -> None:
        """Stop the node and return when its process has ended. It is not restarted."""
        self._cancel_retry()
        # BEFORE the signal: neither this supervisor nor the next one may take the end for a crash and restart the node.
        self._write(should_run=False)
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
        self.ensure_running(launch)

    def release(self) -> None:
        """Close the handle and leave the process running: the next supervisor adopts it."""
        self._cancel_retry()
        if self._process is not None:
            asyncio.get_running_loop().remove_reader(self._process.fileno())
            self._process.close()
            self._process = None

    def _start(self) -> None:
        launch = self._record.launch
        if launch is None:
            raise RuntimeError(f"{self.name} should run, but its record has no command")
        # A supervisor that was killed between a start and its record leaves a process that no record names. It is
        # searched for BEFORE every start: there must never be two processes on one data directory.
        found = _find_unrecorded(launch)
        if found is not None:
            self._adopt_unrecorded(found, launch)
            return
        # COLLECTIONSTORE_ variables of the user's shell must not reach a node: the resource has all settings.
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        try:
            volumes.create(self.directory)
            _limit_log(self.directory)
            process = start(launch.command, {**inherited, **launch.settings}, output=self.directory.log)
        except OSError as error:
            self._quick_exits += 1
            # BEFORE the record, as in `_on_end`.
            self._schedule()
            self._record_exit(CANNOT_START, _describe_start_failure(launch.command[0], error))
            return
        self._watch(process, time.time())
        log.info("node.started", node=self.name, pid=process.identity.pid, revision=launch.revision)

    def _adopt_unrecorded(self, identity: ProcessIdentity, launch: Launch) -> None:
        process = adopt(identity)
        if process is None:
            self._schedule()  # it ended between the search and the adoption: start after the usual delay
            return
        # Its own environment, not `launch`: it may have been started with older settings, and needs a restart then.
        settings = {key: value for key, value in environment(identity.pid).items() if key.startswith(PREFIX)}
        revision = launch.revision if settings == launch.settings else "unknown"
        self._write(launch=Launch(command=launch.command, settings=settings, revision=revision))
        self._watch(process, time.time())
        log.info("node.adopted", node=self.name, pid=identity.pid, reason="it was running on this data directory")

    def _watch(self, process: Process, started_at: float) -> None:
        loop = asyncio.get_running_loop()
        self._process = process
        self._started_on_loop = loop.time()
        self._ended.clear()
        # A pidfd becomes readable when its process ends, also one that is not a child. SIGCHLD would miss those.
        loop.add_reader(process.fileno(), self._on_end)
        self._changed()
        # AFTER the watch, which must not depend on a full disk; BEFORE anything else happens on the loop: csctl and the
        # next supervisor find the process by this record only.
        self._write(process=process.identity, started_at=started_at)

    def _on_end(self) -> None:
        process = self._process
        if process is None or process.is_running():
            return  # a spurious wake-up of the selector
        # BEFORE the descriptor is closed: its number may be reused, and the selector would report the new file.
        asyncio.get_running_loop().remove_reader(process.fileno())
        code = process.exit_code()
        self._quick_exits = 0 if self._is_stable() else self._quick_exits + 1
        process.close()
        self._process = None
        self._ended.set()
        # BEFORE the record: a full disk ends nodes and prevents the record, and nothing else would restart the node.
        if self._record.should_run:
            self._schedule()
        self._changed()
        self._record_exit(code, describe_exit(code))

    def _is_stable(self) -> bool:
        return asyncio.get_running_loop().time() - self._started_on_loop >= STABLE_AFTER_S

    def _record_exit(self, code: int | None, reason: str) -> None:
        self._write(last_exit=NodeExit(code=code, at=time.time(), reason=reason))
        log.info("node.ended", node=self.name, code=code, reason=reason, wanted=self._record.should_run)

    def _schedule(self) -> None:
        self._cancel_retry()
        delay_s = restart_delay_s(self._quick_exits)
        self._retry = asyncio.get_running_loop().call_later(delay_s, self._start_again)

    def _start_again(self) -> None:
        self._retry = None
        self._start()
        self._write(restarts=self._record.restarts + 1)

    def _cancel_retry(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

    def _write(self, **fields: object) -> None:
        changed = msgspec.structs.replace(self._record, **fields)
        if changed != self._record:
            node_records.store(self.directory, changed)
            self._record = changed


def restart_delay_s(quick_exits: int) -> float:
    """Return the delay before the next start, after this many exits in a row before the process was stable."""
    if quick_exits <= 1:
        return 0.0
    return min(RESTART_DELAY_MAX_S, 0.25 * 2.0 ** min(quick_exits - 2, 16))


def describe_exit(code: int | None) -> str:
    """Return the meaning of an exit code, for messages."""
    if code is None:
        return "it ended; the exit code is unknown, because an earlier supervisor had started it"
    if code < 0:
        return f"it was killed by {signal.Signals(-code).name}"
    return EXIT_MEANINGS.get(code, f"it ended with exit code {code}")


def _describe_start_failure(program: str, error: OSError) -> str:
    where = f": {error.filename}" if error.filename not in (None, program) else ""
    return f"{program} cannot be started: {error.strerror}{where}"


def _find_unrecorded(launch: Launch) -> ProcessIdentity | None:
    """Return a process that runs this command on this data directory.

    The command is compared too: a shell that inherited the variables is not a node.
    """
    directory = launch.settings.get(DATA_DIR)
    for pid in process_ids():
        if _runs(pid, launch.command) and environment(pid).get(DATA_DIR) == directory:
            return identify_process(pid)
    return None


def _runs(pid: int, command: Sequence[str]) -> bool:
    found = arguments(pid)
    # A node that begins with a restore replaces the program that has made its data.
    return found == list(command) or (SEPARATOR in command and found == list(command[command.index(SEPARATOR) + 1 :]))


def _limit_log(directory: NodeDirectory) -> None:
    if directory.log.exists() and directory.log.stat().st_size > LOG_BYTES_MAX:
        directory.log.replace(directory.log.with_suffix(".log.1"))
