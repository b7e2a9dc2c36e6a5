"""Values as the texts of cells.

The rule, without hints: an empty cell is no value; one that is JSON is that value (`12`, `true`, `null`, `{"a":1}`,
`"12"`); every other one is a text. So a text is written as it is, unless it would be read as something else: then it is
written as JSON, with quotes. With it every value is read as it was written.
"""

from __future__ import annotations

import enum
import re
from typing import Final

import orjson

from collectionstore_node.documents.values import MISSING, Value
from collectionstore_node.errors import InvalidRequest

INTEGER_MIN: Final = -(1 << 63)
INTEGER_MAX: Final = (1 << 64) - 1
NUMBER_CHARACTERS_MAX: Final = 400
"""A longer text is no number without a hint."""

_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_WORDS: Final = frozenset(("true", "false", "null"))
_BEGINNINGS: Final = frozenset('-0123456789tfn{["')


class CellType(enum.Enum):
    """How the cells of a column are read."""

    AUTO = "auto"
    """As JSON where they are JSON, else as texts."""
    STRING = "string"
    """As texts, whatever they look like."""
    NUMBER = "number"
    BOOL = "bool"
    JSON = "json"
    """As JSON; anything else is a mistake."""


def cell_of(value: Value) -> str:
    """Return the text of a cell for a value, `MISSING` among them."""
    if value is MISSING:
        return ""
    if type(value) is str and value and _json(value) is None:
        return value
    return orjson.dumps(value).decode()


def value_of(cell: str, kind: CellType) -> bytes | None:
    """Return the JSON text of the value in a cell; None for no value. Raises `InvalidRequest("invalid_body")`."""
    if not cell:
        return None
    if kind is CellType.STRING:
        return orjson.dumps(cell)
    found = _json(cell)
    if kind is CellType.AUTO:
        return orjson.dumps(cell) if found is None else found
    if found is None or not _fits(found, kind):
        raise InvalidRequest("invalid_body", _MISTAKES[kind])
    return found


_MISTAKES: Final = {
    CellType.NUMBER: "the cell is no number of JSON, of 64 bits if it is a whole one",
    CellType.BOOL: "the cell is neither true nor false",
    CellType.JSON: "the cell is no JSON",
}


def _fits(text: bytes, kind: CellType) -> bool:
    if kind is CellType.NUMBER:
        return text[:1] in b"-0123456789"
    return kind is CellType.JSON or text in (b"true", b"false")


def _json(cell: str) -> bytes | None:
    """Return the JSON that a cell is, None if it is none."""
    if cell[0] not in _BEGINNINGS:
        return None
    if cell in _WORDS:
        return cell.encode()
    if cell[0] not in '{["':
        return cell.encode() if _is_number(cell) else None
    try:
        orjson.loads(cell)
    except orjson.JSONDecodeError:
        return None
    return cell.encode()


def _is_number(cell: str) -> bool:
    """Whether a cell is a number that is kept exactly, or as a float: more digits than that are rather a text."""
    if len(cell) > NUMBER_CHARACTERS_MAX:
        return False
    found = _NUMBER.fullmatch(cell)
    if found is None:
        return False
    if found[1] is None and found[2] is None:
        return INTEGER_MIN <= int(cell) <= INTEGER_MAX
    return abs(float(cell)) != float("inf")
