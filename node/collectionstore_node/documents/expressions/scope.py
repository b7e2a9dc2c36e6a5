"""What an expression is computed in: the document, variables, and what it may cost.

Costs are counted, never measured, so that the same request is refused on every member alike. A step is about as much as
a node of an expression costs.
"""

from __future__ import annotations

from typing import Any, Final

from collectionstore_node.documents.values import MISSING, NOTHING, Value, sort_key
from collectionstore_node.errors import InvalidRequest

STEPS_MAX: Final = 200_000
"""Of the expressions of one stage for one document, as they are computed without a pause."""
VALUE_BYTES_MAX: Final = 4 << 20
"""Of a value that is built, by `weigh`."""
DEPTH_MAX: Final = 100
"""How deep a value may be nested, as documents may."""
RANGE_MAX: Final = 100_000
"""Elements of a `$range`."""

_SCALAR: Final = 8
_INT32: Final = range(-(1 << 31), 1 << 31)
_NAMES: Final[dict[type, str]] = {
    str: "string",
    dict: "object",
    list: "array",
    bool: "bool",
    type(None): "null",
    float: "double",
}


class Unfit(Exception):
    """The values do not fit an operator. The message ends the sentence that the operator's name begins."""


def weigh(value: Value, left: int = VALUE_BYTES_MAX, depth: int = 0) -> int:
    """Return about how many bytes a value has: 8 for each, and the characters of texts and names.

    More than `left` means that it has more; counting ends there. Raises `InvalidRequest("query_memory_exceeded")` for
    one that is nested too deep.
    """
    kind = type(value)
    if kind is str:
        return _SCALAR + len(value)
    if kind is not list and kind is not dict:
        return _SCALAR
    if depth >= DEPTH_MAX:
        raise InvalidRequest("query_memory_exceeded", f"a value is nested more than {DEPTH_MAX} deep")
    total = _SCALAR
    elements = value
    if kind is dict:
        total += _SCALAR * len(value) + sum(map(len, value))
        elements = value.values()
    for one in elements:
        # Without a call for each of many numbers.
        kind = type(one)
        if kind is str:
            total += _SCALAR + len(one)
        elif kind is list or kind is dict:
            total += weigh(one, left - total, depth + 1)
        else:
            total += _SCALAR
        if total > left:
            break
    return total


class Scope:
    """One computation after another, each of one document, in the same memory."""

    __slots__ = ("root", "steps", "values")

    def __init__(self, slots: int) -> None:
        """`slots` is how many variables there are."""
        self.root: dict[str, Any] = {}
        self.values: list[Value] = [MISSING] * slots
        self.steps = 0

    def begin(self, document: dict[str, Any]) -> None:
        """Begin with another document."""
        self.root = document
        self.steps = 0

    def spend(self, steps: int) -> None:
        """Count steps. Raises `InvalidRequest("query_too_costly")` beyond `STEPS_MAX`."""
        self.steps += steps
        if self.steps > STEPS_MAX:
            raise InvalidRequest(
                "query_too_costly",
                f"the expressions of a stage take more than {STEPS_MAX} steps for one document; "
                "use shorter arrays, or $unwind them",
            )

    def built(self, size: int) -> None:
        """Count the making of a text or an array of `size` bytes. Raises `InvalidRequest`."""
        if size > VALUE_BYTES_MAX:
            raise too_large()
        self.spend(size >> 6)

    def visited(self, value: Value) -> None:
        """Count a look at all of a value, BEFORE it: what was built may be far larger than what it was built from."""
        kind = type(value)
        if kind is str:
            self.spend(len(value) >> 6)
        elif kind is list or kind is dict:
            self.spend(weigh(value, (STEPS_MAX - self.steps) << 3) >> 3)

    def sorts(self, count: int) -> None:
        """Count the sorting of so many elements, BEFORE it: it holds the interpreter."""
        self.spend(count * count.bit_length())

    def key(self, value: Value) -> bytes:
        """Return the key of a value in the order of values, in which `MISSING` is before all others."""
        if value is MISSING:
            return NOTHING
        self.visited(value)
        return sort_key(value)


class Spent:
    """The steps of expressions that are hidden in something else, such as a filter."""

    __slots__ = ("steps",)

    def __init__(self) -> None:
        self.steps = 0

    def taken(self) -> int:
        """Return the steps since the last call."""
        steps, self.steps = self.steps, 0
        return steps


def too_large() -> InvalidRequest:
    """Return the error for a value with more than `VALUE_BYTES_MAX`."""
    return InvalidRequest("query_memory_exceeded", f"a value or document has more than {VALUE_BYTES_MAX >> 20} MiB")


def type_name(value: Value) -> str:
    """Return the type of a value as `$type` names it."""
    kind = type(value)
    if kind is int:
        return "int" if value in _INT32 else "long"
    return "missing" if value is MISSING else _NAMES[kind]


def truthy(value: Value) -> bool:
    """Return whether a value counts as true: all but false, null, zero and what is missing."""
    kind = type(value)
    if kind is bool:
        return bool(value)
    if kind is int or kind is float:
        return bool(value != 0)
    return value is not None and value is not MISSING


def absent(value: Value) -> bool:
    """Return whether a value is null or missing."""
    return value is None or value is MISSING
