"""What csctl prints: pleasant on a terminal, plain lines anywhere else, the same facts on both.

Results go to stdout; progress and errors to stderr, so that `-o json` can be piped while something is being waited
for.
"""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.status import Status as Spinner

from collectionstore_operator.status.events import Event

PLAIN_WIDTH = 200
"""Columns when the output is no terminal: nothing is wrapped for `grep` to miss."""
WAIT_SHOWN_S = 1.0
EVENT_WIDTH = 32


def console(*, stderr: bool = False) -> Console:
    """Return a console on stdout or stderr."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else PLAIN_WIDTH
    return Console(stderr=stderr, highlight=False, width=width, soft_wrap=True)


class Progress:
    """Shows what happens while csctl waits: a line for each thing done, and what is being waited for now.

    On a terminal the latter is a spinner that is gone in the end; elsewhere a line, once it has lasted WAIT_SHOWN_S.
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
        """Seconds since the waiting began."""
        return time.monotonic() - self._started

    def event(self, event: Event) -> None:
        """Show something the loop did, or could not do."""
        mark = "[green]✓[/]" if event.kind == "Normal" else "[yellow]![/]"
        padding = " " * (EVENT_WIDTH - len(f"{event.reason} {event.subject}"))
        what = f"{event.reason} [bold]{escape(event.subject)}[/]{padding}"
        seconds = f" ({event.seconds:.1f} s)" if event.seconds is not None and event.seconds >= 0.1 else ""
        self._print(f"{mark} {what}  [dim]{escape(event.message)}{seconds}[/]")

    def say(self, text: str) -> None:
        """Show something that csctl itself did."""
        self._print(f"[green]✓[/] {escape(text)}")

    def note(self, text: str) -> None:
        """Show a remark."""
        self._print(f"[yellow]![/] {escape(text)}")

    def waiting(self, text: str) -> None:
        """Show what is being waited for now."""
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
