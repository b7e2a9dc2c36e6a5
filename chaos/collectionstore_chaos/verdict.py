"""What the recorded history says about the store, and where it is kept."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from collectionstore_chaos.lab import Event
from collectionstore_chaos.report import Result
from collectionstore_testkit.histories.checker import check
from collectionstore_testkit.histories.operations import Operation, save
from collectionstore_testkit.histories.pauses import write_pauses
from collectionstore_testkit.recorded_load import by_kind

UNAVAILABLE_S = 1.0
"""A pause of all writes that is longer counts as unavailability; a good part of the faults takes a leader away."""
HISTORY = "history.jsonl"
EVENTS = "events.jsonl"


def keep(folder: Path, history: Sequence[Operation], events: Sequence[Event]) -> None:
    """Write history and events, one JSON object a line."""
    save(folder / HISTORY, history)
    (folder / EVENTS).write_text("".join(json.dumps(asdict(event)) + "\n" for event in events))


def judge(result: Result, history: Sequence[Operation], begin: float, end: float) -> None:
    """Add the evaluation of the history to the result: counts, pauses and violations."""
    result.operations = {kind: dict(counts) for kind, counts in by_kind(history).items()}
    pauses = write_pauses(history, begin, end)
    result.measured_s = end - begin
    result.longest_write_pause_s = max(pauses)
    result.unavailable_s = sum(pause for pause in pauses if pause > UNAVAILABLE_S)
    result.keys = len({key for one in history for key in one.keys})
    began = time.monotonic()
    verdict = check(history)
    result.check_s = time.monotonic() - began
    if not verdict.ok:
        result.broken.append(f"the history is {verdict.linearizable.value}:\n{verdict.explanation}")
