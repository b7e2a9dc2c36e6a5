"""Operators with a form of their own: they compute only what they need, or have variables or a pattern."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final, Protocol, TypeAlias

from collectionstore_node.documents.expressions.mistakes import invalid, named
from collectionstore_node.documents.expressions.operators import ARGUMENTS_MAX
from collectionstore_node.documents.expressions.tree import (
    Choice,
    Every,
    Filter,
    FirstValue,
    Let,
    Literal,
    Map,
    Matches,
    Node,
    Reduce,
    Some,
    SortArray,
)
from collectionstore_node.documents.paths import Path, parse_path
from collectionstore_node.documents.pointers import child
from collectionstore_node.documents.regexes import OPTIONS, PATTERN_CHARACTERS_MAX, compile_regex
from collectionstore_node.documents.values import Value

SORT_FIELDS_MAX: Final = 16
_NAME: Final = re.compile(r"[a-z][A-Za-z0-9_]{0,63}")

Slots: TypeAlias = Mapping[str, int]
"""The variables that are visible, and where their values are."""

Special: TypeAlias = Callable[["Parser", Value, str, Slots, int], Node]


class Parser(Protocol):
    """What `parsing.ExpressionParser` is to the forms here."""

    def parse(self, given: Value, pointer: str, slots: Slots, depth: int) -> Node:
        """Return an expression within this one."""

    def variable(self) -> int:
        """Return the slot of a new variable."""

    def pattern(self, pointer: str) -> None:
        """Count a pattern."""


def _literal(parser: Parser, given: Value, pointer: str, slots: Slots, depth: int) -> Node:
    return Literal(given)


def _every(parser: Parser, given: Value, pointer: str, slots: Slots, depth: int) -> Node:
    return Every(_items(parser, given, pointer, slots, depth))


def _some(parser: Parser, given: Value, pointer: str, slots: Slots, depth: int) -> Node:
    return Some(_items(parser, given, pointer, slots, depth))


def _if_null(parser: Parser, given: Value, pointer: str, slots: Slots, depth: int) -> Node:
    if type(given) is not list or len(given) < 2:
        raise invalid(pointer, "$ifNull takes a list of two or more values, the last of which is the replacement")
    return FirstValue(_items(parser, given, pointer, slots, depth))


def _cond(parser: Parser, given: Value, pointer: str, slots: Slots, depth: int) -> Node:
    form = '{"if": condition, "then": value, "else": value}, or [condition, value, value]'
    if type(given) is list:
        if len(given) != 3:
            raise invalid(pointer, f"$cond takes {form}")
        names: tuple[str | int, ...] = (0, 1, 2)
        values = given
    else:
        names = ("if", "then", "else")
        found = named(given, pointer, "$cond", ("if", "then", "else"), 3, form)
        values = [found["if"], found["then"], found["else"]]
    test, then, otherwise = (
        parser.parse(value, child(pointer, name), slots, depth) for name, value in zip(names, values, strict=True)
    )
    return Choice(((test, then),), otherwise, pointer)


def _switch(parser: Parser, given: Value, pointer: str, slots: Slots, depth: int) -> Node:
    form = '{"branches": [{"case": condition, "then": value}], "default": value}'
    found = named(given, pointer, "$switch", ("branches", "default"), 1, form)
    at = child(pointer, "branches")
    branches = found["branches"]
    if type(branches) is not list or not 1 <= len(branches) <= ARGUMENTS_MAX:
        raise invalid(at, f"$switch takes {form}, with 1 to {ARGUMENTS_MAX} branches")
    parsed = []
    for which, branch in enumerate(branches):
        where = child(at, which)
        one = named(branch, where, "$switch", ("case", "then"), 2, form)
        parsed.append(
            (
                parser.parse(one["case"], child(where, "case"), slots, depth),
                parser.parse(one["then"], child(where, "then"), slots, depth),
            )
        )
    default = None
    if "default" in found:
        default = parser.parse(found["default"], child(pointer, "default"), slots, depth)
    return Choice(tuple(parsed), default, pointer)


def _let(parser: Parser, given: Value, pointer: str, slots: Slots, depth: int) -> Node:
    form = '{"vars": {"name": value}, "in": expression}'
    found = named(given, pointer, "$let", ("vars", "in"), 2, form)
    at = child(pointer, "vars")
    if type(found["vars"]) is not dict:
        raise invalid(at, f"$let takes {form}")
    variables = []
    inner = dict(slots)
    for name, value in found["vars"].items():
        where = child(at, name)
        slot = _variable(parser, name, where)
        # They do not see each other.
        variables.append((slot, parser.parse(value, where, slots, depth)))
        inner[name] = slot
    return Let(tuple(variables), parser.parse(found["in"], child(pointer, "in"), inner, depth))


def _map(parser: Parser, given: Value, pointer: str, slots: Slots, depth: int) -> Node:
    form = '{"input": array, "as": "name", "in": expression}'
    found = named(given, pointer, "$map", ("input", "in", "as"), 2, form)
    name = found.get("as", "this")
    slot = _variable(parser, name, child(pointer, "as"))
    return Map(
        parser.parse(found["input"], child(pointer, "input"), slots, depth),
        slot,
        parser.parse(found["in"], child(pointer, "in"), {**slots, name: slot}, depth),
        pointer,
    )


def _filter(parser: Parser, given: Value, pointer: str, slots: Slots, depth: int) -> Node:
    form = '{"input": array, "as": "name", "cond": expression, "limit": count}'
    found = named(given, pointer, "$filter", ("input", "cond", "as", "limit"), 2, form)
    name = found.get("as", "this")
    slot = _variable(parser, name, child(pointer, "as"))
    limit = found.get("limit")
    return Filter(
        parser.parse(found["input"], child(pointer, "input"), slots, depth),
        slot,
        parser.parse(found["cond"], child(pointer, "cond"), {**slots, name: slot}, depth),
        None if limit is None else parser.parse(limit, child(pointer, "limit"), slots, depth),
        pointer,
    )


def _reduce(parser: Parser, given: Value, pointer: str, slots: Slots, depth: int) -> Node:
    form = '{"input": array, "initialValue": value, "in": expression of $$value and $$this}'
    found = named(given, pointer, "$reduce", ("input", "initialValue", "in"), 3, form)
    value, this = parser.variable(), parser.variable()
    return Reduce(
        parser.parse(found["input"], child(pointer, "input"), slots, depth),
        parser.parse(found["initialValue"], child(pointer, "initialValue"), slots, depth),
        value,
        this,
        parser.parse(found["in"], child(pointer, "in"), {**slots, "value": value, "this": this}, depth),
        pointer,
    )


def _sort_array(parser: Parser, given: Value, pointer: str, slots: Slots, depth: int) -> Node:
    form = '{"input": array, "sortBy": {"path": 1}}, or 1 or -1 as `sortBy` for the elements themselves'
    found = named(given, pointer, "$sortArray", ("input", "sortBy"), 2, form)
    return SortArray(
        parser.parse(found["input"], child(pointer, "input"), slots, depth),
        _order(found["sortBy"], child(pointer, "sortBy"), form),
        pointer,
    )


def _order(given: Value, pointer: str, form: str) -> tuple[tuple[Path, bool], ...]:
    if _is_direction(given):
        return (((), given == -1),)
    if type(given) is not dict or not 1 <= len(given) <= SORT_FIELDS_MAX or not all(map(_is_direction, given.values())):
        raise invalid(pointer, f"$sortArray takes {form}; at most {SORT_FIELDS_MAX} paths")
    return tuple(
        (parse_path(name, "invalid_expression", child(pointer, name)), direction == -1)
        for name, direction in given.items()
    )


def _is_direction(given: Value) -> bool:
    return type(given) in (int, float) and given in (1, -1)


def _matches(parser: Parser, given: Value, pointer: str, slots: Slots, depth: int) -> Node:
    form = f'{{"input": text, "regex": "pattern", "options": "letters out of {OPTIONS}"}}'
    found = named(given, pointer, "$regexMatch", ("input", "regex", "options"), 2, form)
    at = child(pointer, "regex")
    parser.pattern(at)
    pattern, options = found["regex"], found.get("options", "")
    if type(pattern) is not str or (pattern[:1] == "$" and len(pattern) > 1):
        raise invalid(at, "the pattern of $regexMatch is written out: it is not computed")
    if len(pattern) > PATTERN_CHARACTERS_MAX:
        raise invalid(at, f"a pattern has at most {PATTERN_CHARACTERS_MAX} characters")
    if type(options) is not str or not set(options) <= set(OPTIONS) or len(options) > len(OPTIONS):
        raise invalid(child(pointer, "options"), f"$regexMatch takes {form}")
    options = "".join(sorted({*options}))
    try:
        compile_regex(pattern, options)
    except ValueError as error:
        raise invalid(at, f"not a pattern of RE2: {error}; RE2 has no look-around and no backreferences") from None
    return Matches(parser.parse(found["input"], child(pointer, "input"), slots, depth), pattern, options, pointer)


def _items(parser: Parser, given: Value, pointer: str, slots: Slots, depth: int) -> tuple[Node, ...]:
    if type(given) is not list:
        return (parser.parse(given, pointer, slots, depth),)
    if len(given) > ARGUMENTS_MAX:
        raise invalid(pointer, f"an operator has at most {ARGUMENTS_MAX} arguments")
    return tuple(parser.parse(one, child(pointer, at), slots, depth) for at, one in enumerate(given))


def _variable(parser: Parser, name: Value, pointer: str) -> int:
    if type(name) is not str or not _NAME.fullmatch(name):
        raise invalid(
            pointer, "the name of a variable begins with a small letter, and has letters, digits and _, at most 64"
        )
    return parser.variable()


SPECIAL: Final[dict[str, Special]] = {
    "$and": _every,
    "$cond": _cond,
    "$filter": _filter,
    "$ifNull": _if_null,
    "$let": _let,
    "$literal": _literal,
    "$map": _map,
    "$or": _some,
    "$reduce": _reduce,
    "$regexMatch": _matches,
    "$sortArray": _sort_array,
    "$switch": _switch,
}


REFUSED: Final[dict[str, str]] = {
    "$dateFromParts": "join the parts with $concat, as an RFC 3339 text",
    "$dateToParts": "use $year, $month and the others",
    "$function": "the server runs no code of its clients",
    "$accumulator": "the server runs no code of its clients",
    "$rand": "the same query gives the same answer",
    "$regexFind": "patterns tell whether they are found; use $regexMatch",
    "$regexFindAll": "patterns tell whether they are found; use $regexMatch",
    "$substr": "positions count code points; use $substrCP",
    "$substrBytes": "positions count code points; use $substrCP",
    "$indexOfBytes": "positions count code points; use $indexOfCP",
    "$toDecimal": "JSON has no decimal numbers; use $toDouble",
    "$toObjectId": "JSON has no such type",
}
