"""The lock that makes one process the supervisor of a cluster, and the pipe that wakes it: the supervisor's side.

- `supervisor.lock` is held by the supervisor; the kernel releases it however that process ends.
- `supervisor.wake` is a named pipe: a byte in it means "reconcile now". A write fails while no supervisor reads it.
- `supervisor.pid` is informational; no decision depends on it.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from collections.abc import Callable
from typing import IO

from collectionstore_local.errors import LocalError
from collectionstore_local.state.directory import FILE_MODE, ClusterDirectory, write_atomically

LOCK_WAIT_S = 0.5
"""csctl holds a shared lock for an instant to find out whether a supervisor runs: retry for longer than that."""


class AlreadySupervised(LocalError):
    """Another process is the supervisor of this cluster."""


def acquire_supervisor_lock(directory: ClusterDirectory) -> IO[bytes]:
    """Become the supervisor of a cluster until the returned file is closed. Raises AlreadySupervised."""
    file = open(directory.lock, "ab")  # noqa: SIM115 -- the open file holds the lock
    os.fchmod(file.fileno(), FILE_MODE)
    deadline = time.monotonic() + LOCK_WAIT_S
    while not try_lock(file):
        if time.monotonic() > deadline:
            file.close()
            raise AlreadySupervised(f"{directory.name} has another supervisor")
        time.sleep(0.02)
    write_atomically(directory.pid, f"{os.getpid()}\n".encode(), durable=False)
    return file


def try_lock(file: IO[bytes]) -> bool:
    """Lock an open file until it is closed; return False if another process holds the lock."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def listen_for_wakeups(directory: ClusterDirectory, on_wake_up: Callable[[], None]) -> Callable[[], None]:
    """Call `on_wake_up` on the running loop whenever csctl writes to the pipe; return a function that ends it."""
    if not directory.wake.exists():
        os.mkfifo(directory.wake, FILE_MODE)
    # Opened for writing too: without any writer the pipe would report end of file, and be readable, all the time.
    descriptor = os.open(directory.wake, os.O_RDWR | os.O_NONBLOCK)
    loop = asyncio.get_running_loop()

    def on_readable() -> None:
        os.read(descriptor, 4096)
        on_wake_up()

    def close() -> None:
        loop.remove_reader(descriptor)
        os.close(descriptor)

    loop.add_reader(descriptor, on_readable)
    return close
