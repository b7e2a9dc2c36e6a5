"""How far something long has got: a bar on a terminal, nothing elsewhere; always on stderr."""

from __future__ import annotations

import sys
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from collectionstore.cli import streams


class Bar:
    """A bar of known length, or a count without one; `unit` names what is counted: documents, bytes."""

    def __init__(self, title: str, *, total: int | None, unit: str) -> None:
        shown = streams.is_terminal(sys.stderr)
        self._total = total
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            *((TaskProgressColumn(),) if total is not None else ()),
            _Count(unit),
            _Rate(unit),
            *((TimeRemainingColumn(compact=True),) if total is not None else ()),
            console=Console(stderr=True, highlight=False, no_color=not streams.colored(sys.stderr) or None),
            transient=True,
            disable=not shown,
            expand=True,
        )
        self._task = self._progress.add_task(title, total=total)

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def at(self, done: int, *, note: str = "") -> None:
        """Say how far it has got; `note` is shown behind the count."""
        if self._total is not None:
            done = min(done, self._total)
        self._progress.update(self._task, completed=done, note=note)

    def say(self, text: str) -> None:
        """Show a line above the bar."""
        self._progress.console.print(text, markup=False, soft_wrap=True)


class _Count(ProgressColumn):
    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        note = task.fields.get("note") or ""
        text = size(task.completed) if self._unit == "bytes" else f"{int(task.completed):,} {self._unit}"
        return Text(f"{text} {note}".rstrip(), no_wrap=True)


class _Rate(ProgressColumn):
    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        if speed is None:
            return Text("")
        return Text(f"{size(speed)}/s" if self._unit == "bytes" else f"{speed:,.0f}/s", style="dim", no_wrap=True)


def size(count: float) -> str:
    """Return a number of bytes for people: `1.5 MiB`."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024 or unit == "GiB":
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    raise AssertionError("unreachable")
