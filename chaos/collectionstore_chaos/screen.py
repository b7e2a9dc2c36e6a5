"""Output during a run: a line for each event, and on a terminal a progress bar below."""

from __future__ import annotations

import sys
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from collectionstore_chaos.lab import Event

COLOURS = {"refused": "yellow", "recovered": "green", "whole": "green", "replace": "cyan", "run": "bold"}
PLAIN_WIDTH = 160


class Screen:
    """Prints to stderr, so that results on stdout can be piped."""

    def __init__(self, total_s: float) -> None:
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        if not self.console.is_terminal:
            self.console = Console(stderr=True, highlight=False, soft_wrap=True, width=PLAIN_WIDTH)
        self._progress = Progress(
            TextColumn("[progress.description]{task.description}"),
            BarColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[counts]}"),
            console=self.console,
            transient=True,
            disable=not sys.stderr.isatty(),
        )
        self._task = self._progress.add_task("faults", total=total_s, counts="")

    def __enter__(self) -> Screen:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def event(self, event: Event) -> None:
        """Show what was done."""
        style = COLOURS.get(event.kind, "magenta")
        self.console.print(f"[dim]{event.at:7.1f}s[/] [{style}]{event.kind:<13}[/] {escape(event.text)}")

    def progress(self, elapsed_s: float, counts: str) -> None:
        """Move the bar."""
        self._progress.update(self._task, completed=elapsed_s, counts=counts)
