"""`Work`: what one pipeline has spent since its last pause, and keeps in memory.

Times are estimates and memory is counted, never measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple, TypeAlias

import orjson

from collectionstore_node.documents.expressions import Compute, Scope, weigh
from collectionstore_node.documents.expressions.scope import VALUE_BYTES_MAX, too_large
from collectionstore_node.documents.values import Value
from collectionstore_node.errors import InvalidRequest
from collectionstore_node.query.scanning import STEP_NS, STEPS_NS

STAGE_NS: Final = 1_000
WEIGHT_NS: Final = 15
"""What a stage costs for each document: itself, and by `weigh` of what it makes; nodes and steps beside."""
KEPT_BYTES: Final = 96
"""What keeping anything takes beside its text."""
SCALAR_BYTES: Final = 32


class Item(NamedTuple):
    """A document between two stages. Stages share its values, so none changes them."""

    document: dict[str, Any]
    size: int
    """At least what `weigh` returns for it, or nearly."""


Items: TypeAlias = Iterator[Item | None]
"""Documents, and None at pauses: a stage hands each None on at once."""


class Work:
    """Shared by all stages of a pipeline."""

    __slots__ = ("_memory_max", "kept", "peak", "scope", "spent")

    def __init__(self, slots: int, memory_bytes_max: int) -> None:
        """`slots` is how many variables the expressions have."""
        self._memory_max = memory_bytes_max
        self.kept = 0
        """What is kept now, in bytes."""
        self.peak = 0
        """The most that was kept at a time, in bytes."""
        self.scope = Scope(slots)
        self.spent = 0
        """Nanoseconds since the last pause, about."""

    @property
    def due(self) -> bool:
        """Whether it is time for a pause."""
        return self.spent >= STEP_NS

    def computed(self, compute: Compute, document: dict[str, Any], nodes: int) -> Value:
        """Return what one expression, of so many nodes, computes from a document."""
        scope = self.scope
        scope.begin(document)
        value = compute(scope)
        self.spend(nodes)
        return value

    def spend(self, nodes: int) -> None:
        """Count a stage for one document, with what its expressions have taken since `scope.begin`."""
        self.spent += STAGE_NS + STEPS_NS * (nodes + self.scope.steps)

    def item(self, document: dict[str, Any]) -> Item:
        """Return a document that a stage has made. Raises `InvalidRequest("query_memory_exceeded")`."""
        size = weigh(document)
        if size > VALUE_BYTES_MAX:
            raise too_large()
        self.spent += WEIGHT_NS * size
        return Item(document, size)

    def packed(self, value: Value) -> tuple[Value, int]:
        """Return a value in the form in which it is kept, and the bytes that takes: arrays and objects as text.

        Decoded they would take many times their text.
        """
        kind = type(value)
        if kind is str:
            return value, KEPT_BYTES + len(value)
        if kind is not dict and kind is not list:
            return value, SCALAR_BYTES
        size = weigh(value)
        if size > VALUE_BYTES_MAX:
            raise too_large()
        self.spent += WEIGHT_NS * size
        text = orjson.dumps(value)
        return text, KEPT_BYTES + len(text)

    def keep(self, size: int) -> None:
        """Count bytes that are kept. Raises `InvalidRequest("query_memory_exceeded")`."""
        self.kept += size
        if self.kept > self.peak:
            self.peak = self.kept
            if self.kept > self._memory_max:
                raise InvalidRequest(
                    "query_memory_exceeded",
                    f"the pipeline keeps more than {self._memory_max} bytes; "
                    "narrow its first $match, or keep fewer fields with $project",
                )

    def free(self, size: int) -> None:
        """Count bytes that are kept no more."""
        self.kept -= size


def unpacked(kept: Value) -> Value:
    """Return the value that `Work.packed` has put in this form."""
    return orjson.loads(kept) if type(kept) is bytes else kept
