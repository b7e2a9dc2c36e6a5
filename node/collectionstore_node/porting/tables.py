"""Documents as rows of CSV (RFC 4180) below a header of dotted paths, and the other way.

A column is named by a path through objects: `home.city`. Whatever is not an object on its way is no value; an array or
an object at its end is a cell of JSON. `_id` is the ID of the document, and `_revision` that of its last write, which
an import ignores.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgspec
import orjson

from collectionstore_node.documents.paths import ID, REVISION, Path, parse_path
from collectionstore_node.documents.values import MISSING, Value
from collectionstore_node.errors import InvalidRequest
from collectionstore_node.porting.cells import CellType, cell_of, value_of
from collectionstore_node.porting.ndjson import Identified

COLUMNS_MAX: Final = 1_000
CELL_CHARACTERS_MAX: Final = 16 << 20
"""For the library, whose own bound is lower: records have a bound themselves."""

csv.field_size_limit(CELL_CHARACTERS_MAX)

_Branch: TypeAlias = list[tuple[bytes, Any]]
"""Names in JSON with the position of a column, or with another branch."""


class TableWriter:
    """Writes documents as rows."""

    __slots__ = ("_paths", "_text", "_writer")

    def __init__(self, paths: Sequence[Path]) -> None:
        """`paths` are the columns behind that of the ID."""
        self._paths = tuple(paths)
        self._text = io.StringIO(newline="")
        self._writer = csv.writer(self._text, lineterminator="\r\n")

    def header(self) -> bytes:
        """Return the header."""
        return self._line([ID, *(".".join(path) for path in self._paths)])

    def row(self, document: Mapping[str, Any]) -> bytes:
        """Return the row of a document that has its ID and revision in it."""
        return self._line([str(document[ID]), *(cell_of(_member(document, path)) for path in self._paths)])

    def _line(self, cells: list[str]) -> bytes:
        text = self._text
        self._writer.writerow(cells)
        line = text.getvalue().encode()
        text.seek(0)
        text.truncate()
        return line


class Header(msgspec.Struct, frozen=True):
    """A checked header: where the cells of a row belong in its document."""

    columns: int
    id: int | None
    """The position of the IDs, None if there is none."""
    kinds: tuple[CellType, ...]
    tree: Any
    """A `_Branch`; a recursive alias is not possible before Python 3.12."""


def parse_record(record: bytes) -> list[str]:
    """Return the cells of a record. Raises `InvalidRequest("invalid_body")`."""
    try:
        rows = list(csv.reader((record.decode(),), strict=True))
    except UnicodeDecodeError:
        raise InvalidRequest("invalid_body", "the record is not valid UTF-8") from None
    except csv.Error:
        raise InvalidRequest(
            "invalid_body", "not a record of RFC 4180: a cell with quotes, commas or line ends is within quotes"
        ) from None
    return rows[0] if rows else []


def parse_header(record: bytes, types: Mapping[str, CellType]) -> Header:
    """Return the header in a record; `types` are those of columns. Raises `InvalidRequest("invalid_body")`."""
    names = parse_record(record)
    if not 0 < len(names) <= COLUMNS_MAX:
        raise _mistake(f"a header names 1 to {COLUMNS_MAX} columns, this one {len(names)}")
    if unknown := types.keys() - set(names):
        raise InvalidRequest("invalid_parameter", f"types names {len(unknown)} columns that the header does not have")
    tree: _Branch = []
    position = None
    for at, name in enumerate(names):
        if name == ID:
            if position is not None:
                raise _mistake(f"column {at + 1}: a header names _id once")
            position = at
        elif name != REVISION:
            _place(tree, parse_path(name, "invalid_body", f"/{at}"), at)
    return Header(len(names), position, tuple(types.get(name, CellType.AUTO) for name in names), tree)


def document_of(header: Header, record: bytes) -> Identified | None:
    """Return the document in a record, as JSON text; None for a blank line. Raises `InvalidRequest`."""
    cells = parse_record(record)
    if not cells:
        return None
    if len(cells) != header.columns:
        raise _mistake(f"the record has {len(cells)} cells, the header {header.columns} columns")
    name = None if header.id is None else cells[header.id] or None
    return Identified(name, _object(header.tree, cells, header.kinds) or b"{}")


def _object(branch: _Branch, cells: list[str], kinds: tuple[CellType, ...]) -> bytes | None:
    members: list[bytes] = []
    for name, what in branch:
        if type(what) is int:
            try:
                value = value_of(cells[what], kinds[what])
            except InvalidRequest as error:
                raise InvalidRequest(error.code, f"column {what + 1}: {error.detail}") from None
        else:
            value = _object(what, cells, kinds)
        if value is not None:
            members.append(b"%s:%s" % (name, value))
    return b"{%s}" % b",".join(members) if members else None


def _place(tree: _Branch, path: Path, at: int) -> None:
    branch = tree
    *parents, last = map(orjson.dumps, path)
    for part in parents:
        inner = next((what for name, what in branch if name == part), None)
        if inner is None:
            inner = []
            branch.append((part, inner))
        elif type(inner) is int:
            raise _mistake(f"column {at + 1}: another column is a field that contains this one")
        branch = inner
    if any(name == last for name, _ in branch):
        raise _mistake(f"column {at + 1}: another column is this field, or within it")
    branch.append((last, at))


def _member(document: Mapping[str, Any], path: Path) -> Value:
    value: Value = document
    for part in path:
        if not isinstance(value, Mapping):
            return MISSING
        value = value.get(part, MISSING)
    return value


def _mistake(detail: str) -> InvalidRequest:
    return InvalidRequest("invalid_body", detail)
