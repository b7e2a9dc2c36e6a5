"""What can go wrong, each with its exit code. Texts say what, where and what to do, and hold no secret or document."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit codes of `collectionstore-backup`; 0 to 7 mean what they mean for `csctl`."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 5
    TIMED_OUT = 6
    REFUSED = 7
    CORRUPT = 8
    CREDENTIALS = 9
    UNREACHABLE = 10


class BackupError(Exception):
    """Base of what the program reports; also a failure that no other class fits."""

    exit_code = ExitCode.FAILED
    reason = "Failed"
    """The kind of failure in one word, for a program that reads the result."""


class InvalidUse(BackupError):
    """An option or a file that it names has no meaning here."""

    exit_code = ExitCode.USAGE
    reason = "InvalidOption"


class NotFound(BackupError):
    """There is no such backup, or the repository is empty."""

    exit_code = ExitCode.NOT_FOUND
    reason = "NotFound"


class TimedOut(BackupError):
    """The deadline passed."""

    exit_code = ExitCode.TIMED_OUT
    reason = "DeadlineExceeded"


class Refused(BackupError):
    """It would destroy or mix data, or delete the last good backup."""

    exit_code = ExitCode.REFUSED
    reason = "Refused"


class Corrupt(BackupError):
    """What is stored is not what was written."""

    exit_code = ExitCode.CORRUPT
    reason = "Corrupt"


class CredentialsRefused(BackupError):
    """The cluster or the repository does not accept the credentials, or the key is not the one of the backup."""

    exit_code = ExitCode.CREDENTIALS
    reason = "CredentialsRefused"


class Unreachable(BackupError):
    """The cluster or the repository does not answer, or cannot serve this now."""

    exit_code = ExitCode.UNREACHABLE
    reason = "ClusterUnreachable"


class StoreUnreachable(Unreachable):
    """The repository does not answer."""

    reason = "StoreUnreachable"


class StoreFull(BackupError):
    """There is no room for the object; nothing that looks complete was written."""

    reason = "StoreFull"
