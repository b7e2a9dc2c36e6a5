"""Progress on the terminal: one line per step with its duration, and a heartbeat during long steps."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, TextIO

PULSE_S: Final = 15.0
"""Without a terminal, the interval between heartbeat lines of a step."""
TERMINAL_PULSE_S: Final = 0.5


class Step:
    """A running step; `detail` is shown with the elapsed time and may change."""

    def __init__(self) -> None:
        self.detail = ""


class Progress:
    """Prints steps to `out`. Steps do not nest; threads may change a step's detail."""

    def __init__(self, out: TextIO = sys.stderr) -> None:
        self._out = out
        self._terminal = out.isatty()

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """Show `name` while the block runs, then its duration and whether it succeeded or raised."""
        step, started, ended = Step(), time.monotonic(), threading.Event()
        pulse = threading.Thread(target=self._pulse, args=(name, step, started, ended), daemon=True)
        pulse.start()
        verdict = "failed"
        try:
            yield step
            verdict = "ok"
        finally:
            ended.set()
            pulse.join()
            self._line(f"{verdict:6} {time.monotonic() - started:6.1f} s  {name}", last=True)

    def say(self, text: str) -> None:
        """Print a line between steps."""
        self._line(text, last=True)

    def _pulse(self, name: str, step: Step, started: float, ended: threading.Event) -> None:
        while not ended.wait(TERMINAL_PULSE_S if self._terminal else PULSE_S):
            detail = f" ({step.detail})" if step.detail else ""
            self._line(f"...    {time.monotonic() - started:6.0f} s  {name}{detail}", last=not self._terminal)

    def _line(self, text: str, *, last: bool) -> None:
        if self._terminal:
            print(f"\r\x1b[K{text}", end="\n" if last else "", file=self._out, flush=True)
        else:
            print(text, file=self._out, flush=True)
