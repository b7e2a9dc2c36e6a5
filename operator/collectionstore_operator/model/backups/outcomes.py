"""What a run of `collectionstore-backup` said: its result file, or only its exit code. Pure.

The codes and the fields are those of docs/operate/backup.md. A result that cannot be read is never a success.
"""

from __future__ import annotations

from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import Meta

REASONS: Final = {
    1: "Failed",
    2: "InvalidOption",
    5: "NotFound",
    6: "DeadlineExceeded",
    7: "Refused",
    8: "Corrupt",
    9: "CredentialsRefused",
    10: "Unreachable",
    137: "Killed",
    143: "Killed",
}
FINAL_CODES: Final = (2, 5, 7, 8, 9)
"""Exit codes that a repetition does not change."""
LOST: Final = "ResultLost"
_MESSAGE_MAX: Final = 800

_T = TypeVar("_T")
_Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
_Digest = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
_Id = Annotated[str, Meta(pattern="^[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}$")]


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """A backup that was made, and verified by the run."""

    id: _Id
    cluster_id: str
    member: str
    from_leader: bool
    term: _Count
    index: _Count
    revision: _Count
    state_digest: _Digest
    stored_bytes: _Count
    stream_bytes: _Count
    started_at: str
    finished_at: str
    seconds: Annotated[float, Meta(ge=0)]


class Drilled(msgspec.Struct, frozen=True, kw_only=True):
    """A backup that was restored, opened and compared."""

    id: _Id
    cluster_id: str
    revision: _Count
    records: _Count
    state_digest: _Digest
    seconds: Annotated[float, Meta(ge=0)]


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """Why a run failed."""

    reason: str
    message: str


class _Told(msgspec.Struct, frozen=True, kw_only=True):
    reason: Annotated[str, Meta(pattern="^[A-Z][A-Za-z]{1,63}$")]
    message: str


class _Pruned(msgspec.Struct, frozen=True, kw_only=True):
    log_kept: str = ""


def read_made(message: str) -> Made | Trouble:
    """Return the backup that a run reports which ended with 0."""
    return _read(message, Made)


def read_drilled(message: str) -> Drilled | Trouble:
    """Return the drill that a run reports which ended with 0."""
    return _read(message, Drilled)


def read_log_kept(message: str) -> str:
    """Return why a prune that ended with 0 judged no segment of the archived log; empty if it did, or does not tell."""
    try:
        return msgspec.json.decode(message, type=_Pruned).log_kept[:_MESSAGE_MAX]
    except msgspec.DecodeError:
        return ""  # of a version that leaves the log alone


def _read(message: str, kind: type[_T]) -> _T | Trouble:
    try:
        return msgspec.json.decode(message, type=kind)
    except msgspec.DecodeError as error:
        return Trouble(reason=LOST, message=f"the run has ended, and its result cannot be read: {error}")


def read_trouble(message: str, exit_code: int | None) -> Trouble:
    """Return why a run failed; `message` is its result file, or the end of its output."""
    try:
        told = msgspec.json.decode(message, type=_Told)
    except msgspec.DecodeError:
        reason = REASONS.get(exit_code if exit_code is not None else 1, "Failed")
        code = "" if exit_code is None else f"exit code {exit_code}"
        text = " ".join(message.split())
        # The end: a traceback, or a line of the program, says there what it is about.
        end = text if len(text) <= _MESSAGE_MAX else f"...{text[-_MESSAGE_MAX:]}"
        return Trouble(reason=reason, message=": ".join(part for part in (code, end) if part) or "it gave no reason")
    return Trouble(reason=told.reason, message=told.message[:_MESSAGE_MAX])
