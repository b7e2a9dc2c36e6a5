"""Every guard of the operator's decisions, and the code without it; the list is `guards.yaml`."""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

import yaml

PACKAGE: Final = Path(__file__).parents[2]


class Guard(NamedTuple):
    """One guard: where it stands, what is there without it, and what the operator does then."""

    name: str
    title: str
    file: str
    text: str
    without: str


def read_guards() -> tuple[Guard, ...]:
    """Return the list."""
    text = Path(__file__).with_name("guards.yaml").read_text()
    return tuple(Guard(**one) for one in yaml.safe_load(text))


def without(guard: Guard, source: str) -> str:
    """Return the file without the guard. Raises ValueError when its text is not there exactly once."""
    if source.count(guard.text) != 1:
        raise ValueError(f"{guard.name}: {guard.file} has its text {source.count(guard.text)} times")
    return source.replace(guard.text, guard.without)
