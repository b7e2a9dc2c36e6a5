"""Strict JSON: ambiguous documents are refused, and all others are stored as they were sent, however they are cut."""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from collectionstore_node.api.http.json_bodies import (
    AT_ONCE_BYTES_MAX,
    AT_ONCE_VALUES_MAX,
    at_once,
    compact_json,
    compact_json_steps,
)
from collectionstore_node.api.http.json_windows import (
    INTEGER_MAX,
    INTEGER_MIN,
    NUMBER_BYTES_MAX,
    WINDOW_BYTES,
    Rules,
    Scanner,
    steps,
)
from collectionstore_node.api.http.problems import Problem
from collectionstore_node.tests.api.large_bodies import LEGAL, REFUSED
from collectionstore_node.tests.statemachine.pages import complete

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
WINDOWS = (2, 3, 7, 64, WINDOW_BYTES)
NEARLY_JSON = st.lists(
    st.sampled_from(
        [
            *'{}[]",:\\ \n',
            *("{}", "[]", '"a"', '"a":', '"b":1', '"\\u0061":', '"\\"', '"\\\\"', '{"', '":', "[1,", ",1]"),
            *("1", "-0", "1.50", "1E2", "1e400", "01", "18446744073709551616", "true", "null", "NaN", "é", "\\u"),
            *('"\\ud83d\\ude00"', '"\\ud83d"', "\\\\", '\\"', "\x00", '"_x":', '"\\u005fx":'),
        ]
    ),
    max_size=14,
).map("".join)


class Refused(Exception):
    """The reference refuses the text."""


def parsed(body: bytes, depth_max: int = 100) -> bytes:
    """Return the stored text, which is the same at once and in windows of any size. Raises the `Problem` at once."""
    rules = Rules(depth_max)
    results: list[bytes | None] = []
    for window_bytes in WINDOWS:
        try:
            results.append(complete(steps(body, rules, window_bytes)))
        except Problem:
            results.append(None)
    try:
        text = compact_json(body, rules)
    except Problem:
        assert results == [None] * len(WINDOWS)
        raise
    assert results == [text] * len(WINDOWS)
    return text


def in_small_steps(body: bytes, rules: Rules) -> bytes:
    return complete(steps(body, rules, 4))


def code_of(body: bytes, depth_max: int = 100) -> str:
    with pytest.raises(Problem) as caught:
        parsed(body, depth_max)
    return caught.value.code


def reference(body: bytes, depth_max: int = 100) -> bytes:
    """Return the text to store by the standard library and one look at every character. Raises `Refused`."""

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(found)) != len(found):
            raise Refused
        return dict(found)

    def integer(text: str) -> int:
        if not INTEGER_MIN <= int(text) <= INTEGER_MAX:
            raise Refused
        return int(text)

    def number(text: str) -> float:
        if math.isinf(float(text)) or len(text) > NUMBER_BYTES_MAX:
            raise Refused
        return float(text)

    def refuse(_: str) -> NoReturn:
        raise Refused

    try:
        text = body.decode()
        value = json.loads(text, object_pairs_hook=pairs, parse_int=integer, parse_float=number, parse_constant=refuse)
        json.dumps(value, ensure_ascii=False).encode()  # no lone surrogates
    except (ValueError, RecursionError):
        raise Refused from None
    if type(value) is not dict or depth(value) > depth_max or any(name.startswith("_") for name in value):
        raise Refused
    return re.sub(r'("(?:[^"\\]|\\.)*")|[ \t\r\n]+', r"\1", text).encode()


def depth(value: object) -> int:
    match value:
        case dict():
            return 1 + max(map(depth, value.values()), default=0)
        case list():
            return 1 + max(map(depth, value), default=0)
    return 0


def check(body: bytes, depth_max: int = 100) -> None:
    try:
        expected = reference(body, depth_max)
    except Refused:
        with pytest.raises(Problem):
            parsed(body, depth_max)
    else:
        assert parsed(body, depth_max) == expected


@given(DOCUMENTS, LAYOUTS)
@settings(max_examples=80, deadline=None)
def test_a_document_keeps_its_text_in_every_layout(document: dict[str, Any], layout: dict[str, Any]) -> None:
    """What is stored is never longer than what was sent, and can be stored again: a second pass changes nothing."""
    text = json.dumps(document, **layout).encode()

    stored = parsed(text)

    assert json.loads(stored) == document
    assert stored == reference(text)
    assert len(stored) <= len(text)
    assert parsed(stored) == stored


@given(NEARLY_JSON | st.binary(max_size=60) | NEARLY_JSON.map(lambda inner: f'{{"a":[{inner}]}}'), st.integers(1, 8))
@settings(max_examples=300, deadline=None)
@example('{"a":[1,]}', 8)
@example('{"a":1},{"b":2}', 8)
@example('{"a":1},', 8)
@example('{"a":[1,2]},"b":[3]}', 8)
@example('{"a":{"b":1,"c"},"d":1}', 8)
@example('{"a":[1}', 8)
@example('{"a":"\\\\","b":"\\\\\\"","c":1}', 8)
@example('{"a":1,"b":2,"a":3}', 8)
@example('{"a":"' + "\\" * 40 + '"}', 8)
@example('{"a" : 1 , "b"\n:\t[ ] }', 8)
@example('[{"a":1},{"b":2}]', 8)
@example("5", 8)
@example("", 8)
@example(",", 8)
def test_any_bytes_are_stored_or_refused_as_the_standard_library_would(body: str | bytes, depth_max: int) -> None:
    check(body.encode() if isinstance(body, str) else body, depth_max)


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 9)), min_size=1, max_size=5), st.booleans())
@settings(max_examples=100, deadline=None)
def test_duplicate_keys_are_found_wherever_they_are(pairs: list[tuple[str, int]], nested: bool) -> None:  # noqa: FBT001
    """Also in text that is otherwise canonical, where one parse and one dump must notice."""
    text = "{" + ",".join(f'"{name}":{value}' for name, value in pairs) + "}"
    text = f'{{"x":[{text}]}}' if nested else text
    names = [name for name, _ in pairs]

    if len(set(names)) == len(names):
        assert parsed(text.encode()) == text.encode()
    else:
        with pytest.raises(Problem) as caught:
            parsed(text.encode())
        assert caught.value.code == "duplicate_key"
        assert caught.value.members["key"] in names


@given(st.integers(-(10**30), 10**30), st.booleans())
@settings(max_examples=100, deadline=None)
def test_integers_are_exact_or_refused(number: int, spaced: bool) -> None:  # noqa: FBT001
    text = (f'{{"n": {number}}}' if spaced else f'{{"n":{number}}}').encode()

    if INTEGER_MIN <= number <= INTEGER_MAX:
        assert parsed(text) == b'{"n":%d}' % number
    else:
        assert code_of(text) == "number_out_of_range"


@given(st.integers(1, 140), st.sampled_from(["[]", "{}"]), st.integers(1, 120))
@settings(max_examples=100, deadline=None)
def test_depth_is_counted_exactly(depth: int, kind: str, depth_max: int) -> None:
    """Brackets inside strings do not count."""
    opening, closing = ("[", "]") if kind == "[]" else ('{"a":', "}")
    inner = opening * (depth - 1) + '"[{\\"[{"' + closing * (depth - 1)
    text = f'{{"a":{inner},"b":[{",".join(["[]"] * 60)}]}}'.encode() if depth >= 3 else f'{{"a":{inner}}}'.encode()

    if depth <= depth_max:
        parsed(text, depth_max)
    else:
        assert code_of(text, depth_max) == "nesting_too_deep"


@pytest.mark.parametrize("spaces", ["", " ", "\n"])
@pytest.mark.parametrize(
    ("number", "kept"),
    [
        ("18446744073709551615", True),
        ("18446744073709551616", False),
        ("-9223372036854775808", True),
        ("-9223372036854775809", False),
        ("12345678901234567890123.5", True),
        ("1234567890.1234567890", True),
        ("0.12345678901234567890123", True),
        ("1e-400", True),
        ("1e400", False),
        ("1E2", True),
        ("-0", True),
        ("1e-0000000000000000000001", True),
        ("-1.5e+0000000000000000000001", True),
        ("100000000000000000000e1", True),
        ("0." + "1" * (NUMBER_BYTES_MAX - 2), True),
        ("0." + "1" * (NUMBER_BYTES_MAX - 1), False),
    ],
)
def test_numbers_keep_every_digit_or_are_refused(number: str, kept: bool, spaces: str) -> None:  # noqa: FBT001 - a table
    """Digits of fractions and exponents are not integers; digits in texts are not numbers."""
    text = f'{{"n":{spaces}[{number}],"text":"99999999999999999999999","e":"\\u0041"}}'.encode()

    if kept:
        assert parsed(text) == text.replace(spaces.encode(), b"")
    else:
        assert code_of(text) == "number_out_of_range"


@pytest.mark.parametrize("filling", ["x", "x" * (AT_ONCE_BYTES_MAX + 1)])
def test_a_duplicate_key_is_found_and_named_at_any_size(filling: str) -> None:
    """White space and escapes do not hide it."""
    text = f'{{ "a": "{filling}", "b": {{"c" : 1e9, "\\u0063": "\\u0022" }}}}'.encode()
    with pytest.raises(Problem) as caught:
        parsed(text)
    assert caught.value.code == "duplicate_key"
    assert caught.value.members == {"key": "c"}


def test_a_document_of_the_largest_size_can_be_put_back() -> None:
    """`1e15` is not written out as `1000000000000000.0`."""
    text = b'{"n":[' + b",".join([b"1e15"] * 200_000) + b"]}"
    assert complete(compact_json_steps(text, Rules(100))) == text


@pytest.mark.parametrize("size", [100, 200_000])
def test_the_position_of_a_mistake_is_named(size: int) -> None:
    text = b'{"a":[' + b"1,\n" * size + b'"\xc3\xa9",x]}'
    with pytest.raises(Problem) as caught:
        complete(compact_json_steps(text, Rules(100)))
    assert caught.value.members == {"line": size + 1, "column": 5}


@pytest.mark.parametrize(
    ("body", "reserved"),
    [
        ({"_a": 1}, 1),
        ({"then": [{"document": {"_a": 1}}]}, 4),
        ({"then": [{"document": {"b": {"_a": 1}}}]}, 0),
        ({"then": [{"document": {"b": [{"_a": 1}]}}]}, 0),
    ],
)
def test_reserved_names_are_refused_at_one_depth(body: dict[str, Any], reserved: int) -> None:
    text = json.dumps(body).encode()
    for names_depth in (1, 4):
        rules = Rules(100, names_depth)
        if names_depth == reserved:
            for parse in (compact_json, in_small_steps):
                with pytest.raises(Problem) as caught:
                    parse(text, rules)
                assert caught.value.code == "reserved_field"
        else:
            assert compact_json(text, rules) == in_small_steps(text, rules)


def test_entries_are_counted_before_they_are_decoded() -> None:
    text = b'{"then":[' + b",".join([b'{"op":"get"}'] * 10) + b"]}"
    assert complete(steps(text, Rules(100, 4, 10), 16)) == text
    with pytest.raises(Problem) as caught:
        complete(steps(text, Rules(100, 4, 9), 16))
    assert caught.value.code == "invalid_body"


LARGE = LEGAL | REFUSED


@pytest.mark.parametrize("kind", LARGE)
def test_no_step_works_on_more_than_its_part(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two yields: at most two windows are scanned, unless one string is longer; and every byte only once."""
    scanned: list[int] = []
    scan = Scanner.scan

    def counted(self: Scanner, text: bytes, masked: bytes) -> None:
        # What costs time is counted: a string counts as one, whatever its length, and so does white space.
        scanned[-1] += len(re.sub(rb'"[^"]*"| +', b"", masked)) + masked.count(b'"')
        scan(self, text, masked)

    monkeypatch.setattr(Scanner, "scan", counted)
    body = LARGE[kind]
    assert not at_once(body)
    work = compact_json_steps(body, Rules(100))
    scanned.append(0)
    try:
        while True:
            next(work)
            scanned.append(0)
    except (StopIteration, Problem):
        pass
    assert max(scanned) <= 2 * WINDOW_BYTES
    assert sum(scanned) <= len(body)


def test_what_is_checked_at_once_is_small() -> None:
    assert at_once(b'{"a":1}')
    assert at_once(b'{"a":"' + b"x" * (AT_ONCE_BYTES_MAX - 20) + b'"}')
    assert not at_once(b'{"a":"' + b"x" * AT_ONCE_BYTES_MAX + b'"}')
    assert not at_once(b'{"a":[' + b"1," * AT_ONCE_VALUES_MAX + b"1]}")


def test_floats_stay_what_they_are() -> None:
    """A float never becomes an integer, which would sort and compare differently."""
    assert parsed(b'{"a":1.0,"b":-0.0,"c":1E5,"d":5e-324}') == b'{"a":1.0,"b":-0.0,"c":1E5,"d":5e-324}'
