"""Runs one command within its deadline, whatever hangs, and turns what goes wrong into a message and an exit code."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from typing import Final, NoReturn, TypeVar

from collectionstore_node.backup.errors import BackupError, ExitCode, Refused, TimedOut
from collectionstore_node.backup.results import record_failure
from collectionstore_node.errors import DataDirectoryRefused, NodeError

T = TypeVar("T")

INTERRUPTED: Final = 130


def within(deadline_s: float, what: str, work: Callable[[], T]) -> T:
    """Return the result of `work`, or raise what it raises. Ends the process when the deadline passes.

    The work runs in a thread, because a call into a library or the kernel cannot be interrupted. What it was doing is
    harmless at every point: nothing looks complete before it is.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name=what, daemon=True)
    thread.start()
    try:
        thread.join(deadline_s)
    except KeyboardInterrupt:
        end(INTERRUPTED, f"{what} was interrupted; it left nothing that looks complete")
    if thread.is_alive():
        error = TimedOut(f"{what} did not end within {deadline_s:g} s; it left nothing that looks complete")
        record_failure(error.reason, str(error), error.exit_code)
        end(error.exit_code, str(error))
    if errors:
        raise errors[0]
    return results[0]


def end(code: int, message: str) -> NoReturn:
    """Print a message and end the process at once: a thread of it may hang for ever."""
    sys.stdout.flush()
    sys.stderr.write(f"collectionstore-backup: {message}\n")
    sys.stderr.flush()
    os._exit(code)


def reason_of(error: Exception) -> str:
    """Return the kind of a failure in one word."""
    if isinstance(error, BackupError):
        return error.reason
    return Refused.reason if isinstance(error, DataDirectoryRefused) else BackupError.reason


def failure(error: Exception) -> tuple[int, str] | None:
    """Return exit code and message of an error that is not a bug of this program, else None."""
    if isinstance(error, BackupError):
        return error.exit_code, str(error)
    if isinstance(error, DataDirectoryRefused):
        return ExitCode.REFUSED, str(error)
    if isinstance(error, NodeError):
        return ExitCode.FAILED, str(error)
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return ExitCode.FAILED, f"{where}{error.strerror or error}"
    return None
