"""Keeps what was measured, with the machine and the commit, below bench/results/."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

import msgspec

from collectionstore_bench.contest.turns import Memory, Turn
from collectionstore_bench.machine import Machine
from collectionstore_testkit.places import REPOSITORY

FOLDER: Final = REPOSITORY / "bench" / "results"


def as_json(
    machine: Machine,
    settings: Mapping[str, object],
    turns: Sequence[Turn],
    memory: Mapping[str, tuple[Memory, Memory]],
) -> str:
    """Return everything that was measured: each turn, not only medians."""
    content = {
        "machine": asdict(machine),
        "settings": dict(settings),
        "turns": [asdict(turn) for turn in turns],
        "memory": {
            name: {"before": asdict(before), "after": asdict(after)} for name, (before, after) in memory.items()
        },
    }
    return msgspec.json.format(json.dumps(content), indent=2)


def keep(kind: str, machine: Machine, content: str, table: str, folder: Path = FOLDER) -> Path:
    """Write the JSON and the printed table; return the path of the table."""
    folder.mkdir(parents=True, exist_ok=True)
    commit = machine.commit.split()[0]
    place = folder / f"{kind}-{commit}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    place.with_suffix(".json").write_text(content + "\n")
    place.with_suffix(".txt").write_text(table + "\n")
    return place.with_suffix(".txt")
