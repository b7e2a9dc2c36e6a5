"""The result of a run, as tables or as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table

SHOWN_MAX = 20
"""So many disagreements are printed; all are kept."""


@dataclass(slots=True)
class Faults:
    """The faults of one kind."""

    count: int
    seconds: float


@dataclass(slots=True)
class Result:
    """The result that is printed at the end. `broken` names each violated promise."""

    seed: int
    nodes: int
    minutes: float
    kinds: tuple[str, ...]
    at_once: int
    disk_full_by: str
    disks_max: int
    faults: dict[str, Faults] = field(default_factory=dict)
    not_possible: int = 0
    most_damaged: int = 0
    operations: dict[str, dict[str, int]] = field(default_factory=dict)
    """kind -> outcome -> count"""
    transactions: dict[str, int] = field(default_factory=dict)
    """Those of the bank, by kind and result."""
    measured_s: float = 0.0
    longest_write_pause_s: float = 0.0
    unavailable_s: float = 0.0
    keys: int = 0
    compared_keys: int = 0
    check_s: float = 0.0
    broken: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not self.broken

    def as_json(self) -> dict[str, Any]:
        """Return everything, ready to be printed."""
        return asdict(self) | {"verdict": "good" if self.good else "broken"}

    def show(self, console: Console) -> None:
        """Print tables and verdict."""
        console.print(_table(("fault", "times", "seconds"), _fault_rows(self.faults)))
        console.print()
        outcomes = ("ok", "failed", "unknown")
        rows = [
            (kind, *(f"{counts.get(outcome, 0):,}" for outcome in outcomes))
            for kind, counts in sorted(self.operations.items())
        ]
        console.print(_table(("operation", *outcomes), rows))
        console.print()
        if self.transactions:
            rows = [(kind, f"{count:,}") for kind, count in sorted(self.transactions.items())]
            console.print(_table(("transaction of the bank", "times"), rows))
            console.print()
        share = 100 * self.unavailable_s / self.measured_s if self.measured_s else 0.0
        facts = [
            ("seed", str(self.seed)),
            ("members", f"{self.nodes}, concurrent faults: up to {self.at_once}"),
            ("disks damaged concurrently", f"{self.most_damaged}, budget {self.disks_max} of {self.nodes}"),
            ("a full disk is", self.disk_full_by),
            ("longest pause of writes", f"{self.longest_write_pause_s:.1f} s"),
            ("without a write for over 1 s", f"{self.unavailable_s:.1f} s of {self.measured_s:.0f} s, {share:.0f} %"),
            ("history", f"{self.keys:,} keys, checked in {self.check_s:.1f} s"),
            ("members compared", f"{self.compared_keys:,} keys on each of {self.nodes}"),
        ]
        console.print(_table(None, facts))
        console.print()
        for line in self.broken[:SHOWN_MAX]:
            console.print(f"[bold red]BROKEN[/] {line}", highlight=False, markup=True)
        if len(self.broken) > SHOWN_MAX:
            console.print(f"... and {len(self.broken) - SHOWN_MAX} more")
        if self.good:
            console.print("[bold green]every promise was kept[/]: linearizable, nothing lost, all members equal")


def _fault_rows(faults: dict[str, Faults]) -> Sequence[tuple[str, ...]]:
    rows = [(kind, str(one.count), f"{one.seconds:.1f}") for kind, one in sorted(faults.items())]
    total = sum(one.count for one in faults.values())
    return [*rows, ("all", str(total), f"{sum(one.seconds for one in faults.values()):.1f}")]


def _table(columns: Sequence[str] | None, rows: Sequence[Sequence[str]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", show_header=columns is not None)
    for position, column in enumerate(columns or ("", "")):
        table.add_column(column, justify="right" if columns is not None and position else "left")
    for row in rows:
        table.add_row(*row)
    return table
