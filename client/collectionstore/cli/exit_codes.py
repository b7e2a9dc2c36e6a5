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


class CommandError(Exception):
    """A command failed for a reason the user can act on; the text says what happened and what to do."""

    exit_code = ExitCode.FAILED
