"""Which fields of a document are shown, by several masks at once.

A field is shown if one of the masks shows it. Paths go through arrays as those of projections do: a mask of one path
says the same as a projection of it.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from collectionstore_node.access.roles import FieldMask
from collectionstore_node.documents.values import Value

_Tree: TypeAlias = dict[str, Any]
"""Names to trees; an empty tree is a field as a whole."""


class Mask:
    """The fields within a value that are shown, or, with `hides`, those that are not."""

    __slots__ = ("hides", "tree")

    def __init__(self, tree: _Tree, *, hides: bool) -> None:
        self.tree = tree
        self.hides = hides


Masks: TypeAlias = tuple[Mask, ...]

EVERYTHING: Final = Mask({}, hides=True)
NOTHING: Final[Masks] = ()


def mask_of(fields: FieldMask) -> Mask:
    """Return the mask of checked paths."""
    tree: _Tree = {}
    for path in fields.show or fields.hide:
        *outer, last = path.split(".")
        at = tree
        for part in outer:
            at = at.setdefault(part, {})
        at[last] = {}
    return Mask(tree, hides=bool(fields.hide))


def shown(document: dict[str, Any], masks: Masks) -> dict[str, Any]:
    """Return the part of a document that one of `masks` shows, in its stored order."""
    found = {}
    for name, value in document.items():
        inner = _within(masks, name)
        if inner is None:
            found[name] = value
        elif type(value) is dict and inner:
            found[name] = shown(value, inner)
        elif type(value) is list and inner:
            found[name] = _shown_elements(value, inner)
        elif _shows_scalars(inner):
            found[name] = value
    return found


def hidden(document: dict[str, Any], masks: Masks) -> dict[str, Any]:
    """Return the rest: what none of `masks` shows, with the objects and arrays around it."""
    found: dict[str, Any] = {}
    for name, value in document.items():
        inner = _within(masks, name)
        if inner is None:
            continue
        if type(value) is dict and inner:
            rest = hidden(value, inner)
            # An object that is shown, but for nothing in it, is no part of the rest.
            if rest:
                found[name] = rest
        elif type(value) is list and inner:
            elements = _hidden_elements(value, inner)
            if elements:
                found[name] = elements
        elif not _shows_scalars(inner):
            found[name] = _typed(value)
    return found


_SHOWN: Final = object()
"""Stands for an element of which nothing is hidden, so that the others keep their places."""


def _shown_elements(values: list[Value], masks: Masks) -> list[Value]:
    scalars = _shows_scalars(masks)
    found: list[Value] = []
    for one in values:
        if type(one) is dict:
            found.append(shown(one, masks))
        elif type(one) is list:
            found.append(_shown_elements(one, masks))
        elif scalars:
            found.append(one)
    return found


def _hidden_elements(values: list[Value], masks: Masks) -> list[Any]:
    """Return what is hidden of each element, up to the last of which something is; none if nothing is."""
    scalars = _shows_scalars(masks)
    found: list[Any] = []
    for one in values:
        if type(one) is dict:
            found.append(hidden(one, masks) or _SHOWN)
        elif type(one) is list:
            found.append(_hidden_elements(one, masks) or _SHOWN)
        else:
            found.append(_SHOWN if scalars else _typed(one))
    # An element more of which everything is shown hides nothing.
    while found and found[-1] is _SHOWN:
        found.pop()
    return found


def _typed(value: Value) -> Any:
    """Return what equals that of another value only if their types do, too: `1`, `1.0` and `true` are three.

    What is hidden is for comparing: a write must leave it as it is.
    """
    if type(value) is dict:
        return {name: _typed(one) for name, one in value.items()}
    return [_typed(one) for one in value] if type(value) is list else (type(value), value)


def _within(masks: Masks, name: str) -> Masks | None:
    """Return the masks within the field `name`: none if it is hidden; None if all of it is shown."""
    inner: list[Mask] = []
    for mask in masks:
        tree = mask.tree.get(name)
        if mask.hides:
            if tree is None:
                return None
            if tree:
                inner.append(Mask(tree, hides=True))
        elif tree is not None:
            if not tree:
                return None
            inner.append(Mask(tree, hides=False))
    return tuple(inner)


def _shows_scalars(masks: Masks) -> bool:
    """Whether a value that has no fields is shown: a mask that hides fields within it hides none of it."""
    return any(mask.hides for mask in masks)
