"""`Program`: a checked update of any form, and what it makes of a document."""

from __future__ import annotations

import enum
from typing import Final

import orjson

from collectionstore_node.documents.updates.budget import Budget, too_deep
from collectionstore_node.documents.updates.clauses import Moment
from collectionstore_node.documents.updates.conditions import Condition
from collectionstore_node.documents.updates.failures import Failed, Reason
from collectionstore_node.documents.updates.fields import Fields
from collectionstore_node.documents.updates.json_patch import JsonPatch
from collectionstore_node.documents.updates.merge_patch import MergePatch
from collectionstore_node.documents.updates.operators import Operators
from collectionstore_node.documents.updates.places import invalid
from collectionstore_node.documents.values import Value

EMPTY: Final = b"{}"
"""The document that an update begins with which inserts one."""


class Form(enum.IntEnum):
    """The form of an update. Part of the log: numbers are never reused."""

    OPERATORS = 0
    MERGE_PATCH = 1
    JSON_PATCH = 2


class Program:
    """A checked update."""

    __slots__ = ("_condition", "_steps", "has_bits", "patterns")

    def __init__(self, steps: Operators | MergePatch | JsonPatch, condition: Condition | None) -> None:
        self._steps = steps
        self._condition = condition
        self.patterns = steps.patterns if isinstance(steps, Operators) else 0
        """How many regular expressions it has, besides those of its condition."""
        self.has_bits = isinstance(steps, Operators) and steps.has_bits
        """Whether it has `$bit`, which earlier feature levels do not know."""

    def run(self, fields: Fields, budget: Budget, *, time_ms: int) -> bytes | None:
        """Return the text of the document that `fields` becomes; None if it stays as it is. Raises `Failed`."""
        root = fields.root(self._steps.names)
        self._steps.change(root, Moment(budget, time_ms, inserted=False))
        return fields.text(root)

    def insert(self, budget: Budget, *, time_ms: int) -> bytes:
        """Return the text of a new document: what its filter says it must have, updated. Raises `Failed`."""
        fields = Fields(EMPTY, budget)
        root = fields.root(())
        if self._condition is not None:
            seed = self._condition.seed()
            if too_deep(seed):
                raise Failed(Reason.SIZE)
            budget.weigh(seed)
            root |= orjson.loads(orjson.dumps(seed))
        self._steps.change(root, Moment(budget, time_ms, inserted=True))
        return fields.text(root) or EMPTY

    def pointer(self, position: int) -> str:
        """Return where a part of the update is in the body, as a JSON pointer."""
        return self._steps.pointer(position)

    def needs(self, position: int) -> str:
        """Return what a part of the update takes, for people."""
        return self._steps.needs(position)


def parse_update(
    form: Form,
    given: Value,
    *,
    array_filters: Value = None,
    condition: Condition | None = None,
    pointer: str = "",
    filters_pointer: str = "/array_filters",
) -> Program:
    """Return the update that JSON describes; `pointer` is where it is in the request's body.

    `condition` is the filter that the document matches: `$` means the element that it matched, and an insert begins
    with what it says. Raises `InvalidPart("invalid_update")`. Costs at most as much as decoding it did.
    """
    if array_filters is not None and form is not Form.OPERATORS:
        raise invalid(filters_pointer, "array filters go with operators")
    match form:
        case Form.OPERATORS:
            steps: Operators | MergePatch | JsonPatch = Operators(
                given, array_filters, condition, pointer, filters_pointer
            )
        case Form.MERGE_PATCH:
            steps = MergePatch(given, pointer)
        case Form.JSON_PATCH:
            steps = JsonPatch(given, pointer)
    return Program(steps, condition)
