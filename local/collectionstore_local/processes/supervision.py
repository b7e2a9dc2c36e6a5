"""csctl's side of a supervisor: whether one is in charge, how it is woken, how it is started in the background.

The other side, and what the files are, is in `charge`.
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
    """The supervisor could not be started; the message names its log."""


def is_supervised(directory: ClusterDirectory) -> bool:
    """Return whether a supervisor is in charge of the cluster."""
    return is_locked(directory.lock)


def is_locked(path: Path) -> bool:
    """Return whether a process holds the lock on a file."""
    try:
        with open(path, "rb") as file:
            # A shared lock, so that two csctl that look at the same time do not take each other for the holder.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def poke(directory: ClusterDirectory) -> bool:
    """Make the supervisor look again at once; return whether one listens."""
    try:
        descriptor = os.open(directory.wake, os.O_WRONLY | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENXIO):
            return False
        raise
    try:
        os.write(descriptor, b"!")
    except BlockingIOError:
        pass  # the pipe is full of wake-ups already
    finally:
        os.close(descriptor)
    return True


def start_supervisor(directory: ClusterDirectory) -> None:
    """Start a supervisor in the background, in a session of its own; return at once.

    Harmless when one is running: the second finds the lock taken and ends.
    """
    if directory.log.exists() and directory.log.stat().st_size > LOG_BYTES_MAX:
        directory.log.replace(directory.log.with_suffix(".log.1"))
    # -P: a file in the current folder must not stand in for a library.
    command = (sys.executable, "-P", "-m", MODULE, str(directory.path))
    process.start(command, os.environ, output=directory.log).close()
