"""Dotted paths: which values of a document a path names.

As in MongoDB, a path goes through arrays by itself: `items.price` names the price of every element that is an object. A
part of digits also names the element at that position. Where the path ends at an array, a predicate is asked for its
elements and for the array itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

from collectionstore_node.documents.values import MISSING, Value

ID: Final = "_id"
REVISION: Final = "_revision"
"""What queries call a document's ID and the revision of its last write. No field has such a name: names at the top of a
document do not begin with an underscore."""

PATH_CHARACTERS_MAX: Final = 1_024
PARTS_MAX: Final = 64

Path: TypeAlias = tuple[str, ...]
Test: TypeAlias = Callable[[Value], bool]
Match: TypeAlias = Callable[[dict[str, Any]], bool]


def path_violation(text: str) -> str | None:
    """Return what is wrong with a path, None if nothing is."""
    if not text:
        return "a path is not empty"
    if len(text) > PATH_CHARACTERS_MAX:
        return f"a path has at most {PATH_CHARACTERS_MAX} characters"
    parts = text.split(".")
    if len(parts) > PARTS_MAX:
        return f"a path has at most {PARTS_MAX} parts"
    if not all(parts):
        return "a path has no empty part: it neither begins nor ends with a dot, and has no two in a row"
    return next((f"the part {part!r} of a path begins with a dollar sign" for part in parts if part[0] == "$"), None)


def matcher(path: Path, test: Test, *, elements: bool) -> Match:
    """Return whether `test` holds for a value that `path` names; it is asked about `MISSING` where there is none.

    With `elements`, an array at the end of the path is asked about by its elements, too.
    """
    if len(path) == 1:
        return _field(path[0], test) if elements else _whole_field(path[0], test)
    return lambda document: _any(document, path, 0, test, elements=elements)


def values_at(value: Value, path: Path, at: int = 0) -> list[Value]:
    """Return the values that `path` names from its part `at` on, arrays at its end as they are; `MISSING` for a gap."""
    found: list[Value] = []

    def keep(one: Value) -> bool:
        found.append(one)
        return False

    _any(value, path, at, keep, elements=False)
    return found


def _field(name: str, test: Test) -> Match:
    def match(document: dict[str, Any]) -> bool:
        value = document.get(name, MISSING)
        if type(value) is list:
            return any(map(test, value)) or test(value)
        return test(value)

    return match


def _whole_field(name: str, test: Test) -> Match:
    return lambda document: test(document.get(name, MISSING))


def _any(value: Value, path: Path, at: int, test: Test, *, elements: bool) -> bool:
    kind = type(value)
    if at == len(path):
        if elements and kind is list:
            return any(map(test, value)) or test(value)
        return test(value)
    if kind is dict:
        child = value.get(path[at], MISSING)
        return test(child) if child is MISSING else _any(child, path, at + 1, test, elements=elements)
    if kind is list:
        return _any_element(value, path, at, test, elements=elements)
    return test(MISSING)


def _any_element(value: list[Value], path: Path, at: int, test: Test, *, elements: bool) -> bool:
    for element in value:
        if type(element) is dict and _any(element, path, at, test, elements=elements):
            return True
    position = _position(path[at])
    if position is None or position >= len(value):
        return False
    element = value[position]
    if at + 1 == len(path):
        return test(element)  # named by its position: not asked about by its own elements
    return type(element) in (dict, list) and _any(element, path, at + 1, test, elements=elements)


def _position(part: str) -> int | None:
    """Return the position in an array that a part names: digits without a leading zero."""
    if not (part.isascii() and part.isdigit()) or len(part) > 9 or (part[0] == "0" and part != "0"):
        return None
    return int(part)
