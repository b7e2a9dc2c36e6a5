"""Writes the tables of docs/logs.md from the vocabularies of the programs; `--check` changes nothing."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from collectionstore_local import log_vocabulary as local
from collectionstore_node.logs import vocabulary as node
from collectionstore_operator.observability.logs import vocabulary as operator
from collectionstore_telemetry.logs import LogEvent
from collectionstore_telemetry.logs import vocabulary as shared

PAGE = Path(__file__).with_name("logs.md")

ALSO = "On every line, besides those of every program:"
MARK = "<!-- From here on: made by docs/generate_logs.py. -->\n"


def page(written: str) -> str:
    """Return the text of docs/logs.md: what is written by hand in front of the mark, and the tables after it."""
    tables = [
        *_program("Every program", "On every line, the last three where they apply:", shared.FIELDS, shared.EVENTS),
        *_program("Node", ALSO, node.FIELDS, node.EVENTS),
        *_program("Operator, and supervisor of a local cluster", ALSO, operator.FIELDS, operator.EVENTS),
        *_program("Supervisor and fault proxy of a local cluster", ALSO, local.FIELDS, local.EVENTS),
    ]
    return written.partition(MARK)[0] + MARK + "\n" + "\n".join(tables)


def _program(title: str, lead: str, fields: Mapping[str, str], events: Iterable[LogEvent]) -> list[str]:
    rows = [f"| `{name}` | {meaning} |" for name, meaning in fields.items()]
    lines = [f"## {title}", "", lead, "", "| field | meaning |", "| --- | --- |", *rows, ""]
    return [*lines, "| event | level | meaning | fields |", "| --- | --- | --- | --- |", *map(_row, events), ""]


def _row(event: LogEvent) -> str:
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
