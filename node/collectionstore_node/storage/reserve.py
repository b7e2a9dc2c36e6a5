"""The reserve: a file of real blocks in the data directory, given back when a full disk would stop the member.

It shrinks before a write or an opening would fail, and is made again when there is room. Why, and how large: `space`.

What RocksDB does without space, measured with rocksdict 0.3.29: a compaction that fails is counted as a background
error, and writes go on; a flush that fails refuses all writes, and is retried some seconds after there is space; a
write to the WAL that fails leaves a torn record. The first is harmless. The other two end the process (`failstop`), and
the next start has to write the WAL to tables, which is what the reserve is for.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from collectionstore_node.space import SpaceLimits

RESERVE_FILE: Final = "RESERVE"
FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Errors that say that there is no space, and nothing about the disk's health."""
STEPS: Final = 16
"""The reserve is given back in steps of this part."""
PLENTY: Final = 4
PLENTY_S: Final = 0.01
"""With so many times the margin available, nobody fills a disk within this time."""
MARGIN_SHARE: Final = 4
"""This part of it is made available before a write: the write, and the flush of a memtable that it may start."""


def available_bytes(path: Path) -> int:
    """Return the space available to this process on the file system of `path`. Raises `OSError`."""
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize


def filesystem_bytes(path: Path) -> int:
    """Return the size of the file system of `path`. Raises `OSError`."""
    found = os.statvfs(path)
    return found.f_blocks * found.f_frsize


class Reserve:
    """The reserve file of one data directory. Its holder has the directory's lock. Thread-safe."""

    def __init__(
        self,
        directory: Path,
        limits: SpaceLimits,
        available: Callable[[Path], int] = available_bytes,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Find out what is held, without writing. Raises `OSError`."""
        self.limits = limits
        self._directory = directory
        self._path = directory / RESERVE_FILE
        self._available = available
        self._clock = clock
        self._plenty_until = float("-inf")
        self._lock = threading.Lock()
        """Writes come from the event loop, and what gets space back from a thread."""
        self.held_bytes = self._allocated()

    def available_bytes(self) -> int:
        """Return what can be written without touching the reserve. Raises `OSError`."""
        return self._available(self._directory)

    def before_write(self) -> None:
        """Give back as much as the next write and a flush after it may need.

        Costs a `statvfs`, some microseconds, at most every PLENTY_S while there is plenty.

        Called right before a write, and not when the disk becomes full: whoever fills it would take this as well.
        Raises `OSError`.
        """
        if not self.held_bytes or (now := self._clock()) < self._plenty_until:
            return
        needed = self.limits.reserve_bytes // MARGIN_SHARE
        if self.available_bytes() >= PLENTY * needed:
            self._plenty_until = now + PLENTY_S
        else:
            self.give_back(needed)

    def give_back(self, needed_bytes: int) -> bool:
        """Make `needed_bytes` available, as far as the reserve reaches; return whether they are. Raises `OSError`."""
        if self.available_bytes() >= needed_bytes:
            return True
        with self._lock:
            while self.held_bytes and self.available_bytes() < needed_bytes:
                self._shrink(max(0, self.held_bytes - max(1, self.limits.reserve_bytes // STEPS)))
            return self.available_bytes() >= needed_bytes

    def restore(self) -> bool:
        """Reserve the space again if that leaves as much as ends a shortage; return whether it is held. Blocks.

        Raises `OSError` other than that the space is gone.
        """
        limits = self.limits
        with self._lock:
            if self.held_bytes >= limits.reserve_bytes:
                return True
            if self.available_bytes() + self.held_bytes - limits.reserve_bytes < limits.high_bytes:
                return False
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                # Real blocks: `posix_fallocate` writes them itself where the file system cannot set them aside.
                os.posix_fallocate(file, 0, limits.reserve_bytes)
                os.fsync(file)
            except OSError:
                self._release()
                raise
            finally:
                os.close(file)
            # Not measured again: a file system that compresses shows fewer blocks, and would be asked for ever.
            self.held_bytes = limits.reserve_bytes
            return True

    def _shrink(self, size_bytes: int) -> None:
        try:
            if size_bytes:
                os.truncate(self._path, size_bytes)
                self.held_bytes = size_bytes
                return
        except OSError as error:
            # Some file systems need a block in order to free blocks.
            if error.errno not in FULL | {errno.ENOENT}:
                raise
        self._release()

    def _release(self) -> None:
        self._path.unlink(missing_ok=True)
        self.held_bytes = 0

    def _allocated(self) -> int:
        try:
            return min(os.stat(self._path).st_blocks * 512, self.limits.reserve_bytes)
        except FileNotFoundError:
            return 0
