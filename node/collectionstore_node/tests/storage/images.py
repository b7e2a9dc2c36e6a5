"""Crash images: copies of a data directory as the disk would hold it, and damage done to them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

_BLOCK = 32768
_HEADER = 7
_FULL, _LAST = 1, 4


def copy(source: Path, to: Path) -> Path:
    """Copy a data directory, open or not, as a crash of the process would leave it."""
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(source, to)
    return to


def wals(directory: Path) -> list[Path]:
    """Return the write-ahead logs of a data directory, oldest first."""
    return sorted(directory.glob("rocks/*.log"))


def record_ends(wal: Path) -> list[int]:
    """Return the offsets behind each record of a write-ahead log (RocksDB's format: blocks of fragments)."""
    return list(_record_ends(wal.read_bytes()))


def flip(path: Path, offset: int) -> None:
    """Change one byte."""
    data = bytearray(path.read_bytes())
    data[offset] ^= 0x40
    path.write_bytes(data)


def overwrite(path: Path, offset: int, data: bytes) -> None:
    """Write over a part of a file."""
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def cut(path: Path, size: int) -> None:
    """Shorten a file."""
    with path.open("r+b") as file:
        file.truncate(size)


def _record_ends(data: bytes) -> Iterator[int]:
    offset = 0
    while offset < len(data):
        left = _BLOCK - offset % _BLOCK
        if left < _HEADER:
            offset += left
            continue
        length, kind = int.from_bytes(data[offset + 4 : offset + 6], "little"), data[offset + 6]
        offset += _HEADER + length
        if kind in (_FULL, _LAST):
            yield offset


def remove(path: Path) -> None:
    """Remove a file or a directory."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
