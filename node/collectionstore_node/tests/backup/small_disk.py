"""A disk that can really be full: a small tmpfs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from collectionstore_testkit.faults.disks import fill_disk

SIZE: Final = 160 << 20


class SmallDisk:
    """A mounted disk of `SIZE` bytes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._filler = path / "filler"

    def fill(self, leave: int = 0) -> None:
        """Leave no more than `leave` bytes free."""
        size = fill_disk(self._filler)
        os.truncate(self._filler, max(0, size - leave))

    def empty(self) -> None:
        """Take the filling away."""
        self._filler.unlink(missing_ok=True)


@contextmanager
def mounted(path: Path) -> Iterator[SmallDisk]:
    """Mount one at `path`; skip the test where that is not allowed."""
    path.mkdir()
    options = f"size={SIZE},mode=0700"
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"no small disk can be mounted here, for want of root: {done.stderr.strip()}")
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)
