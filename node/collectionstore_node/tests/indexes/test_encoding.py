"""Keys of values: in the order of values, one for one, and the ranges of them that hold what they say."""

from __future__ import annotations

import hashlib
from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectionstore_node.documents.values import equal, inverted, sort_key
from collectionstore_node.indexes.encoding import (
    KEY_BYTES_MAX,
    LONG_PREFIX_BYTES,
    Bound,
    Interval,
    TooDeep,
    after,
    at,
    between,
    both,
    check_depth,
    key_of,
    scalar_in,
)
from collectionstore_node.indexes.folding import fold
from collectionstore_node.indexes.folding_table import EXPANSIONS, RUNS
from collectionstore_node.tests.documents.json_values import SCALARS, VALUES

LONG = st.tuples(st.sampled_from(["", "a"]), st.integers(200, 300), st.text(max_size=3)).map(
    lambda parts: parts[0] + "x" * parts[1] + parts[2]
)
ANY = st.one_of(VALUES, LONG, st.floats(allow_nan=False, allow_infinity=False), st.integers(-(1 << 63), (1 << 64) - 1))


@given(ANY, ANY)
def test_keys_sort_as_values_do_and_are_equal_for_equal_values_alone(left: Any, right: Any) -> None:
    one, other = key_of(left), key_of(right)
    exact, other_exact = sort_key(left), sort_key(right)
    assert (one == other) == equal(left, right)
    # Only two long ones that begin alike may be in another order.
    if not (len(exact) > KEY_BYTES_MAX < len(other_exact) and one[:LONG_PREFIX_BYTES] == other[:LONG_PREFIX_BYTES]):
        assert (one < other) == (exact < other_exact)
        assert (inverted(one) > inverted(other)) == (exact < other_exact)
    assert max(len(one), len(other)) <= KEY_BYTES_MAX


@given(st.lists(ANY, min_size=2, max_size=6))
def test_no_key_is_a_prefix_of_another_one(values: list[Any]) -> None:
    keys = sorted({key_of(value) for value in values})
    assert not any(other.startswith(one) for one, other in pairwise(keys))


@given(st.one_of(SCALARS, st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=20)), st.booleans())
def test_scalars_are_read_back_from_between_other_keys(value: Any, descending: bool) -> None:  # noqa: FBT001
    key = inverted(key_of(value)) if descending else key_of(value)
    found, end = scalar_in(b"before" + key + b"behind", 6, descending=descending)
    assert end == 6 + len(key)
    assert equal(found, value)


def test_an_object_is_not_read_back() -> None:
    with pytest.raises(ValueError, match="scalar"):
        scalar_in(key_of({"a": 1}), 0, descending=False)


@given(ANY, ANY, ANY, st.booleans(), st.booleans(), st.booleans())
def test_intervals_hold_what_is_between_their_ends(
    value: Any,
    one: Any,
    other: Any,
    include_low: bool,  # noqa: FBT001
    include_high: bool,  # noqa: FBT001
    descending: bool,  # noqa: FBT001
) -> None:
    low, high, key = key_of(one), key_of(other), key_of(value)
    inside = (low < key or (include_low and low == key)) and (key < high or (include_high and key == high))
    made = between(Bound(low, include_low), Bound(high, include_high))
    if made is None:
        assert not inside
        return
    if descending:
        made, key = made.inverted(), inverted(key)
    lo, hi = made.span(b"\x08prefix")
    # Whatever follows the key, as other fields and the ID do.
    for tail in (b"", b"\x00", b"\xff" * 9):
        assert (lo <= b"\x08prefix" + key + tail < hi) == inside


@given(ANY, ANY, ANY, ANY, ANY)
def test_the_intersection_of_intervals_holds_what_both_hold(value: Any, a: Any, b: Any, c: Any, d: Any) -> None:
    def inside(interval: Interval | None) -> bool:
        if interval is None:
            return False
        lo, hi = interval.span()
        return lo <= key_of(value) < hi

    one, other = between(Bound(key_of(a)), Bound(key_of(b))), between(Bound(key_of(c)), Bound(key_of(d)))
    if one is not None and other is not None:
        assert inside(both(one, other)) == (inside(one) and inside(other))
    if one is not None:
        found = both(one, at(key_of(value)))
        assert (found is not None) == inside(one)
        assert found is None or found.point


def test_after_carries() -> None:
    assert after(b"a\xff\xff") == b"b"


def test_depth_is_checked_without_recursion() -> None:
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(TooDeep):
        check_depth(deep)
    check_depth(orjson.loads("[" * 100 + "]" * 100))


def test_folding_table_is_the_one_that_indexes_were_made_by() -> None:
    """A change of one letter would make the entries of replicas, or of the documents before and after it, differ."""
    digest = hashlib.sha256((RUNS + EXPANSIONS).encode()).hexdigest()
    assert digest == "a0f25ce6e61458ac85b07a1cfb84c1e4e29a420cb12055f62b10d1937529f645"


def test_folding_is_that_of_unicode_14() -> None:
    """Letters that Python knows from a later version may fold there; none that is in the table folds otherwise."""
    for number in range(0x110000):
        if not 0xD800 <= number < 0xE000:
            letter = chr(number)
            assert fold(letter) in (letter, letter.casefold())
            assert letter > "\u1fff" or fold(letter) == letter.casefold()


@given(st.text(), st.text())
def test_folding_is_letter_by_letter(one: str, other: str) -> None:
    """So that what begins a text begins the folded text."""
    assert fold(one + other) == fold(one) + fold(other)
    assert fold(fold(one)) == fold(one)
