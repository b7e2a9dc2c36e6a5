"""Arrays: their elements, parts, orders and sets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from collectionstore_node.documents.expressions.operators.forms import (
    Operator,
    array,
    fixed,
    named,
    spend_on,
    unary,
    variadic,
    whole,
)
from collectionstore_node.documents.expressions.scope import RANGE_MAX, Scope, Unfit, absent, truthy
from collectionstore_node.documents.values import MISSING, Value


def _element(scope: Scope, values: Value, position: Value) -> Value:
    if absent(values) or absent(position):
        return None
    found, at = array(values), whole(position, "a position")
    return found[at] if -len(found) <= at < len(found) else MISSING


def _end(position: int) -> Callable[[Scope, Value], Value]:
    def run(scope: Scope, values: Value) -> Value:
        if absent(values):
            return None
        found = array(values)
        return found[position] if found else MISSING

    return run


def _ends(*, first: bool) -> Callable[[Scope, Value, Value], Value]:
    def run(scope: Scope, values: Value, count: Value) -> Value:
        found, most = array(values), whole(count, "`n`")
        if most < 1:
            raise Unfit("takes `n` as a whole number of at least 1")
        return spend_on(scope, found[:most] if first else found[-most:])

    return run


def _extremes(*, greatest: bool) -> Callable[[Scope, Value, Value], Value]:
    def run(scope: Scope, values: Value, count: Value) -> Value:
        found, most = array(values), whole(count, "`n`")
        if most < 1:
            raise Unfit("takes `n` as a whole number of at least 1")
        given = [one for one in spend_on(scope, found) if one is not None]
        scope.sorts(len(given))
        return sorted(given, key=scope.key, reverse=greatest)[:most]

    return run


def _concat(scope: Scope, *values: Value) -> Value:
    if any(absent(value) for value in values):
        return None
    joined: list[Any] = []
    for value in values:
        joined += spend_on(scope, array(value, "arrays"))
        scope.built(len(joined) << 3)
    return joined


def _reverse(scope: Scope, values: Value) -> Value:
    return None if absent(values) else spend_on(scope, array(values))[::-1]


def _slice(scope: Scope, values: Value, position: Value, count: Value = MISSING) -> Value:
    if absent(values) or absent(position) or count is None:
        return None
    found, at = array(values), whole(position, "a count or position")
    if count is MISSING:
        return spend_on(scope, found[:at] if at >= 0 else found[at:])
    most = whole(count, "a count")
    if most < 1:
        raise Unfit("takes a count of at least 1 behind a position")
    begin = at if at >= 0 else max(0, len(found) + at)
    return spend_on(scope, found[begin : begin + most])


def _range(scope: Scope, start: Value, end: Value, step: Value = 1) -> Value:
    numbers = range(whole(start, "a start"), whole(end, "an end"), _step(step))
    # BEFORE it is made.
    if len(numbers) > RANGE_MAX:
        raise Unfit(f"makes at most {RANGE_MAX} elements, and these would be {len(numbers)}")
    scope.spend(len(numbers))
    return list(numbers)


def _step(step: Value) -> int:
    found = whole(step, "a step")
    if found == 0:
        raise Unfit("takes a step that is not 0")
    return found


def _is_in(scope: Scope, value: Value, values: Value) -> bool:
    wanted = scope.key(value)
    return any(scope.key(one) == wanted for one in spend_on(scope, array(values)))


def _index(scope: Scope, values: Value, value: Value, start: Value = 0, end: Value = MISSING) -> Value:
    if absent(values):
        return None
    found, begin = array(values), whole(start, "a start")
    behind = len(found) if end is MISSING else whole(end, "an end")
    if begin < 0 or behind < 0:
        raise Unfit("takes a start and an end of at least 0")
    wanted = scope.key(value)
    for at in range(begin, min(behind, len(found))):
        scope.spend(1)
        if scope.key(found[at]) == wanted:
            return at
    return -1


def _zip(scope: Scope, inputs: Value, longest: Value, defaults: Value) -> Value:
    given = array(inputs, "`inputs` as an array of arrays")
    if not given:
        raise Unfit("takes at least one array")
    if any(absent(one) for one in given):
        return None
    rows = [array(one, "`inputs` as an array of arrays") for one in given]
    long = longest is True
    if not long and type(defaults) is list:
        raise Unfit("takes `defaults` with `useLongestLength` only")
    fill = defaults if type(defaults) is list else [None] * len(rows)
    if len(fill) != len(rows):
        raise Unfit("takes as many `defaults` as there are arrays")
    length = (max if long else min)(map(len, rows))
    scope.spend(length * len(rows))
    return [[row[at] if at < len(row) else fill[which] for which, row in enumerate(rows)] for at in range(length)]


# Sets: arrays whose elements count once, in the order in which they come first


def _distinct(scope: Scope, values: list[Any]) -> dict[bytes, Value]:
    found: dict[bytes, Value] = {}
    for one in spend_on(scope, values):
        found.setdefault(scope.key(one), one)
    return found


def _union(scope: Scope, *values: Value) -> Value:
    if any(absent(value) for value in values):
        return None
    found: dict[bytes, Value] = {}
    for value in values:
        for key, one in _distinct(scope, array(value, "arrays")).items():
            found.setdefault(key, one)
    return list(found.values())


def _intersection(scope: Scope, *values: Value) -> Value:
    if any(absent(value) for value in values):
        return None
    sets = [_distinct(scope, array(value, "arrays")) for value in values]
    if not sets:
        return []
    return [one for key, one in sets[0].items() if all(key in other for other in sets[1:])]


def _difference(scope: Scope, left: Value, right: Value) -> Value:
    if absent(left) or absent(right):
        return None
    others = _distinct(scope, array(right, "arrays"))
    return [one for key, one in _distinct(scope, array(left, "arrays")).items() if key not in others]


def _subset(scope: Scope, left: Value, right: Value) -> bool:
    return _distinct(scope, array(left, "arrays")).keys() <= _distinct(scope, array(right, "arrays")).keys()


def _same(scope: Scope, first: Value, *others: Value) -> bool:
    keys = _distinct(scope, array(first, "arrays")).keys()
    return all(_distinct(scope, array(one, "arrays")).keys() == keys for one in others)


ARRAYS: Final[dict[str, Operator]] = {
    "$allElementsTrue": unary(
        lambda scope, values: all(map(truthy, spend_on(scope, array(values)))), "a list with one array: [array]"
    ),
    "$anyElementTrue": unary(
        lambda scope, values: any(map(truthy, spend_on(scope, array(values)))), "a list with one array: [array]"
    ),
    "$arrayElemAt": fixed(_element, 2, "[array, position]"),
    "$concatArrays": variadic(_concat, "a list of arrays"),
    "$first": unary(_end(0), "an array"),
    "$firstN": named(_ends(first=True), '{"input": array, "n": count}', "input", "n", required=2),
    "$in": fixed(_is_in, 2, "[value, array]"),
    "$indexOfArray": Operator(_index, "[array, value], and a start and an end", 2, 4),
    "$isArray": unary(lambda scope, value: type(value) is list, "a value"),
    "$last": unary(_end(-1), "an array"),
    "$lastN": named(_ends(first=False), '{"input": array, "n": count}', "input", "n", required=2),
    "$maxN": named(_extremes(greatest=True), '{"input": array, "n": count}', "input", "n", required=2),
    "$minN": named(_extremes(greatest=False), '{"input": array, "n": count}', "input", "n", required=2),
    "$range": Operator(_range, "[start, end], and a step", 2, 3),
    "$reverseArray": unary(_reverse, "an array"),
    "$setDifference": fixed(_difference, 2, "[array, array]"),
    "$setEquals": variadic(_same, "a list of two or more arrays", 2),
    "$setIntersection": variadic(_intersection, "a list of arrays"),
    "$setIsSubset": fixed(_subset, 2, "[array, array]"),
    "$setUnion": variadic(_union, "a list of arrays"),
    "$size": unary(lambda scope, values: len(array(values)), "an array"),
    "$slice": Operator(_slice, "[array, count] or [array, position, count]", 2, 3),
    "$zip": named(
        _zip,
        '{"inputs": [array, array], "useLongestLength": false, "defaults": [value, value]}',
        "inputs",
        "useLongestLength",
        "defaults",
        required=1,
    ),
}
