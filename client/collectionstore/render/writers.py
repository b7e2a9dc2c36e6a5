"""Documents as they come, in a format of `-o`: each writer takes JSON texts and returns what is to be written.

Texts of documents are kept as the store has them, digit by digit, in json and ndjson. A table, and CSV without named
columns, show what they have once all documents are there, or HELD_MAX of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from collectionstore.render import csv_text
from collectionstore.render.json_text import cell, colored, harmless, indented_text, parse
from collectionstore.render.layout import Cell, lay_out
from collectionstore.render.paths import ABSENT, columns_of, value_at

FORMATS: Final = ("table", "json", "yaml", "ndjson", "csv")
HELD_MAX: Final = 1_000
"""Documents of one table: its columns fit them; those behind come as a table of their own."""
CSV_HELD_MAX: Final = 10_000
LEADING: Final = ("_id", "_revision")
"""Columns that come first, where documents have them."""
HEADER: Final = "1"
ABSENT_STYLE: Final = "2"


class ColumnsNeeded(ValueError):
    """CSV of so many documents needs its columns to be named: their first line is written before the last is known."""


class Writer(Protocol):
    """Takes documents, and returns text to write."""

    def add(self, text: str) -> str:
        """Take the JSON text of a document."""

    def end(self) -> str:
        """Return what is left."""


@dataclass(slots=True)
class Look:
    """How output looks: columns named by the user, else those of the documents; None as width: as wide as needed."""

    columns: Sequence[str] = ()
    width: int | None = None
    colors: bool = False
    terminal: bool = False
    hidden: Sequence[str] = ()
    """Columns that are left out unless they are named."""
    titles: Mapping[str, str] = field(default_factory=dict)
    """What columns are called; by default by their paths."""
    omitted: Callable[[Sequence[str]], None] = lambda titles: None
    """Is told which columns had no place."""
    dump_yaml: Callable[[Any], str] | None = None


def writer(output: str, look: Look) -> Writer:
    """Return the writer of a format of FORMATS."""
    match output:
        case "json":
            return _Json(look)
        case "ndjson":
            return _Lines(look)
        case "yaml":
            return _Yaml(look)
        case "csv":
            return _Csv(look)
        case _:
            return _Table(look)


def json_document(text: str, look: Look) -> str:
    """Return one document as `-o json` shows it."""
    return _shown(indented_text(text), look) + "\n"


def _shown(text: str, look: Look) -> str:
    # On a terminal alone: a program reads what the store has.
    safe = harmless(text) if look.terminal else text
    return colored(safe) if look.colors else safe


class _Json:
    def __init__(self, look: Look) -> None:
        self._look = look
        self._begun = False

    def add(self, text: str) -> str:
        inner = indented_text(text).replace("\n", "\n  ")
        opening = ",\n  " if self._begun else "[\n  "
        self._begun = True
        return opening + _shown(inner, self._look)

    def end(self) -> str:
        return "\n]\n" if self._begun else "[]\n"


class _Lines:
    def __init__(self, look: Look) -> None:
        self._look = look

    def add(self, text: str) -> str:
        return _shown(text, self._look) + "\n"

    def end(self) -> str:
        return ""


class _Yaml:
    def __init__(self, look: Look) -> None:
        if look.dump_yaml is None:
            raise TypeError("yaml needs dump_yaml")
        self._dump = look.dump_yaml
        self._begun = False

    def add(self, text: str) -> str:
        self._begun = True
        return self._dump([parse(text)])

    def end(self) -> str:
        return "" if self._begun else "[]\n"


class _Csv:
    def __init__(self, look: Look) -> None:
        self._columns = list(look.columns)
        self._hidden = look.hidden
        self._held: list[Any] = []
        self._begun = False

    def add(self, text: str) -> str:
        document = parse(text)
        if self._columns:
            return self._header() + self._record(document)
        if len(self._held) >= CSV_HELD_MAX:
            raise ColumnsNeeded(f"csv of more than {CSV_HELD_MAX} documents needs --columns")
        self._held.append(document)
        return ""

    def end(self) -> str:
        if not self._columns:
            found = columns_of(self._held, first=LEADING)
            self._columns = [one for one in found if one not in self._hidden]
        if not self._columns:
            return ""
        return self._header() + "".join(self._record(one) for one in self._held)

    def _header(self) -> str:
        first = "" if self._begun else csv_text.record(self._columns)
        self._begun = True
        return first

    def _record(self, document: Any) -> str:
        return csv_text.record(csv_text.cell(value_at(document, path)) for path in self._columns)


class _Table:
    def __init__(self, look: Look) -> None:
        self._look = look
        self._held: list[Any] = []
        self._begun = False

    def add(self, text: str) -> str:
        self._held.append(parse(text))
        return self._block() if len(self._held) >= HELD_MAX else ""

    def end(self) -> str:
        return self._block() if self._held else ""

    def _block(self) -> str:
        look = self._look
        columns = list(look.columns)
        if not columns:
            columns = [one for one in columns_of(self._held, first=LEADING) if one not in look.hidden]
        if not columns:
            columns = ["_id"]
        rows = [[value_at(one, path) for path in columns] for one in self._held]
        right = frozenset(at for at in range(len(columns)) if _numeric(row[at] for row in rows))
        table = lay_out(
            [look.titles.get(path, path) for path in columns],
            [[self._cell(value) for value in row] for row in rows],
            width=look.width,
            right=right,
        )
        if table.omitted:
            look.omitted(table.omitted)
        self._held = []
        head, *lines = table.lines
        shown = [f"\x1b[{HEADER}m{head}\x1b[0m" if look.colors else head, *lines]
        gap = "\n" if self._begun else ""
        self._begun = True
        return gap + "\n".join(shown) + "\n"

    def _cell(self, value: object) -> Cell:
        if value is ABSENT:
            return Cell("")
        if value is None:
            return Cell("null", ABSENT_STYLE if self._look.colors else "")
        return Cell(cell(value))


def _numeric(values: Any) -> bool:
    """Whether a column holds numbers alone, at least one."""
    found = [one for one in values if one is not ABSENT and one is not None]
    return bool(found) and all(isinstance(one, int | float) and not isinstance(one, bool) for one in found)
