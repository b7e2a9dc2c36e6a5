"""The lock that keeps a data directory to one process."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final

from collectionstore_node.errors import DataDirectoryRefused

LOCK_FILE: Final = "LOCK"


class DirectoryLock:
    """An exclusive `flock` on the file LOCK, which names the holder; the kernel frees it with the process."""

    def __init__(self, directory: Path) -> None:
        """Take the lock. Raises `DataDirectoryRefused` if another process holds it, `OSError` on any other error."""
        self._file = os.open(directory / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._named = False
        # `flock`, not `lockf`: the kernel drops a POSIX lock when the process closes ANY descriptor of the file.
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._file, 32, 0).decode(errors="replace").strip()
            os.close(self._file)
            by = f"process {holder}" if holder.isdigit() else "another process"
            raise DataDirectoryRefused(
                f"{directory} is in use by {by}. Stop it, or set COLLECTIONSTORE_DATA_DIR to another directory."
            ) from None

    def name_holder(self) -> None:
        """Write this process into the file. Raises `OSError`: it needs a block of the disk."""
        # Only AFTER the lock was taken: until then the content names another holder.
        os.ftruncate(self._file, 0)
        self._named = True
        os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Release the lock."""
        # The file stays. If it were removed, a process that has it open and one that creates it again would both hold
        # "the" lock, on two inodes.
        if self._named:
            os.ftruncate(self._file, 0)
        os.close(self._file)
