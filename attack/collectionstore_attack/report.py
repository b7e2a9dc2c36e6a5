"""The rows of the result, as a table or as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from collectionstore_attack.bounds import (
    HOLD_MAX_S,
    RECOVERY_MAX_S,
    SUCCESS_MIN,
    Measured,
)

ANSWERS_SHOWN: Final = 4
COLUMNS: Final = (
    "attack",
    "answers",
    "victim ok",
    "p99 ms",
    "calm ms",
    "leaders",
    "held ms",
    "paused ms",
    "late ms",
    "memory MiB",
    "exits",
    "normal in s",
    "",
)


@dataclass(frozen=True, slots=True)
class Row:
    """One attack and the bounds that it broke."""

    measured: Measured
    broken: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the figures; times in seconds, memory in bytes."""
        one = self.measured
        return {
            "attack": one.attack,
            "answers": dict(one.answers),
            "victim_requests": len(one.during),
            "victim_success": round(one.success, 4),
            "victim_p99_s": round(one.p99_s, 4),
            "calm_p99_s": round(one.calm_p99_s, 4),
            "leader_changes": one.leader_changes,
            "event_loop_held_at_most_s": one.hold_s if one.hold_s != float("inf") else None,
            "event_loop_held_more_than_s": one.hold_floor_s,
            "machine_paused_s": round(one.pause_s, 4),
            "event_loop_delay_at_most_s": one.delay_s if one.delay_s != float("inf") else None,
            "memory_before_bytes": one.memory_before,
            "memory_peak_bytes": one.memory_peak,
            "memory_after_bytes": one.memory_after,
            "exits": one.exits,
            "recovery_s": round(one.recovery_s, 2),
            "broken": list(self.broken),
        }

    def cells(self) -> tuple[str, ...]:
        """Return the cells of the table."""
        one = self.measured
        memory = f"{one.memory_before >> 20} > {one.memory_peak >> 20} > {one.memory_after >> 20}"
        return (
            one.attack,
            ", ".join(f"{answer}: {count:,}" for answer, count in one.answers.most_common(ANSWERS_SHOWN)),
            f"{one.success:.1%}",
            f"{one.p99_s * 1000:.0f}",
            f"{one.calm_p99_s * 1000:.0f}",
            str(one.leader_changes),
            f"{one.hold_s * 1000:.0f}",
            f"{one.pause_s * 1000:.0f}",
            f"{one.delay_s * 1000:.0f}",
            memory,
            str(one.exits),
            f"{one.recovery_s:.1f}",
            "[red]BROKEN[/]" if self.broken else "[green]held[/]",
        )


def show(console: Console, rows: list[Row], memory_max: int) -> None:
    """Print the table, what it means, and each bound that was broken."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for position, name in enumerate(COLUMNS):
        table.add_column(name, justify="left" if position < 2 else "right", no_wrap=position != 1)
    for row in rows:
        table.add_row(*row.cells())
    console.print(table)
    console.print(
        f"\nBounds: no exit, no change of leader, no lost write, victim ok at least {SUCCESS_MIN:.0%},\n"
        f"event loop held for at most {HOLD_MAX_S * 1000:.0f} ms, memory at most {memory_max >> 20} MiB, "
        f"normal within {RECOVERY_MAX_S:g} s after the attack.\n"
        "Memory: before > most > after, of the largest member.\n"
        "Late: no tick was later than this; the next lower bound of the histogram was exceeded.\n"
        "Held: the same without the time that the member waited for a processor.\n"
        "Paused: for so long the machine itself stood still at worst, which counts as held, and is allowed beyond it."
    )
    for row in rows:
        for sentence in row.broken:
            console.print(f"[bold red]BROKEN[/] {row.measured.attack}: {escape(sentence)}")
    if not any(row.broken for row in rows):
        console.print("[bold green]every bound held[/]")
