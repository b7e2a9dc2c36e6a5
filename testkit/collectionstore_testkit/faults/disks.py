"""Disks of members: small ones that can really be full, and damage to the files of a member that does not run."""

from __future__ import annotations

import errno
import os
import random
import shutil
import subprocess
from pathlib import Path
from typing import Final

SMALL_DISK_BYTES: Final = 128 << 20
_FILLER: Final = "filler"
_PIECE: Final = bytes(1 << 20)


class SmallDisks:
    """Members whose data directory is on a separate small tmpfs, if this machine allows mounting one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._mounted: dict[str, Path] = {}
        self.refusal = ""
        """Why nothing can be mounted here; empty when nothing was refused."""

    def give(self, name: str, data: Path) -> bool:
        """Have the data directory of a member, which must not exist yet, on a small disk; return whether it is."""
        point = self._folder / f"small-{name}"
        point.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK_BYTES},mode=0700", "tmpfs", str(point)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            self.refusal = done.stderr.strip() if done.returncode != 0 else ""
        except OSError as error:
            self.refusal = str(error)
        if self.refusal:
            return False
        self._mounted[name] = point
        (point / "data").mkdir(mode=0o700)
        data.parent.mkdir(mode=0o700)
        # A link: when the disk is replaced, it is the link that is put aside, and the next one is an ordinary folder.
        data.symlink_to(point / "data")
        return True

    def has(self, name: str, data: Path) -> bool:
        """Return whether a member is on its small disk now."""
        return name in self._mounted and data.is_symlink()

    def fill(self, name: str) -> int:
        """Fill a member's disk to the last byte; return how many were free."""
        return fill_disk(self._mounted[name] / _FILLER)

    def empty(self, name: str) -> None:
        """Take the filling away."""
        (self._mounted[name] / _FILLER).unlink(missing_ok=True)

    def close(self) -> None:
        """Unmount everything; its content is lost."""
        for point in self._mounted.values():
            subprocess.run(["umount", "--lazy", str(point)], capture_output=True, check=False)
        self._mounted.clear()

    def keep(self, target: Path) -> None:
        """Copy the content of small disks, before they are unmounted."""
        for name, point in self._mounted.items():
            self.empty(name)
            shutil.copytree(point / "data", target / f"small-{name}", dirs_exist_ok=True)


def fill_disk(path: Path) -> int:
    """Write zeros to the file `path` until its disk has no free byte; return the size of the file."""
    with path.open("ab", buffering=0) as file:
        piece = _PIECE
        while piece:
            try:
                file.write(piece)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                piece = piece[: len(piece) // 2]
        return file.tell()


def wipe(data: Path) -> None:
    """Delete everything in a data directory; the directory, or the link to it, stays."""
    for entry in data.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def flip_bit(data: Path, suffix: str, randomness: random.Random) -> str | None:
    """Flip one bit in a random file of RocksDB with this suffix; return what was done, None when there is no file."""
    files = sorted(path for path in (data / "rocks").glob(f"*{suffix}") if path.stat().st_size)
    if not files:
        return None
    path = randomness.choice(files)
    size = path.stat().st_size
    offset, bit = randomness.randrange(size), randomness.randrange(8)
    file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        (byte,) = os.pread(file, 1, offset)
        os.pwrite(file, bytes([byte ^ 1 << bit]), offset)
        os.fsync(file)
    finally:
        os.close(file)
    return f"bit {bit} of byte {offset:,} of {size:,} in {path.name}"
