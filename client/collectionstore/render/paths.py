"""Dotted paths into JSON documents, as columns of tables and of CSV name them: `home.city`, `items.0.price`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

ABSENT: Final = object()
"""What a path leads to where there is no value: not even null."""
DEPTH_MAX: Final = 2
"""How deep objects become columns of their own, where no columns are named."""


def value_at(document: object, path: str) -> object:
    """Return the value at a dotted path, or ABSENT.

    A part of digits is a position in an array and a name in an object. A name that holds dots is found as it is, where
    the object has it. Any other part behind an array takes the part of each element that is an object.
    """
    if isinstance(document, Mapping):
        if path in document:
            return document[path]
        head, dot, rest = path.partition(".")
        while dot:
            if head in document and (found := value_at(document[head], rest)) is not ABSENT:
                return found
            part, dot, rest = rest.partition(".")
            head = f"{head}.{part}"
        return ABSENT
    if isinstance(document, list):
        head, dot, rest = path.partition(".")
        if head.isascii() and head.isdigit():
            position = int(head) if len(head) < 10 else len(document)
            if position >= len(document):
                return ABSENT
            return value_at(document[position], rest) if dot else document[position]
        found_in = [found for one in document if (found := value_at(one, path)) is not ABSENT]
        return found_in or ABSENT
    return ABSENT


def leaves(document: Mapping[str, Any], *, depth: int = DEPTH_MAX) -> Iterator[str]:
    """Yield the paths of a document's values in their order; objects below `depth` and empty ones are one value."""
    for name, value in document.items():
        if isinstance(value, Mapping) and value and depth > 1 and not any("." in key or not key for key in value):
            yield from (f"{name}.{inner}" for inner in leaves(value, depth=depth - 1))
        else:
            yield name


def columns_of(documents: Iterable[Mapping[str, Any]], *, first: Sequence[str] = ()) -> list[str]:
    """Return the columns of a table of documents: `first` as far as any has them, then all others as they come.

    Where a path is a value in one document and an object in another, it is one column.
    """
    found: dict[str, None] = {}
    values: set[str] = set()
    for one in documents:
        paths = list(leaves(one))
        found.update(dict.fromkeys(paths))
        values.update(path for path in paths if path in one)
    shown = [path for path in found if path in values or path.partition(".")[0] not in values]
    return [*(path for path in first if path in found), *(path for path in shown if path not in first)]
