"""How a soak is shown: a line that moves while it runs, a summary for people, a document for machines."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Final, TextIO

from collectionstore_node.tests.soak.tally import Failure, Tally

BAR: Final = 30
SHOWN_MAX: Final = 20
"""Failing seeds that are listed; all of them are in the JSON document."""


@dataclass(frozen=True, slots=True)
class Soak:
    """What was asked for, and what came out."""

    layer: int
    first: int
    seeds: int
    jobs: int
    seconds: float
    tally: Tally

    @property
    def seeds_per_second(self) -> float:
        return self.tally.seeds / self.seconds if self.seconds else 0.0


def replay(layer: int, failure: Failure) -> str:
    """Return the command that runs a failing seed again, and shows where it fails."""
    return f".venv/bin/python -m collectionstore_node.tests.soak.run --layer {layer} --first {failure.seed} --seeds 1"


def text(soak: Soak) -> str:
    """Return the summary for people."""
    tally = soak.tally
    lines = [
        f"layer {soak.layer}: {tally.seeds:,} of {soak.seeds:,} seeds from {soak.first} on in {soak.seconds:.1f} s, "
        f"{soak.seeds_per_second:.1f} per second on {soak.jobs} {'process' if soak.jobs == 1 else 'processes'}",
        f"{tally.simulated_s / 3600:,.1f} simulated hours, {tally.operations:,} operations, trace {tally.trace()}",
    ]
    if tally.faults:
        lines.append("faults injected:")
        lines += [f"  {count:>12,}  {name}" for name, count in sorted(tally.faults.items(), key=_by_count)]
    lines += _failures(soak) if tally.failures else ["no seed failed"]
    return "\n".join(lines)


def _by_count(fault: tuple[str, int]) -> tuple[int, str]:
    return -fault[1], fault[0]


def _failures(soak: Soak) -> list[str]:
    failures = soak.tally.failures
    lines = [f"{len(failures):,} {'seed' if len(failures) == 1 else 'seeds'} failed:"]
    for failure in failures[:SHOWN_MAX]:
        lines += [f"  seed {failure.seed}: {failure.error[:300]}", f"    replay: {replay(soak.layer, failure)}"]
    if len(failures) > SHOWN_MAX:
        lines.append(f"  and {len(failures) - SHOWN_MAX:,} more")
    if len(failures) == 1:
        lines += ["", failures[0].traceback.rstrip()]
    return lines


def document(soak: Soak) -> dict[str, object]:
    """Return the summary for machines."""
    tally = soak.tally
    return {
        "layer": soak.layer,
        "first": soak.first,
        "seeds": soak.seeds,
        "done": tally.seeds,
        "jobs": soak.jobs,
        "seconds": round(soak.seconds, 2),
        "seeds_per_second": round(soak.seeds_per_second, 2),
        "simulated_hours": round(tally.simulated_s / 3600, 3),
        "operations": tally.operations,
        "faults": dict(sorted(tally.faults.items())),
        "trace": tally.trace(),
        "failures": [
            {"seed": failure.seed, "error": failure.error, "replay": replay(soak.layer, failure)}
            for failure in tally.failures
        ],
    }


class Progress:
    """A bar on a terminal; nothing where the output goes elsewhere."""

    def __init__(self, total: int, stream: TextIO = sys.stderr) -> None:
        self._total = total
        self._stream = stream
        self._shown = stream.isatty()

    def show(self, done: int, failed: int, seconds: float) -> None:
        if not self._shown:
            return
        full = BAR * done // self._total
        rate = done / seconds if seconds else 0.0
        left = (self._total - done) / rate if rate else 0.0
        failures = f", {failed} failed" if failed else ""
        line = (
            f"\r[{'#' * full}{'.' * (BAR - full)}] {done:,}/{self._total:,}, {rate:.1f}/s, {left:.0f} s left{failures}"
        )
        self._stream.write(f"{line}\x1b[K")
        self._stream.flush()

    def clear(self) -> None:
        if self._shown:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
