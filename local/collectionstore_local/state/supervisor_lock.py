"""The supervisor's side of being in charge of a cluster: the lock it holds, and the pipe it is woken by.

- `supervisor.lock` is held by the one supervisor in charge; the kernel lets go of it however that process ends.
- `supervisor.wake` is a named pipe: a byte in it means "look again now". Writing to it fails when nobody listens.
- `supervisor.pid` is for people; nothing trusts it.
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
"""A csctl that looks whether somebody is in charge holds a shared lock for an instant: do not give way to that."""


class AlreadySupervised(LocalError):
    """Another supervisor is in charge of this cluster: there is nothing to do."""


def take_charge(directory: ClusterDirectory) -> IO[bytes]:
    """Become the supervisor of a cluster, for as long as the returned file stays open. Raises AlreadySupervised."""
    file = open(directory.lock, "ab")  # noqa: SIM115 -- open means in charge: it lives as long as the process
    os.fchmod(file.fileno(), FILE_MODE)
    deadline = time.monotonic() + LOCK_WAIT_S
    while not try_lock(file):
        if time.monotonic() > deadline:
            file.close()
            raise AlreadySupervised(f"another supervisor is in charge of {directory.name}")
        time.sleep(0.02)
    write_atomically(directory.pid, f"{os.getpid()}\n".encode(), durable=False)
    return file


def try_lock(file: IO[bytes]) -> bool:
    """Take the lock on an open file, for as long as it stays open; return whether nobody else has it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def listen(directory: ClusterDirectory, woken: Callable[[], None]) -> Callable[[], None]:
    """Call `woken` for every poke, on the running loop; return a function that ends it."""
    if not directory.wake.exists():
        os.mkfifo(directory.wake, FILE_MODE)
    # Read and write: with a writer of our own the pipe never reports end of file.
    descriptor = os.open(directory.wake, os.O_RDWR | os.O_NONBLOCK)
    loop = asyncio.get_running_loop()

    def on_readable() -> None:
        os.read(descriptor, 4096)
        woken()

    def close() -> None:
        loop.remove_reader(descriptor)
        os.close(descriptor)

    loop.add_reader(descriptor, on_readable)
    return close
