"""Files that a crash leaves whole: the old content or the new one."""

from __future__ import annotations

import os
from pathlib import Path


def write_file(path: Path, data: bytes) -> None:
    """Replace the content of `path` by `data`, atomically and durably. Raises `OSError`."""
    temporary = path.with_name(path.name + ".tmp")
    # O_TRUNC: a crash may have left the temporary file of an earlier attempt.
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        if os.write(file, data) != len(data):
            raise OSError(f"{temporary} could not be written in full; is the disk full?")
        # BEFORE the rename: file systems may order the rename first, and a crash would leave an empty file.
        os.fsync(file)
    finally:
        os.close(file)
    os.replace(temporary, path)
    # The rename itself is durable only once the directory is.
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the entries of the directory `path` durable."""
    file = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
