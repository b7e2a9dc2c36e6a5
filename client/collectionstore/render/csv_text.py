"""Cells and records of CSV as exports write them, so that imports read the same values: docs/reference/porting.md."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

from collectionstore.render.json_text import compact, parse
from collectionstore.render.paths import ABSENT


def cell(value: object) -> str:
    """Return a value as a cell: nothing for an absent one, a text as it is unless that would be something else."""
    if value is ABSENT:
        return ""
    return value if isinstance(value, str) and value and not _is_json(value) else compact(value)


def record(cells: Iterable[str]) -> str:
    """Return a record of RFC 4180, with its line end."""
    line = io.StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue()


def _is_json(text: str) -> bool:
    # What begins otherwise is no JSON: most texts are not parsed.
    if text[0] not in '-0123456789"[{tfn \t\n\r':
        return False
    try:
        parse(text)
    except ValueError:
        return False
    return True
