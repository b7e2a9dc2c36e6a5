"""Writes the tables of docs/logs.md from the vocabularies of node and operator; `--check` changes nothing."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

from collectionstore_node.logs import vocabulary as node
from collectionstore_operator.observability.logs import vocabulary as operator

PAGE = Path(__file__).with_name("logs.md")

MARK = "<!-- From here on: made by docs/generate_logs.py. -->\n"


class Event(Protocol):
    """A row of either vocabulary."""

    @property
    def name(self) -> str: ...
    @property
    def levels(self) -> tuple[str, ...]: ...
    @property
    def meaning(self) -> str: ...
    @property
    def fields(self) -> tuple[str, ...]: ...
    @property
    def error(self) -> bool: ...


def page(written: str) -> str:
    """Return the text of docs/logs.md: what is written by hand in front of the mark, and both tables after it."""
    tables = [
        *_program("Of a node", node.FIELDS, node.EVENTS),
        *_program("Of the operator and of csctl's supervisor", operator.FIELDS, operator.EVENTS),
    ]
    return written.partition(MARK)[0] + MARK + "\n" + "\n".join(tables)


def _program(title: str, fields: Mapping[str, str], events: Iterable[Event]) -> list[str]:
    rows = [f"| `{name}` | {meaning} |" for name, meaning in fields.items()]
    lines = [f"## {title}", "", "On every line:", "", "| field | meaning |", "| --- | --- |", *rows, ""]
    return [*lines, "| event | level | meaning | fields |", "| --- | --- | --- | --- |", *map(_row, events), ""]


def _row(event: Event) -> str:
    names = [f"`{name}`" for name in (*event.fields, *(("exception",) if event.error else ()))]
    return f"| `{event.name}` | {', '.join(event.levels)} | {event.meaning} | {' '.join(names)} |"


def main() -> int:
    """Write or check; 1 when the page is not current."""
    parser = argparse.ArgumentParser(prog="docs/generate_logs.py", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 unless it is current")
    check, written = parser.parse_args().check, PAGE.read_text()
    text = page(written)
    if written == text:
        return 0
    if check:
        sys.stderr.write("docs/logs.md is not current; make it so:  make generate\n")
        return 1
    PAGE.write_text(text)
    sys.stdout.write("wrote docs/logs.md\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
