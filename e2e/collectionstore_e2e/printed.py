"""What a run prints: the lines of one scenario are together, also when others run beside it."""

from __future__ import annotations

import textwrap

INDENT = " " * 7


class Printed:
    """The lines of one scenario: printed at once, or, beside others, when it has ended."""

    def __init__(self, *, at_once: bool) -> None:
        self._at_once = at_once
        self._kept: list[str] = []

    def say(self, text: str) -> None:
        """Print a line, or several, of the scenario."""
        self._print(textwrap.indent(text, INDENT))

    def end(self, result: str) -> None:
        """Print the result, and with it everything that was kept back."""
        kept, self._kept = self._kept, []
        print("\n".join([result, *kept]), flush=True)

    def _print(self, text: str) -> None:
        if self._at_once:
            print(text, flush=True)
        else:
            self._kept.append(text)
