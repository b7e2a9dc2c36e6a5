"""Dotted paths: which values of a document a path names.

As in MongoDB, a path goes through arrays by itself: `items.price` names the price of every element that is an object. A
part of digits also names the element at that position. Where the path ends at an array, a predicate is asked for its
elements and for the array itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

from collectionstore_node.documents.values import MISSING, Value
from collectionstore_node.errors import InvalidPart

ID: Final = "_id"
REVISION: Final = "_revision"
"""What queries call a document's ID and the revision of its last write. No field has such a name: names at the top of a
document do not begin with an underscore."""

PATH_CHARACTERS_MAX: Final = 1_024
PARTS_MAX: Final = 64

Path: TypeAlias = tuple[str, ...]
Test: TypeAlias = Callable[[Value], bool]
Match: TypeAlias = Callable[[dict[str, Any]], bool]


def parse_path(text: str, code: str, pointer: str) -> Path:
    """Return the dotted path `text`, which stands at `pointer` in a body. Raises `InvalidPart(code)`."""
    parts = tuple(text.split("."))
    violation = _violation(text, parts)
    if violation is not None:
        raise InvalidPart(code, pointer, violation)
    return parts


def _violation(text: str, parts: Path) -> str | None:
    if not text:
        return "a path is not empty"
    if len(text) > PATH_CHARACTERS_MAX:
        return f"a path has at most {PATH_CHARACTERS_MAX} characters"
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
    walk = _walker(path, elements=elements)
    return lambda document: walk(document, test)


def values_at(value: Value, path: Path) -> list[Value]:
    """Return the values that `path` names, arrays at its end as they are; `MISSING` for a gap. Some may be repeated."""
    found: list[Value] = []

    def keep(one: Value) -> bool:
        found.append(one)
        return False

    _walker(path, elements=False)(value, keep)
    return found


def _walker(path: Path, *, elements: bool) -> Callable[[Value, Test], bool]:
    """Return a function that returns whether a test holds for a value that the path names."""
    positions = tuple(map(_position, path))
    end = len(path)
    # A part of digits leads into an array in two ways, by its elements and by a position. Nested, the ways double with
    # each level, and lead to the same arrays: each is entered once for each part of the path.
    both = any(position is not None for position in positions)

    def walk(value: Value, at: int, test: Test, entered: set[tuple[int, int]]) -> bool:
        kind = type(value)
        if at == end:
            if elements and kind is list:
                return any(map(test, value)) or test(value)
            return test(value)
        if kind is dict:
            child = value.get(path[at], MISSING)
            return test(child) if child is MISSING else walk(child, at + 1, test, entered)
        if kind is not list:
            return test(MISSING)
        if both:
            if (id(value), at) in entered:
                return False
            entered.add((id(value), at))
        for element in value:
            if type(element) is dict and walk(element, at, test, entered):
                return True
        position = positions[at]
        if position is None or position >= len(value):
            return False
        element = value[position]
        if at + 1 == end:
            return test(element)  # named by its position: not asked about by its own elements
        return type(element) in (dict, list) and walk(element, at + 1, test, entered)

    return lambda value, test: walk(value, 0, test, set())


def _field(name: str, test: Test) -> Match:
    def match(document: dict[str, Any]) -> bool:
        value = document.get(name, MISSING)
        if type(value) is list:
            return any(map(test, value)) or test(value)
        return test(value)

    return match


def _whole_field(name: str, test: Test) -> Match:
    return lambda document: test(document.get(name, MISSING))


def _position(part: str) -> int | None:
    """Return the position in an array that a part names: digits without a leading zero."""
    if not (part.isascii() and part.isdigit()) or len(part) > 9 or (part[0] == "0" and part != "0"):
        return None
    return int(part)
