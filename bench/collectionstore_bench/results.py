"""Keeps what was measured, with the machine and the commit, below bench/results/."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from collectionstore_bench.machine import Machine
from collectionstore_testkit.places import REPOSITORY

FOLDER: Final = REPOSITORY / "bench" / "results"


def keep(kind: str, machine: Machine, content: str, table: str, folder: Path = FOLDER) -> Path:
    """Write the JSON and the printed table; return the path of the table."""
    folder.mkdir(parents=True, exist_ok=True)
    commit = machine.commit.split()[0]
    place = folder / f"{kind}-{commit}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    place.with_suffix(".json").write_text(content + "\n")
    place.with_suffix(".txt").write_text(table + "\n")
    return place.with_suffix(".txt")
