"""JSON Merge Patch (RFC 7396): objects are merged, null removes, everything else replaces."""

from __future__ import annotations

from typing import Any

import orjson

from collectionstore_node.documents.pointers import child
from collectionstore_node.documents.updates.budget import Budget
from collectionstore_node.documents.updates.clauses import Moment
from collectionstore_node.documents.updates.fields import Root
from collectionstore_node.documents.updates.places import check_name, invalid
from collectionstore_node.documents.values import Value


class MergePatch:
    """A checked merge patch."""

    __slots__ = ("_patch", "_size_bytes", "names")

    def __init__(self, given: Value, pointer: str) -> None:
        """Raises `InvalidPart`."""
        if type(given) is not dict:
            raise invalid(pointer, "a merge patch of a document is an object")
        for name in given:
            check_name(name, child(pointer, name))
        self._patch: dict[str, Any] = given
        self._size_bytes = len(orjson.dumps(given))
        self.names: frozenset[str] | None = frozenset(given)

    def pointer(self, position: int) -> str:
        """Return the place of the patch itself: it has no parts that fail alone."""
        return ""

    def needs(self, position: int) -> str:
        """Return what it takes."""
        return "a merge patch fits every document"

    def change(self, root: Root, moment: Moment) -> None:
        """Change a document. Raises `Failed`."""
        # No deeper than the deeper one of both, and no longer than both together.
        moment.budget.grow(self._size_bytes)
        _merge(root, self._patch, moment.budget)


def _merge(target: dict[str, Any], patch: dict[str, Any], budget: Budget) -> None:
    for name, value in patch.items():
        budget.step()
        if value is None:
            target.pop(name, None)
        elif type(value) is dict:
            # What is no object is replaced by one, of which null removes nothing.
            inner = target.get(name)
            if type(inner) is not dict:
                inner = target[name] = {}
            _merge(inner, value, budget)
        else:
            target[name] = value
