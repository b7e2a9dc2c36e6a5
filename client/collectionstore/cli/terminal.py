"""Terminal output of csctl: colors and a spinner on a terminal, plain lines elsewhere, with the same content.

Results go to stdout, progress and errors to stderr, so that `-o json` can be piped while a command waits.
"""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Protocol

from rich.console import Console
from rich.markup import escape
from rich.status import Status as Spinner

PLAIN_WIDTH = 200
"""Columns when the output is not a terminal: wide enough that no line wraps, so that `grep` sees whole lines."""
WAIT_SHOWN_S = 1.0
EVENT_WIDTH = 32


class ProgressEvent(Protocol):
    """What `Progress.event` shows; the operator's Event has this shape."""

    @property
    def kind(self) -> str:
        """Normal or Warning, as in Kubernetes."""

    @property
    def reason(self) -> str: ...

    @property
    def subject(self) -> str: ...

    @property
    def message(self) -> str: ...

    @property
    def seconds(self) -> float | None:
        """How long the step took, None if that is unknown."""


def console(*, stderr: bool = False) -> Console:
    """Return a console on stdout or stderr."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else PLAIN_WIDTH
    return Console(stderr=stderr, highlight=False, width=width, soft_wrap=True)


class Progress:
    """Shows progress while a command waits: one line per completed step, and the step it waits for.

    On a terminal the latter is a spinner, removed at the end; elsewhere a line, once the wait has lasted WAIT_SHOWN_S.
    """

    def __init__(self) -> None:
        self._console = console(stderr=True)
        self._started = time.monotonic()
        self._spinner: Spinner | None = None
        self._waiting = ""
        self._waiting_since = 0.0
        self._waiting_shown = False

    def __enter__(self) -> Progress:
        if self._console.is_terminal:
            self._spinner = self._console.status("", spinner="dots")
            self._spinner.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._spinner is not None:
            self._spinner.stop()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the wait began."""
        return time.monotonic() - self._started

    def event(self, event: ProgressEvent) -> None:
        """Show a step that the reconcile loop performed, or failed to perform."""
        mark = "[green]✓[/]" if event.kind == "Normal" else "[yellow]![/]"
        padding = " " * (EVENT_WIDTH - len(f"{event.reason} {event.subject}"))
        what = f"{event.reason} [bold]{escape(event.subject)}[/]{padding}"
        seconds = f" ({event.seconds:.1f} s)" if event.seconds is not None and event.seconds >= 0.1 else ""
        self._print(f"{mark} {what}  [dim]{escape(event.message)}{seconds}[/]")

    def done(self, text: str) -> None:
        """Show a step that csctl itself performed."""
        self._print(f"[green]✓[/] {escape(text)}")

    def begin(self, text: str) -> None:
        """Show a step that has begun, of which the end is not known."""
        self._print(f"[dim]→[/] {escape(text)}")

    def warn(self, text: str) -> None:
        """Show a warning."""
        self._print(f"[yellow]![/] {escape(text)}")

    def waiting(self, text: str) -> None:
        """Show what the command waits for now; empty for nothing."""
        if text != self._waiting:
            self._waiting, self._waiting_since, self._waiting_shown = text, time.monotonic(), False
            if self._spinner is not None:
                self._spinner.update(f"[dim]{escape(text)}[/]")
        lasted = time.monotonic() - self._waiting_since >= WAIT_SHOWN_S
        if self._spinner is None and text and lasted and not self._waiting_shown:
            self._waiting_shown = True
            self._print(f"… {escape(text)}")

    def _print(self, markup: str) -> None:
        self._console.print(f"[dim]{self.elapsed_s:5.1f}s[/] {markup}")
