"""Which paths an update reads or writes, as far as its text tells: whoever sees none of a field may not compute by it.

Positions in arrays are left out: a field of an element is the field of all of them to a mask.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from collectionstore_node.documents.filters.tree import And, Field, Node, Not, Or
from collectionstore_node.documents.paths import Path
from collectionstore_node.documents.updates.program import Form
from collectionstore_node.documents.values import Value

WHOLE: Final[Path] = ()
"""The document itself."""
_RENAME: Final = "$rename"


def paths_in_filter(node: Node) -> Iterator[Path]:
    """Yield the paths that a filter asks about; WHOLE for an expression."""
    match node:
        case And(children) | Or(children):
            for one in children:
                yield from paths_in_filter(one)
        case Not(one):
            yield from paths_in_filter(one)
        case Field(path, _):
            # What is within its elements, too.
            yield path
        case _:
            yield WHOLE


def paths_in_update(form: Form, given: Value) -> Iterator[Path]:
    """Yield the paths that the checked body of an update names."""
    match form:
        case Form.OPERATORS:
            for operator, clauses in given.items():
                for name, operand in clauses.items():
                    yield from _in_operator(name)
                    if operator == _RENAME:
                        yield from _in_operator(operand)
        case Form.MERGE_PATCH:
            yield from _in_patch(given, ())
        case Form.JSON_PATCH:
            for operation in given:
                yield from _in_pointer(operation["path"])
                if "from" in operation:
                    yield from _in_pointer(operation["from"])


def _in_operator(text: str) -> Iterator[Path]:
    parts = text.split(".")
    path: list[str] = []
    for part in parts:
        if part[:1] == "$":
            # Which elements are meant is found by what is in them.
            if part != "$[]":
                yield tuple(path)
            continue
        path.append(part)
    yield from _both_ways(path)


def _in_pointer(text: str) -> Iterator[Path]:
    parts = [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]
    yield from _both_ways(parts[:-1] if parts[-1:] == ["-"] else parts)


def _in_patch(given: dict[str, Value], before: Path) -> Iterator[Path]:
    for name, value in given.items():
        path = (*before, name)
        if type(value) is dict and value:
            yield from _in_patch(value, path)
        else:
            yield path


def _both_ways(parts: list[str]) -> Iterator[Path]:
    """Yield a path as it is and without its positions: digits are a name in an object."""
    yield tuple(parts)
    names = tuple(part for part in parts if not part.isdigit())
    if len(names) != len(parts):
        yield names
