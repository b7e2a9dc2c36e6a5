"""Figures of a measurement: collected while it runs, and printed as a table or as JSON."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import msgspec

from collectionstore_bench.machine import Machine
from collectionstore_bench.tables import table


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value."""

    part: str
    case: str
    what: str
    value: float
    unit: str
    note: str = ""


Report = Callable[[Figure], None]


def shown(value: float) -> str:
    """Return a number with about three digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def end_with_sigterm() -> None:
    """Have SIGTERM cancel the running task, so that what is known by then is printed."""
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)


def print_json(machine: Machine, settings: Mapping[str, object], found: Sequence[Figure]) -> None:
    """Print all that is known, for other programs."""
    result = {"machine": asdict(machine), "settings": settings, "figures": [asdict(one) for one in found]}
    print(msgspec.json.format(json.dumps(result), indent=2))


def print_table(machine: Machine, settings: str, found: Sequence[Figure]) -> None:
    """Print a table; `settings` says in a line how it was measured."""
    lines = [(one.part, one.case, one.what, shown(one.value), one.unit, one.note) for one in found]
    print("\n".join([*machine.lines(), f"settings  {settings}", ""]))
    print(table(("part", "case", "what", "value", "", "note"), lines, right=(3,)))
