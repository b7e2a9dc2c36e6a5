"""Texts. Lengths and positions count code points; upper and lower case are those of ASCII, as in MongoDB."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from collectionstore_node.documents.expressions.operators.conversions import shown
from collectionstore_node.documents.expressions.operators.forms import (
    NOT_GIVEN,
    Operator,
    fixed,
    named,
    text,
    unary,
    variadic,
    whole,
)
from collectionstore_node.documents.expressions.scope import Scope, Unfit, absent
from collectionstore_node.documents.values import Value

_WHITE: Final = "\0\t\n\v\f\r \u00a0\u1680" + "".join(map(chr, range(0x2000, 0x200B)))


def _coerced(value: Value) -> str:
    if absent(value):
        return ""
    if type(value) in (str, int, float):
        return shown(value)
    return text(value, "a text or a number")


def _concat(scope: Scope, *values: Value) -> Value:
    if any(absent(value) for value in values):
        return None
    given = [text(value, "texts") for value in values]
    # BEFORE they are joined.
    scope.built(sum(map(len, given)))
    return "".join(given)


def _cased(change: Callable[[bytes], bytes]) -> Callable[[Scope, Value], str]:
    def run(scope: Scope, value: Value) -> str:
        given = _coerced(value)
        scope.built(len(given))
        # Of bytes the standard library changes the letters of ASCII alone.
        return change(given.encode()).decode()

    return run


def _strcasecmp(scope: Scope, left: Value, right: Value) -> int:
    one, other = _cased(bytes.upper)(scope, left), _cased(bytes.upper)(scope, right)
    return (one > other) - (one < other)


def _substring(scope: Scope, value: Value, start: Value, length: Value) -> str:
    begin, count = whole(start, "a start"), whole(length, "a length")
    if begin < 0 or count < 0:
        raise Unfit("takes a start and a length of at least 0")
    found = _coerced(value)[begin : begin + count]
    scope.built(len(found))
    return found


def _length(scope: Scope, value: Value) -> int:
    return len(text(value))


def _length_bytes(scope: Scope, value: Value) -> int:
    scope.visited(text(value))
    return len(text(value).encode())


def _split(scope: Scope, value: Value, separator: Value) -> Value:
    if absent(value) or absent(separator):
        return None
    given, between = text(value), text(separator)
    if not between:
        raise Unfit("takes a separator that is not empty")
    scope.built(len(given))
    scope.spend(given.count(between))
    return given.split(between)


def _trimming(trim: Callable[[str, str], str]) -> Callable[..., Value]:
    def run(scope: Scope, value: Value, characters: Value) -> Value:
        if characters is NOT_GIVEN:
            characters = _WHITE
        if absent(value) or absent(characters):
            return None
        given, ends = text(value), text(characters)
        # Each character of the text may be compared with each one of the ends.
        scope.spend(len(given) * len(ends) >> 6)
        scope.built(len(given))
        return trim(given, ends)

    return run


def _index(scope: Scope, value: Value, part: Value, start: Value = 0, end: Value = None) -> Value:
    if absent(value):
        return None
    given, wanted = text(value), text(part)
    begin = whole(start, "a start")
    behind = len(given) if end is None else whole(end, "an end")
    if begin < 0 or behind < 0:
        raise Unfit("takes a start and an end of at least 0")
    scope.visited(given)
    if begin > len(given) or behind < begin:
        return -1
    return given.find(wanted, begin, behind)


def _replacing(count: int) -> Callable[[Scope, Value, Value, Value], Value]:
    def run(scope: Scope, value: Value, find: Value, replacement: Value) -> Value:
        if absent(value) or absent(find) or absent(replacement):
            return None
        given, wanted, new = text(value), text(find), text(replacement)
        scope.visited(given)
        found = given.count(wanted) if count < 0 else min(count, given.count(wanted))
        # BEFORE it is made: an empty text is found at every place.
        scope.built(len(given) + found * len(new))
        return given.replace(wanted, new, count)

    return run


TEXTS: Final[dict[str, Operator]] = {
    "$concat": variadic(_concat, "a list of texts"),
    "$indexOfCP": Operator(_index, "[text, part], and a start and an end", 2, 4),
    "$ltrim": named(_trimming(str.lstrip), '{"input": text, "chars": text}', "input", "chars", required=1),
    "$replaceAll": named(
        _replacing(-1),
        '{"input": text, "find": text, "replacement": text}',
        "input",
        "find",
        "replacement",
        required=3,
    ),
    "$replaceOne": named(
        _replacing(1), '{"input": text, "find": text, "replacement": text}', "input", "find", "replacement", required=3
    ),
    "$rtrim": named(_trimming(str.rstrip), '{"input": text, "chars": text}', "input", "chars", required=1),
    "$split": fixed(_split, 2, "[text, separator]"),
    "$strLenBytes": unary(_length_bytes, "a text"),
    "$strLenCP": unary(_length, "a text"),
    "$strcasecmp": fixed(_strcasecmp, 2, "[text, text]"),
    "$substrCP": fixed(_substring, 3, "[text, start, length]"),
    "$toLower": unary(_cased(bytes.lower), "a text"),
    "$toUpper": unary(_cased(bytes.upper), "a text"),
    "$trim": named(_trimming(str.strip), '{"input": text, "chars": text}', "input", "chars", required=1),
}
