"""The supervisor as csctl sees it: whether one runs, how it is woken, and how it is started in the background.

`state.supervisor_lock` is the supervisor's side, and documents the files.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sys
from pathlib import Path

from collectionstore_local.errors import LocalError
from collectionstore_local.processes import process
from collectionstore_local.state.directory import ClusterDirectory

LOG_BYTES_MAX = 16 << 20
MODULE = "collectionstore_local.supervisor.supervisor"


class SupervisorLost(LocalError):
    """The supervisor did not start, or has ended; the message names its log."""


def is_supervised(directory: ClusterDirectory) -> bool:
    """Return whether the cluster has a running supervisor."""
    return is_locked(directory.lock)


def is_locked(path: Path) -> bool:
    """Return whether a process holds the exclusive lock on a file."""
    # Opened for reading, which never creates it: csctl must not leave files of a cluster that does not exist.
    try:
        with open(path, "rb") as file:
            # A shared lock: two csctl that check at the same time must not take each other for the supervisor.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def wake_supervisor(directory: ClusterDirectory) -> bool:
    """Make the supervisor reconcile now; return False if none reads the pipe."""
    # O_NONBLOCK: without a reader, open would wait for one; so it fails with ENXIO.
    try:
        descriptor = os.open(directory.wake, os.O_WRONLY | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENXIO):
            return False
        raise
    try:
        os.write(descriptor, b"!")
    except BlockingIOError:
        pass  # the pipe is full: a wake-up is pending anyway
    finally:
        os.close(descriptor)
    return True


def start_supervisor(directory: ClusterDirectory) -> None:
    """Start a supervisor in the background, in a new session, and return immediately.

    Harmless if one runs already: the second finds the lock held and exits.
    """
    if directory.log.exists() and directory.log.stat().st_size > LOG_BYTES_MAX:
        directory.log.replace(directory.log.with_suffix(".log.1"))
    # -P: a file in the current directory must not shadow a library.
    command = (sys.executable, "-P", "-m", MODULE, str(directory.path))
    process.start(command, os.environ, output=directory.log).close()
