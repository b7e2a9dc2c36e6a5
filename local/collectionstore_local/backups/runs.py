"""The processes in place of Jobs, and of the Deployment that archives the log.

Invariants:
- a run has one process at most: before a start, running processes are searched for one of this run;
- a run is recorded BEFORE its process starts, so that a supervisor that was killed in between starts it, once;
- it outlives the supervisor; the next one adopts it. It ends with the cluster (`down`) and goes on with it.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec
import structlog

from collectionstore_local.backups import run_records
from collectionstore_local.backups.program import PREFIX, PROGRAM
from collectionstore_local.backups.run_records import RunRecord
from collectionstore_local.backups.work import Job
from collectionstore_local.processes import process
from collectionstore_local.processes.port_allocation import HOST
from collectionstore_local.processes.process import Process, ProcessIdentity, process_ids
from collectionstore_local.state import secret_files
from collectionstore_local.state.directory import DIRECTORY_MODE, ClusterDirectory

STOP_GRACE_S: Final = 10.0
WAITING_S: Final = 5.0
"""How long a run waits before it looks for its Secret again."""
RESULT: Final = f"{PREFIX}RESULT_FILE"

log = structlog.get_logger(__name__)


class Runs:
    """Those of one cluster. `changed` is called when a process ends."""

    def __init__(self, directory: ClusterDirectory, changed: Callable[[], None]) -> None:
        self._directory = directory
        self._path = directory.backups / "runs"
        self._changed = changed
        self._held: dict[str, tuple[Process, asyncio.Event]] = {}

    def recover(self, now: float) -> None:
        """Continue after an earlier supervisor: adopt what runs; what was stopped with the cluster goes on."""
        for record in self._records():
            found = process.adopt(record.process) if record.process is not None else None
            if found is not None:
                self._hold(record.name, found)
            if record.suspended:
                alive = record.process if found is not None else None
                self._store(msgspec.structs.replace(run_records.resumed(record, now), process=alive))

    def find(self, name: str) -> RunRecord | None:
        """Return a run; None if there is none of this name."""
        return run_records.load(self._file(name))

    def scratch(self, name: str) -> str:
        """Return the directory for what a run restores."""
        return str(self._path / f"{name}.scratch")

    def start(self, record: RunRecord, now: float) -> None:
        """Record a run and start it; one of its name is left as it is."""
        if self.find(record.name) is None:
            self._path.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
            self._store(msgspec.structs.replace(record, uid=str(uuid.uuid4())))
            self.advance(now)

    def advance(self, now: float) -> None:
        """Note what has ended, start what is due, end what is beyond its deadline."""
        self._reap()
        for record in self._records():
            if record.state != "Active" or record.suspended:
                continue
            held = self._held.get(record.name)
            if held is not None and not held[0].is_running():
                record = self._ended(record, held[0], now)
            elif held is None and record.process is not None:
                # It ended while no supervisor ran; nothing but its result says how.
                record = self._settle(record, None, now)
            if record.state == "Active" and record.deadline and now >= record.deadline:
                self._end_late(record, now)
            elif record.state == "Active" and record.name not in self._held and now >= record.retry_at:
                self._attempt(record, now)

    def _reap(self) -> None:
        """Let go of the processes that were killed at the deadline of their run."""
        for name, (running, _) in tuple(self._held.items()):
            record = self.find(name)
            if (record is None or record.state != "Active") and not running.is_running():
                self._drop(name)

    def next_at(self) -> float | None:
        """Return when a run is to be looked at next, if nothing ends before; None for never."""
        active = [one for one in self._records() if one.state == "Active" and not one.suspended]
        moments = [one.retry_at for one in active if one.name not in self._held]
        return min([*moments, *(one.deadline for one in active if one.deadline)], default=None)

    async def remove(self, name: str, uid: str = "") -> None:
        """End a run and forget it; only the one with this uid, if one is given."""
        record = self.find(name)
        if record is None or uid not in ("", record.uid):
            return
        await self._stop(name)
        shutil.rmtree(self.scratch(name), ignore_errors=True)
        for suffix in (".result", ".log", ".json"):  # the record last: what is left is found by it
            (self._path / f"{name}{suffix}").unlink(missing_ok=True)

    async def remove_others(self, owners: set[str], now: float, *, kept_s: float) -> None:
        """Remove the runs without an owner, as the garbage collector does, and those that ended so long ago."""
        for record in self._records():
            if record.owner not in owners or (record.ended is not None and now - record.ended > kept_s):
                await self.remove(record.name)

    async def suspend(self, now: float) -> None:
        """End all processes with the cluster; their runs go on when it is started again."""
        names = [one.name for one in self._records() if one.state == "Active" and not one.suspended]
        for record in (self.find(name) for name in names):
            if record is not None:
                # BEFORE the signal: the end that follows is no failure.
                self._store(msgspec.structs.replace(record, suspended=now))
        await asyncio.gather(*(self._stop(name) for name in names))
        for record in (self.find(name) for name in names):
            if record is not None:
                self._store(msgspec.structs.replace(record, process=None, port=0))

    def release(self) -> None:
        """Leave all processes running, for the next supervisor."""
        for name in tuple(self._held):
            self._drop(name)

    def _attempt(self, record: RunRecord, now: float) -> None:
        result = self._result(record.name)
        found = _find(result)
        if found is not None:
            adopted = process.adopt(found)
            if adopted is not None:
                self._hold(record.name, adopted)
                self._store(msgspec.structs.replace(record, process=found, waiting=""))
                return
        variables, missing = self._environment(record.job)
        if missing:
            self._store(msgspec.structs.replace(record, waiting=missing, retry_at=now + WAITING_S))
            return
        result.unlink(missing_ok=True)
        self._log(record.name).unlink(missing_ok=True)
        arguments, port = record.job.arguments, 0
        if record.endless:
            port = _free_port()
            arguments = (*arguments, f"--status-address={HOST}:{port}")
        if f"--scratch={self.scratch(record.name)}" in arguments:
            Path(self.scratch(record.name)).mkdir(mode=DIRECTORY_MODE, exist_ok=True)
        try:
            started = process.start(
                (*PROGRAM, *arguments), {**variables, RESULT: str(result)}, output=self._log(record.name)
            )
        except OSError as error:
            self._store(run_records.after_attempt(record, None, f"it cannot be started: {error.strerror}", now))
            return
        self._hold(record.name, started)
        self._store(msgspec.structs.replace(record, process=started.identity, port=port, waiting=""))
        log.info("backup_run.started", run=record.name, pid=started.identity.pid, attempt=record.failures + 1)

    def _ended(self, record: RunRecord, ended: Process, now: float) -> RunRecord:
        code = ended.exit_code()
        self._drop(record.name)
        return self._settle(record, code if code is None or code >= 0 else 128 - code, now)

    def _settle(self, record: RunRecord, code: int | None, now: float) -> RunRecord:
        result = run_records.tail(self._result(record.name))
        known = run_records.code_of(result) if code is None else code
        # As FallbackToLogsOnError: without a result, the end of the output says why.
        message = result if result or known == 0 else run_records.tail(self._log(record.name))
        changed = run_records.after_attempt(record, known, message, now)
        shutil.rmtree(self.scratch(record.name), ignore_errors=True)
        self._store(changed)
        log.info("backup_run.ended", run=record.name, code=known, state=changed.state)
        return changed

    def _end_late(self, record: RunRecord, now: float) -> None:
        held = self._held.get(record.name)
        if held is not None:
            held[0].send(signal.SIGKILL)  # it ends itself at the same deadline; this one did not
        shutil.rmtree(self.scratch(record.name), ignore_errors=True)
        self._store(run_records.after_deadline(record, now))

    async def _stop(self, name: str) -> None:
        held = self._held.get(name)
        if held is None:
            return
        running, ended = held
        running.send(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_GRACE_S):
                await ended.wait()
        except TimeoutError:
            running.send(signal.SIGKILL)
            await ended.wait()
        self._drop(name)

    def _hold(self, name: str, running: Process) -> None:
        ended = asyncio.Event()
        self._held[name] = running, ended
        asyncio.get_running_loop().add_reader(running.fileno(), self._on_end, name)

    def _on_end(self, name: str) -> None:
        running, ended = self._held[name]
        if running.is_running():
            return  # a spurious wake-up of the selector
        asyncio.get_running_loop().remove_reader(running.fileno())
        ended.set()
        self._changed()

    def _drop(self, name: str) -> None:
        running, _ = self._held.pop(name)
        asyncio.get_running_loop().remove_reader(running.fileno())
        running.close()

    def _environment(self, job: Job) -> tuple[dict[str, str], str]:
        """Return the variables of a process, and which Secret is missing for it."""
        found = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)} | job.variables
        if job.credentials is not None:
            keys = secret_files.read(self._directory, job.credentials)
            if keys is None:
                return {}, _missing(job.credentials)
            found |= {name: value.decode(errors="surrogateescape") for name, value in keys.items()}
        if job.key is not None:
            path = secret_files.file_of(self._directory, *job.key)
            if not path.is_file():
                return {}, _missing(*job.key)
            found[f"{PREFIX}KEY_FILE"] = str(path)
        return found, ""

    def _records(self) -> Iterator[RunRecord]:
        for path in sorted(self._path.glob("*.json")):
            record = run_records.load(path)
            if record is not None:
                yield record

    def _store(self, record: RunRecord) -> None:
        run_records.store(self._file(record.name), record)

    def _file(self, name: str) -> Path:
        return self._path / f"{name}.json"

    def _result(self, name: str) -> Path:
        return self._path / f"{name}.result"

    def _log(self, name: str) -> Path:
        return self._path / f"{name}.log"


def _missing(secret: str, key: str = "") -> str:
    what = f"the key {key} of the Secret {secret}" if key else f"the Secret {secret}"
    return f"{what} is not there; add it to the manifest (kind: Secret) and apply it"


def _find(result: Path) -> ProcessIdentity | None:
    """Return the process that runs for a result file: a supervisor was killed before it could record it."""
    for pid in process_ids():
        if process.environment(pid).get(RESULT) == str(result) and PROGRAM[-1] in process.arguments(pid):
            return process.identify_process(pid)
    return None


def _free_port() -> int:
    """Return a port that is free now; a program that finds it taken ends, and is started again with another one."""
    with socket.socket() as found:
        found.bind((HOST, 0))
        port: int = found.getsockname()[1]
        return port
