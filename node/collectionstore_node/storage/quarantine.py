"""The mark of a data directory whose state is known to be wrong: the node that finds it refuses to start.

A node that was found to hold another state than the majority cannot repair itself, and must not come back by a mere
restart: its log is whole, so it would vote, serve reads and even lead.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from collectionstore_node.errors import DataDirectoryRefused
from collectionstore_node.storage.durable_file import write_file

QUARANTINE_FILE: Final = "CONDEMNED"


def quarantine(directory: Path, reason: str) -> None:
    """Leave the mark, durably. `reason` says what was found and what to do, for people. Raises `OSError`."""
    write_file(directory / QUARANTINE_FILE, reason.encode() + b"\n")


def check_not_quarantined(directory: Path) -> None:
    """Raise `DataDirectoryRefused` with the reason when the directory bears the mark. Raises `OSError`."""
    try:
        reason = (directory / QUARANTINE_FILE).read_bytes()
    except FileNotFoundError:
        return
    raise DataDirectoryRefused(
        f"{directory} was condemned by the node itself. {reason.decode(errors='replace').strip()}"
    )
