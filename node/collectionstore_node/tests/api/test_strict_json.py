"""Strict JSON: ambiguous documents are refused, and all others are stored without loss."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectionstore_node.api.http.json_bodies import (
    INTEGER_MAX,
    INTEGER_MIN,
    KEYS_NAMED_BYTES_MAX,
    parse_document,
    parse_object,
)
from collectionstore_node.api.http.problems import Problem

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(INTEGER_MIN, INTEGER_MAX)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
NAMES = st.text().filter(lambda name: not name.startswith("_"))
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4))
DOCUMENTS = st.dictionaries(NAMES, VALUES, max_size=6)
LAYOUTS = st.sampled_from([{}, {"indent": 1}, {"separators": (",", ":")}, {"ensure_ascii": False}])


@given(DOCUMENTS, LAYOUTS)
@settings(max_examples=80, deadline=None)
def test_a_document_keeps_its_meaning_in_every_layout(document: dict[str, Any], layout: dict[str, Any]) -> None:
    """Canonical text is a fixed point: a second pass changes nothing."""
    text = json.dumps(document, **layout).encode()

    stored = parse_document(text, 100)

    assert json.loads(stored) == document
    assert parse_document(stored, 100) == stored


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 9)), min_size=1, max_size=5), st.booleans())
@settings(max_examples=100, deadline=None)
def test_duplicate_keys_are_found_wherever_they_are(pairs: list[tuple[str, int]], nested: bool) -> None:  # noqa: FBT001
    """Also in text that is otherwise canonical, where one parse and one dump must notice."""
    text = "{" + ",".join(f'"{name}":{value}' for name, value in pairs) + "}"
    text = f'{{"x":[{text}]}}' if nested else text
    names = [name for name, _ in pairs]

    if len(set(names)) == len(names):
        assert parse_document(text.encode(), 100) == text.encode()
    else:
        with pytest.raises(Problem) as caught:
            parse_document(text.encode(), 100)
        assert caught.value.code == "duplicate_key"
        assert caught.value.members["key"] in names


@given(st.integers(-(10**30), 10**30), st.booleans())
@settings(max_examples=100, deadline=None)
def test_integers_are_exact_or_refused(number: int, spaced: bool) -> None:  # noqa: FBT001
    text = (f'{{"n": {number}}}' if spaced else f'{{"n":{number}}}').encode()

    if INTEGER_MIN <= number <= INTEGER_MAX:
        assert parse_object(text, 100) == {"n": number}
    else:
        with pytest.raises(Problem) as caught:
            parse_object(text, 100)
        assert caught.value.code == "number_out_of_range"


@given(st.integers(1, 140), st.sampled_from(["[]", "{}"]), st.integers(1, 120))
@settings(max_examples=100, deadline=None)
def test_depth_is_counted_exactly(depth: int, kind: str, depth_max: int) -> None:
    """Brackets inside strings do not count."""
    opening, closing = ("[", "]") if kind == "[]" else ('{"a":', "}")
    inner = opening * (depth - 1) + '"[{\\"[{"' + closing * (depth - 1)
    text = f'{{"a":{inner},"b":[{",".join(["[]"] * 60)}]}}'.encode() if depth >= 3 else f'{{"a":{inner}}}'.encode()

    if depth <= depth_max:
        parse_document(text, depth_max)
    else:
        with pytest.raises(Problem) as caught:
            parse_document(text, depth_max)
        assert caught.value.code == "nesting_too_deep"


@given(
    st.binary(max_size=60)
    | st.text(alphabet='{}[]",:0123456789.eE+-\\u_ \tnulltrefalsNaIy', max_size=40).map(str.encode)
)
@settings(max_examples=400, deadline=None)
def test_any_bytes_are_a_document_or_a_problem(body: bytes) -> None:
    """An accepted body is a JSON object for the standard library too."""
    try:
        stored = parse_document(body, 20)
    except Problem:
        return  # the only exception there is
    value = json.loads(body)
    assert type(value) is dict
    assert json.loads(stored) == value


@pytest.mark.parametrize("spaces", ["", " ", "\n"])
@pytest.mark.parametrize(
    ("number", "kept"),
    [
        ("18446744073709551615", True),
        ("18446744073709551616", False),
        ("-9223372036854775808", True),
        ("-9223372036854775809", False),
        ("12345678901234567890123.5", True),
        ("0.12345678901234567890123", True),
        ("1e-0000000000000000000001", True),
        ("-1.5e+0000000000000000000001", True),
        ("100000000000000000000e1", True),
    ],
)
def test_long_numbers(number: str, kept: bool, spaces: str) -> None:  # noqa: FBT001 - a table's column
    """Digits of fractions and exponents are not integers; digits in texts are not numbers."""
    text = f'{{"n":{spaces}[{number}],"text":"99999999999999999999999","e":"\\u0041"}}'.encode()

    if kept:
        assert json.loads(parse_document(text, 100))["n"] == [json.loads(number)]
    else:
        with pytest.raises(Problem) as caught:
            parse_document(text, 100)
        assert caught.value.code == "number_out_of_range"


def test_a_duplicate_key_is_found_at_any_size_and_named_where_that_is_cheap() -> None:
    """White space, escapes, and numbers that grow when rewritten do not hide it."""
    for filling in ("x", "x" * (KEYS_NAMED_BYTES_MAX + 1)):
        text = f'{{ "a": "{filling}", "b": {{"c" : 1e9, "\\u0063": "\\u0022" }}}}'.encode()
        with pytest.raises(Problem) as caught:
            parse_document(text, 100)
        assert caught.value.code == "duplicate_key"
        assert caught.value.members == ({"key": "c"} if len(filling) == 1 else {})


def test_floats_stay_what_they_are() -> None:
    """A float never becomes an integer, which would sort and compare differently."""
    assert (
        parse_document(b'{"a":1.0,"b":-0.0,"c":1E5,"d":5e-324}', 100) == b'{"a":1.0,"b":-0.0,"c":100000.0,"d":5e-324}'
    )
    assert math.copysign(1, parse_object(b'{"b":-0.0}', 100)["b"]) == -1
