"""Projections: which fields of a document an answer shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

from collectionstore_node.documents.paths import ID, REVISION, Path, parse_path
from collectionstore_node.documents.pointers import child
from collectionstore_node.documents.values import Value
from collectionstore_node.errors import InvalidPart

FIELDS_MAX: Final = 128

Project: TypeAlias = Callable[[dict[str, Any]], dict[str, Any]]
_Tree: TypeAlias = dict[str, Any]
"""Names to trees; an empty tree is a field as a whole."""


def parse_projection(given: Value, pointer: str = "") -> Project:
    """Return the function that keeps the fields named with 1 or true, or leaves out those named with 0 or false.

    Fields stay in their stored order. Paths go through arrays: each element that is an object is projected; others are
    kept when fields are left out, and dropped when fields are kept. Raises `InvalidPart("invalid_projection")`.
    """
    if type(given) is not dict or not given:
        raise _invalid(pointer, 'a projection is an object, such as {"name": 1} to show or {"notes": 0} to hide')
    if len(given) > FIELDS_MAX:
        raise _invalid(pointer, f"a projection names {len(given)} fields; at most {FIELDS_MAX} are allowed")
    tree: _Tree = {}
    shown = None
    for name, value in given.items():
        at = child(pointer, name)
        if name.partition(".")[0] in (ID, REVISION):
            raise _invalid(at, "the ID and the revision are answered beside the document; projections do not name them")
        path = parse_path(name, "invalid_projection", at)
        if type(value) not in (bool, int, float) or value not in (0, 1):
            raise _invalid(at, "a field is shown by 1 or true, and hidden by 0 or false")
        if shown is None:
            shown = bool(value)
        elif shown is not bool(value):
            raise _invalid(at, "a projection either shows fields or hides fields, not both")
        _add(tree, path, at)
    if shown:
        return lambda document: _shown(document, tree)
    return lambda document: _hidden(document, tree)


def _add(tree: _Tree, parts: Path, pointer: str) -> None:
    *path, last = parts
    for part in path:
        inner = tree.setdefault(part, {})
        if inner is _WHOLE:
            raise _invalid(pointer, "the projection names this field and a field that contains it")
        tree = inner
    if last in tree:
        raise _invalid(pointer, "the projection names this field and a field within it")
    tree[last] = _WHOLE


_WHOLE: Final[_Tree] = {}


def _shown(document: dict[str, Any], tree: _Tree) -> dict[str, Any]:
    found = {}
    for name, value in document.items():
        inner = tree.get(name)
        if inner is None:
            continue
        if inner is _WHOLE:
            found[name] = value
        elif type(value) is dict:
            found[name] = _shown(value, inner)
        elif type(value) is list:
            found[name] = _shown_elements(value, inner)
    return found


def _shown_elements(values: list[Value], tree: _Tree) -> list[Value]:
    return [
        _shown(one, tree) if type(one) is dict else _shown_elements(one, tree)
        for one in values
        if type(one) in (dict, list)
    ]


def _hidden(document: dict[str, Any], tree: _Tree) -> dict[str, Any]:
    found = {}
    for name, value in document.items():
        inner = tree.get(name)
        if inner is None:
            found[name] = value
        elif inner is not _WHOLE:
            found[name] = _hidden_within(value, inner)
    return found


def _hidden_within(value: Value, tree: _Tree) -> Value:
    if type(value) is dict:
        return _hidden(value, tree)
    return [_hidden_within(one, tree) for one in value] if type(value) is list else value


def _invalid(pointer: str, detail: str) -> InvalidPart:
    return InvalidPart("invalid_projection", pointer, detail)
