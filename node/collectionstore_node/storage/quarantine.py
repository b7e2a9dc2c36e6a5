"""The quarantine mark: a data directory whose state is known to be wrong is never opened again.

A node whose state differs from the majority's cannot repair itself, and a restart must not bring it back: its log is
intact, so it would vote, serve reads and could become leader.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from collectionstore_node.errors import DataDirectoryRefused
from collectionstore_node.storage.durable_file import write_file

QUARANTINE_FILE: Final = "CONDEMNED"
"""The name is part of the data format: programs of earlier versions refuse a directory that contains it."""


def quarantine(directory: Path, reason: str) -> None:
    """Write the mark durably. `reason` says what was found and what to do. Raises `OSError`."""
    write_file(directory / QUARANTINE_FILE, reason.encode() + b"\n")


def check_not_quarantined(directory: Path) -> None:
    """Raise `DataDirectoryRefused` with the reason if the directory has the mark. Raises `OSError`."""
    try:
        reason = (directory / QUARANTINE_FILE).read_bytes()
    except FileNotFoundError:
        return
    raise DataDirectoryRefused(
        f"{directory} is quarantined: this node found its own state to be wrong. "
        f"{reason.decode(errors='replace').strip()}"
    )
