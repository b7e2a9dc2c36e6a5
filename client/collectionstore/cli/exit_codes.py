"""The exit codes of csctl, and the error that carries one. See `csctl local --help` and docs/reference/cli.md."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What the exit code of a csctl command means; scripts rely on the numbers."""

    OK = 0
    FAILED = 1
    USAGE = 2
    INVALID_RESOURCE = 3
    PORT_TAKEN = 4
    NOT_FOUND = 5
    TIMED_OUT = 6
    REFUSED = 7
    # 8 to 10 are those of collectionstore-backup, which `csctl backup` and `csctl restore` pass on.
    UNAUTHORIZED = 11
    FORBIDDEN = 12
    CONFLICT = 13
    UNAVAILABLE = 14
    UNKNOWN = 15
    PARTLY = 16
    INTERRUPTED = 130
    READER_GONE = 141


class CommandError(Exception):
    """A command failed for a reason the user can act on; the text says what happened and what to do."""

    exit_code = ExitCode.FAILED
