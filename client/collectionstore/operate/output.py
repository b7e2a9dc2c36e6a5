"""Results on stdout: tables that fit the terminal, JSON and YAML."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from collectionstore.cli.terminal import PLAIN_WIDTH
from collectionstore.cli.yaml_reader import load_yaml

NOTHING: Final = "-"
COLUMNS: Final = "COLUMNS"
GAP: Final = 2
CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
MESSAGE_MIN: Final = 20
"""Columns that a text which may wrap needs, to be worth showing in a narrow terminal."""

output_option = click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "wide", "json", "yaml"]),
    default="table",
    show_default=True,
    help="Output format.",
)


@dataclass(frozen=True, slots=True)
class Column:
    """A column: `wraps` for text; `drop` says how early it is left out of a narrow terminal, 0 for never."""

    title: str
    right: bool = False
    wraps: bool = False
    drop: int = 0


def result_console() -> Console:
    """Return a console on stdout; in a pipe as wide as COLUMNS, by default so wide that no line wraps."""
    width = None if sys.stdout.isatty() else int(os.environ.get(COLUMNS) or PLAIN_WIDTH)
    return Console(highlight=False, width=width)


def table(columns: Sequence[Column], rows: Sequence[Sequence[Text]], *, width: int, indent: int = 0) -> Table:
    """Return a table of `width` terminal columns; text wraps, then columns are dropped, the highest `drop` first."""
    kept = _fitting(columns, rows, width - indent)
    made = Table(box=None, padding=(0, GAP, 0, 0), header_style="bold", pad_edge=False)
    for index in kept:
        column = columns[index]
        made.add_column(
            column.title,
            justify="right" if column.right else "left",
            no_wrap=not column.wraps,
            overflow="fold",
        )
    for row in rows:
        made.add_row(*(row[index] for index in kept))
    return made


def _fitting(columns: Sequence[Column], rows: Sequence[Sequence[Text]], width: int) -> list[int]:
    used = [
        index for index, _ in enumerate(columns) if columns[index].drop == 0 or any(row[index].plain for row in rows)
    ]

    def needed(index: int) -> int:
        widest = max([len(columns[index].title), *(len(row[index].plain) for row in rows)])
        return min(widest, MESSAGE_MIN) if columns[index].wraps else widest

    while sum(needed(index) + GAP for index in used) - GAP > width:
        droppable = [index for index in used if columns[index].drop]
        if not droppable:
            break
        used.remove(max(droppable, key=lambda index: columns[index].drop))
    return used


def printable(value: Any) -> Any:
    """Return a JSON value with the control characters of its texts replaced, which a terminal would obey.

    Whoever can write a resource must not write to the terminal of whoever looks at it. JSON and YAML escape them.
    """
    if isinstance(value, str):
        return CONTROL.sub("\ufffd", value)
    if isinstance(value, dict):
        return {printable(key): printable(one) for key, one in value.items()}
    return [printable(one) for one in value] if isinstance(value, list | tuple) else value


def print_document(document: object, output: str) -> None:
    """Print a value as JSON or YAML."""
    if output == "json":
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
        return
    yaml = load_yaml()
    click.echo(yaml.safe_dump(document, sort_keys=False, allow_unicode=True), nl=False)
