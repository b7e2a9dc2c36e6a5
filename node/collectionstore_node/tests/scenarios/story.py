"""The text form of a scenario: one command per line, what it printed indented below, comments and blank lines free.

```
# S1: what went wrong elsewhere.
propose 1 "a"
    3@2
```
The first comment lines say which row of the bug list the story belongs to, and where that bug was seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

INDENT: Final = "    "


@dataclass(frozen=True, slots=True)
class Step:
    """A command, where it stands (lines count from 1), and the lines that it printed."""

    number: int
    command: str
    printed: tuple[str, ...]


def steps(text: str) -> Iterator[Step]:
    """Yield the commands of a story with what is expected below each. Raises `ValueError` for a stray output line."""
    lines = text.splitlines()
    position = 0
    while position < len(lines):
        line = lines[position]
        position += 1
        if line.startswith(INDENT):
            raise ValueError(f"line {position}: printed by no command")
        if not line.strip() or line.startswith("#"):
            continue
        end = position
        while end < len(lines) and lines[end].startswith(INDENT):
            end += 1
        yield Step(position, line.strip(), tuple(printed[len(INDENT) :] for printed in lines[position:end]))
        position = end


def rewritten(text: str, run: Callable[[Step], Sequence[str]]) -> str:
    """Return the story with what `run` gives for each command in the place of what stood there."""
    lines = text.splitlines()
    result: list[str] = []
    done = 0
    for step in steps(text):
        result += lines[done : step.number]
        result += [INDENT + printed for printed in run(step)]
        done = step.number + len(step.printed)
    return "\n".join([*result, *lines[done:]]) + "\n"
