"""What is kept of a run, in a file of its own: as the API server keeps Jobs. And what an attempt that ended means."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

import msgspec

from collectionstore_local.backups.work import Job
from collectionstore_local.errors import LocalError
from collectionstore_local.processes.process import ProcessIdentity
from collectionstore_local.state.directory import write_atomically
from collectionstore_operator.manifests.backups.jobs import RETRIES
from collectionstore_operator.model.backups.assessment import DEADLINE
from collectionstore_operator.model.backups.observed import Run
from collectionstore_operator.model.backups.outcomes import FINAL_CODES

BACKOFF_S: Final = 10.0
"""Before the second attempt; doubled for each further one, as the Job controller does."""
BACKOFF_MAX_S: Final = 300.0
BACKOFF: Final = "BackoffLimitExceeded"
TAIL_BYTES: Final = 2_048


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A run. Times are Unix seconds."""

    name: str
    uid: str
    owner: str
    """The uid of the backup or the schedule."""
    subject: str = ""
    job: Job
    endless: bool = False
    """It archives the log: it is started again whenever it ends."""
    started: float
    deadline: float = 0.0
    """0 for none."""
    state: Literal["Active", "Succeeded", "Failed"] = "Active"
    process: ProcessIdentity | None = None
    port: int = 0
    failures: int = 0
    retry_at: float = 0.0
    suspended: float = 0.0
    """Since when it is stopped with its cluster; 0 if it is not."""
    ended: float | None = None
    reason: str = ""
    exit_code: int | None = None
    message: str = ""
    waiting: str = ""

    def run(self) -> Run:
        """Return the run as the planner sees it."""
        return Run(
            name=self.name,
            uid=self.uid,
            state=self.state,
            started=self.started,
            ended=self.ended,
            reason=self.reason,
            exit_code=self.exit_code,
            message=self.message,
            failures=self.failures,
            waiting=self.waiting,
            subject=self.subject,
        )


def after_attempt(record: RunRecord, code: int | None, message: str, now: float) -> RunRecord:
    """Return the record after an attempt ended with a code, None if it is not known. Pure."""
    told = msgspec.structs.replace(record, process=None, port=0, exit_code=code, message=message)
    if code == 0 and not record.endless:
        return msgspec.structs.replace(told, state="Succeeded", ended=now)
    failures = record.failures + 1
    if not record.endless and (code in FINAL_CODES or failures > RETRIES):
        return msgspec.structs.replace(told, state="Failed", ended=now, failures=failures, reason=BACKOFF)
    delay_s = min(BACKOFF_MAX_S, BACKOFF_S * 2.0 ** min(failures - 1, 16))
    return msgspec.structs.replace(told, failures=failures, retry_at=now + delay_s)


def after_deadline(record: RunRecord, now: float) -> RunRecord:
    """Return the record of a run whose deadline has passed. Pure."""
    return msgspec.structs.replace(record, process=None, state="Failed", reason=DEADLINE, ended=now)


def resumed(record: RunRecord, now: float) -> RunRecord:
    """Return the record of a run whose cluster runs again: the time that it was down does not count. Pure."""
    if not record.suspended:
        return record
    deadline = record.deadline + now - record.suspended if record.deadline else 0.0
    return msgspec.structs.replace(record, suspended=0.0, deadline=deadline, retry_at=now)


def code_of(result: str) -> int | None:
    """Return the exit code of a process that was no child of ours, from its result; None if it gave none."""
    try:
        told = msgspec.json.decode(result)
    except msgspec.DecodeError:
        return None
    if not isinstance(told, dict):
        return None
    code = told.get("exit_code") if "reason" in told else 0
    return code if isinstance(code, int) else None


def load(path: Path) -> RunRecord | None:
    """Return a record; None if there is none. Raises LocalError if it is corrupt."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=RunRecord)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise LocalError(f"{path} is corrupt: {error}. Delete it: the run finds what it has made") from error


def store(path: Path, record: RunRecord) -> None:
    """Write a record, durably."""
    write_atomically(path, msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n")


def tail(path: Path) -> str:
    """Return the end of a log."""
    try:
        return path.read_bytes()[-TAIL_BYTES:].decode(errors="replace").strip()
    except FileNotFoundError:
        return ""
