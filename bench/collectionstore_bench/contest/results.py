"""What was measured as JSON, with the machine and the settings."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict

import msgspec

from collectionstore_bench.contest.turns import Memory, Turn
from collectionstore_bench.machine import Machine


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
