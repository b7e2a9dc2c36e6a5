"""The order of values, against a slow and obvious one."""

from __future__ import annotations

from functools import cmp_to_key
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from collectionstore_node.documents.values import MISSING, NOTHING, RANKS, equal, inverted, sort_key
from collectionstore_node.tests.documents.json_values import VALUES


def compare(left: Any, right: Any) -> int:
    """Return the sign of the comparison, as MongoDB's manual words it."""
    if RANKS[type(left)] != RANKS[type(right)]:
        return -1 if RANKS[type(left)] < RANKS[type(right)] else 1
    if isinstance(left, dict):
        for (name, value), (other, given_value) in zip(left.items(), right.items(), strict=False):
            one, another = (RANKS[type(value)], name), (RANKS[type(given_value)], other)
            if one != another:
                return -1 if one < another else 1
            if found := compare(value, given_value):
                return found
        return (len(left) > len(right)) - (len(left) < len(right))
    if isinstance(left, list):
        for element, other_element in zip(left, right, strict=False):
            if found := compare(element, other_element):
                return found
        return (len(left) > len(right)) - (len(left) < len(right))
    if left is None:
        return 0
    return int(left > right) - int(left < right)


@given(VALUES, VALUES)
def test_keys_sort_as_values_do(left: Any, right: Any) -> None:
    sign = compare(left, right)
    one, other = sort_key(left), sort_key(right)

    assert (one > other) - (one < other) == sign
    assert (inverted(other) > inverted(one)) - (inverted(other) < inverted(one)) == sign
    assert equal(left, right) == (sign == 0)


def _ascending_then_descending(left: tuple[Any, Any], right: tuple[Any, Any]) -> int:
    return compare(left[0], right[0]) or compare(right[1], left[1])


@given(st.lists(VALUES, max_size=6))
def test_joined_keys_sort_field_by_field(values: list[Any]) -> None:
    """No key is a prefix of another one, so that what follows never decides before it is its turn."""
    pairs: list[tuple[Any, Any]] = [(value, other) for value in values for other in values]
    by_keys = sorted(pairs, key=lambda pair: sort_key(pair[0]) + inverted(sort_key(pair[1])))
    by_values = sorted(pairs, key=cmp_to_key(_ascending_then_descending))

    assert all(
        compare(one[0], other[0]) == 0 and compare(one[1], other[1]) == 0
        for one, other in zip(by_keys, by_values, strict=True)
    )


@given(VALUES)
def test_nothing_sorts_before_everything(value: Any) -> None:
    assert sort_key(value) > NOTHING
    assert inverted(NOTHING) > inverted(sort_key(value))
    assert sort_key(MISSING) == sort_key(None)
