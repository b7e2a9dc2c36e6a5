"""Comparisons of any two values, in the order of values; what is missing is before null, and no equal of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from collectionstore_node.documents.expressions.operators.forms import Operator, fixed, unary
from collectionstore_node.documents.expressions.scope import Scope, truthy
from collectionstore_node.documents.values import Value


def compared(scope: Scope, left: Value, right: Value) -> int:
    """Return -1, 0 or 1 as `left` is before, equal to or behind `right`."""
    one, other = scope.key(left), scope.key(right)
    return (one > other) - (one < other)


def _comparison(test: Callable[[int], bool]) -> Callable[[Scope, Value, Value], bool]:
    return lambda scope, left, right: test(compared(scope, left, right))


COMPARISON: Final[dict[str, Operator]] = {
    "$cmp": fixed(compared, 2, "[value, value]"),
    "$eq": fixed(_comparison(lambda sign: sign == 0), 2, "[value, value]"),
    "$gt": fixed(_comparison(lambda sign: sign > 0), 2, "[value, value]"),
    "$gte": fixed(_comparison(lambda sign: sign >= 0), 2, "[value, value]"),
    "$lt": fixed(_comparison(lambda sign: sign < 0), 2, "[value, value]"),
    "$lte": fixed(_comparison(lambda sign: sign <= 0), 2, "[value, value]"),
    "$ne": fixed(_comparison(lambda sign: sign != 0), 2, "[value, value]"),
    "$not": unary(lambda scope, value: not truthy(value), "a value"),
}
