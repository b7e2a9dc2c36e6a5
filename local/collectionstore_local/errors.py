"""What the local runtime raises on purpose, and the exit code that csctl gives each."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of `csctl local`; documented in its --help and in docs/cli.md."""

    OK = 0
    FAILED = 1
    USAGE = 2
    INVALID_RESOURCE = 3
    PORT_TAKEN = 4
    NOT_FOUND = 5
    TIMED_OUT = 6
    REFUSED = 7


class LocalError(Exception):
    """Something the user has to know and can act on; the text says what happened and what to do."""

    exit_code = ExitCode.FAILED
