"""From JSON to a checked filter: every mistake is refused with its place and the allowed forms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from collectionstore_node.documents.expressions import ExpressionParser
from collectionstore_node.documents.filters.tree import (
    TYPE_NUMBERS,
    TYPES,
    And,
    Bits,
    BitTest,
    Compare,
    Comparison,
    ElementIs,
    ElementMatches,
    Equal,
    Exists,
    Expression,
    Field,
    HasType,
    In,
    Modulo,
    Node,
    Not,
    Or,
    Regex,
    Size,
    ValueNode,
    leaves,
)
from collectionstore_node.documents.paths import Path, parse_path
from collectionstore_node.documents.pointers import child
from collectionstore_node.documents.regexes import OPTIONS, PATTERN_CHARACTERS_MAX, PATTERNS_MAX, compile_regex
from collectionstore_node.documents.values import Value
from collectionstore_node.errors import InvalidPart

LEAVES_MAX: Final = 128
"""Tests in one filter."""
PARTS_MAX: Final = 1_024
"""Fields, operators and nested filters: each test may be within several."""
DEPTH_MAX: Final = 16
"""How deep filters may be nested in one another."""
OPERANDS_MAX: Final = 1_000
"""Values of one `$in`, `$nin` or `$all`."""

_INT64: Final = range(-(1 << 63), 1 << 63)
_POSITIONS: Final = range(64)
_LOGICAL: Final = ("$and", "$or", "$nor")
_SEARCHES_ELSEWHERE: Final = {
    "$where": "the server runs no code of its clients",
    "$text": "there is no text index; $regex finds a pattern",
    "$jsonSchema": "there are no schemas in filters",
    "$near": "there are no places in JSON documents",
    "$geoWithin": "there are no places in JSON documents",
}

_Operator = Callable[["_Parser", Path, Value, str, int], Node]


def parse_filter(given: Value, pointer: str = "", expressions: ExpressionParser | None = None) -> Node:
    """Return the filter that the JSON value `given` describes; `pointer` is where it is in the request's body.

    `$expr` is allowed with `expressions` only: a filter with an expression may raise while it is asked. Raises
    `InvalidPart("invalid_filter")`. Costs at most as much as decoding it did.
    """
    return _checked(_Parser(expressions).query(given, pointer, 0), pointer)


def parse_element_filter(given: dict[str, Value], pointer: str = "") -> ValueNode:
    """Return the filter of one element of an array: operators on it, or a filter of objects, as in `$elemMatch`.

    Raises as `parse_filter`.
    """
    return _checked(_element(_Parser(None), (), given, pointer, 0), pointer)


def _checked(node: Node, pointer: str) -> Node:
    count = leaves(node)
    if count > LEAVES_MAX:
        raise InvalidPart(
            "invalid_filter", pointer, f"the filter makes {count} tests; at most {LEAVES_MAX} are allowed"
        )
    return node


class _Parser:
    """Counts the parts of a filter while it is parsed: BEFORE each is looked at, as a pattern takes long to compile."""

    def __init__(self, expressions: ExpressionParser | None) -> None:
        self._expressions = expressions
        self._parts = 0
        self._patterns = 0
        self.elements = 0
        """How many `$elemMatch` are around what is parsed."""

    def count(self, pointer: str, *, pattern: bool = False) -> None:
        """Count a part of the filter. Raises `InvalidPart`."""
        self._parts += 1
        self._patterns += pattern
        if self._parts > PARTS_MAX:
            raise _invalid(pointer, f"the filter has more than {PARTS_MAX} operators; at most {LEAVES_MAX} make tests")
        if self._patterns > PATTERNS_MAX:
            raise _invalid(pointer, f"a filter has at most {PATTERNS_MAX} patterns")

    def query(self, given: Value, pointer: str, depth: int) -> Node:
        """Return the node of an object of fields and logical operators, all of which must hold."""
        if type(given) is not dict:
            raise _invalid(pointer, 'a filter is an object, such as {"age": {"$gte": 18}}')
        if depth > DEPTH_MAX:
            raise _invalid(pointer, f"filters are nested at most {DEPTH_MAX} deep")
        nodes: list[Node] = []
        self.count(pointer)
        for name, value in given.items():
            at = child(pointer, name)
            self.count(at)
            if name in _LOGICAL:
                nodes.append(self._logical(name, value, at, depth))
            elif name == "$comment":
                continue
            elif name == "$expr":
                nodes.append(self._expression(value, at))
            elif name[:1] == "$":
                known = ("$comment",) if self._expressions is None or self.elements else ("$comment", "$expr")
                raise _invalid(at, _unknown(name, (*_LOGICAL, *known), "at the top of a filter"))
            else:
                nodes.append(self._field(name, value, at, depth))
        return _all(nodes)

    def operators(self, path: Path, given: dict[str, Value], pointer: str, depth: int) -> Node:
        """Return the node of an object of operators on one path, all of which must hold."""
        nodes: list[Node] = []
        for name, value in given.items():
            at = child(pointer, name)
            self.count(at, pattern=name == "$regex")
            if name == "$options":
                if "$regex" not in given:
                    raise _invalid(at, "$options goes with $regex")
                continue
            if name == "$regex":
                nodes.append(Field(path, _regex(value, at, given.get("$options", ""), child(pointer, "$options"))))
                continue
            operator = _OPERATORS.get(name)
            if operator is None:
                if name[:1] != "$":
                    raise _invalid(at, "operators and fields are not mixed; to compare with an object use $eq")
                raise _invalid(at, _unknown(name, (*_OPERATORS, "$regex", "$options"), "on a field"))
            nodes.append(operator(self, path, value, at, depth))
        return _all(nodes)

    def _logical(self, name: str, given: Value, pointer: str, depth: int) -> Node:
        if type(given) is not list or not given:
            raise _invalid(pointer, f"{name} takes a list of one or more filters")
        nodes = tuple(self.query(one, child(pointer, at), depth + 1) for at, one in enumerate(given))
        if name == "$and":
            return And(nodes)
        return Or(nodes) if name == "$or" else Not(Or(nodes))

    def _expression(self, given: Value, pointer: str) -> Node:
        if self._expressions is None:
            raise _invalid(pointer, "$expr is not supported here: compare a field with a value")
        if self.elements:
            raise _invalid(pointer, "$expr is about the document as a whole: it is not within $elemMatch")
        parser = self._expressions
        node = parser.parse(given, pointer)
        return Expression(node, parser.slots)

    def _field(self, name: str, given: Value, pointer: str, depth: int) -> Node:
        path = parse_path(name, "invalid_filter", pointer)
        if is_operators(given):
            return self.operators(path, given, pointer, depth)
        return Field(path, Equal(given))


def is_operators(given: Value) -> bool:
    """Return whether a value is an object of operators, by its first name, as in MongoDB."""
    return type(given) is dict and bool(given) and next(iter(given))[:1] == "$"


# Operators on a field


def _equal(parser: _Parser, path: Path, given: Value, pointer: str, depth: int) -> Node:
    return Field(path, Equal(given))


def _not_equal(parser: _Parser, path: Path, given: Value, pointer: str, depth: int) -> Node:
    return Not(Field(path, Equal(given)))


def _comparison(comparison: Comparison) -> _Operator:
    return lambda parser, path, given, pointer, depth: Field(path, Compare(comparison, given))


def _in(parser: _Parser, path: Path, given: Value, pointer: str, depth: int) -> Node:
    operands: list[Value] = []
    patterns: list[Regex] = []
    for at, one in enumerate(_operands("$in", given, pointer)):
        if type(one) is dict and "$regex" in one:
            where = child(pointer, at)
            parser.count(where, pattern=True)
            extra = next((name for name in one if name not in ("$regex", "$options")), None)
            if extra is not None:
                raise _invalid(child(where, extra), 'a pattern is {"$regex": "...", "$options": "i"} and nothing else')
            patterns.append(
                _regex(one["$regex"], child(where, "$regex"), one.get("$options", ""), child(where, "$options"))
            )
        elif is_operators(one):
            raise _invalid(child(pointer, at), "the list has values, or patterns as $regex; no other operators")
        else:
            operands.append(one)
    return Field(path, In(tuple(operands), tuple(patterns)))


def _not_in(parser: _Parser, path: Path, given: Value, pointer: str, depth: int) -> Node:
    return Not(_in(parser, path, given, pointer, depth))


def _not(parser: _Parser, path: Path, given: Value, pointer: str, depth: int) -> Node:
    if not is_operators(given):
        raise _invalid(pointer, '$not takes operators, such as {"$gt": 5}; for a value there is $ne')
    if depth >= DEPTH_MAX:
        raise _invalid(pointer, f"filters are nested at most {DEPTH_MAX} deep")
    return Not(parser.operators(path, given, pointer, depth + 1))


def _exists(parser: _Parser, path: Path, given: Value, pointer: str, depth: int) -> Node:
    if type(given) is not bool:
        raise _invalid(pointer, "$exists takes true or false")
    node = Field(path, Exists())
    return node if given else Not(node)


def _type(parser: _Parser, path: Path, given: Value, pointer: str, depth: int) -> Node:
    names = given if type(given) is list else [given]
    if not names or len(names) > len(TYPES) + len(TYPE_NUMBERS):
        raise _invalid(pointer, f"$type takes one or more of: {', '.join(TYPES)}")
    found = [TYPE_NUMBERS.get(name) if type(name) is int else name for name in names]
    if not all(name in TYPES for name in found if type(name) is str) or not all(type(name) is str for name in found):
        raise _invalid(
            pointer, f"$type takes names of JSON's types: {', '.join(TYPES)}; or their numbers in BSON, such as 2"
        )
    return Field(path, HasType(frozenset(str(name) for name in found)))


def _all_of(parser: _Parser, path: Path, given: Value, pointer: str, depth: int) -> Node:
    values = _operands("$all", given, pointer)
    if not values:
        return Or(())  # as MongoDB: an empty list matches nothing
    nodes: list[Node] = []
    for at, one in enumerate(values):
        where = child(pointer, at)
        parser.count(where)
        if type(one) is dict and next(iter(one), None) == "$elemMatch":
            if len(one) > 1:
                raise _invalid(where, "an entry of $all is a value, or an object with $elemMatch alone")
            nodes.append(_element(parser, path, one["$elemMatch"], child(where, "$elemMatch"), depth))
        elif is_operators(one):
            raise _invalid(where, "an entry of $all is a value, or an object with $elemMatch alone")
        else:
            nodes.append(Field(path, Equal(one)))
    return And(tuple(nodes))


def _element(parser: _Parser, path: Path, given: Value, pointer: str, depth: int) -> Node:
    if type(given) is not dict:
        raise _invalid(
            pointer, "$elemMatch takes an object: operators for elements, or a filter for objects in the array"
        )
    if depth >= DEPTH_MAX:
        raise _invalid(pointer, f"filters are nested at most {DEPTH_MAX} deep")
    first = next(iter(given), "")
    if first[:1] == "$" and first not in (*_LOGICAL, "$comment", "$expr"):
        return Field(path, ElementIs(parser.operators((), given, pointer, depth + 1)))
    parser.elements += 1
    node = parser.query(given, pointer, depth + 1)
    parser.elements -= 1
    return Field(path, ElementMatches(node))


def _size(parser: _Parser, path: Path, given: Value, pointer: str, depth: int) -> Node:
    length = _whole(given)
    if length is None or length < 0:
        raise _invalid(pointer, "$size takes a whole number of at least 0")
    return Field(path, Size(length))


def _modulo(parser: _Parser, path: Path, given: Value, pointer: str, depth: int) -> Node:
    if type(given) is not list or len(given) != 2 or any(type(one) not in (int, float) for one in given):
        raise _invalid(pointer, "$mod takes a list of two numbers: divisor and remainder")
    # Cut to whole numbers, as MongoDB does.
    divisor, remainder = (int(one) for one in given)
    if divisor == 0:
        raise _invalid(child(pointer, 0), "the divisor of $mod is not 0")
    if divisor not in _INT64 or remainder not in _INT64:
        raise _invalid(pointer, "the numbers of $mod have at most 64 bits")
    return Field(path, Modulo(divisor, remainder))


def _bits(test: BitTest) -> _Operator:
    def parse(parser: _Parser, path: Path, given: Value, pointer: str, depth: int) -> Node:
        if type(given) is list:
            positions = [_whole(one) for one in given]
            if any(one is None or one not in _POSITIONS for one in positions):
                raise _invalid(pointer, f"the positions of {test.value} are whole numbers from 0 to 63")
            return Field(path, Bits(test, sum(1 << one for one in {*positions} if one is not None)))
        mask = _whole(given)
        if mask is None or mask < 0 or mask not in _INT64:
            raise _invalid(pointer, f"{test.value} takes a mask of at least 0 and under 2**63, or a list of positions")
        return Field(path, Bits(test, mask))

    return parse


_OPERATORS: Final[dict[str, _Operator]] = {
    "$eq": _equal,
    "$ne": _not_equal,
    **{comparison.value: _comparison(comparison) for comparison in Comparison},
    "$in": _in,
    "$nin": _not_in,
    "$not": _not,
    "$exists": _exists,
    "$type": _type,
    "$all": _all_of,
    "$elemMatch": _element,
    "$size": _size,
    "$mod": _modulo,
    **{test.value: _bits(test) for test in BitTest},
}

# Parts of them


def _operands(name: str, given: Value, pointer: str) -> list[Any]:
    if type(given) is not list:
        raise _invalid(pointer, f"{name} takes a list of values")
    if len(given) > OPERANDS_MAX:
        raise _invalid(pointer, f"{name} has {len(given)} values; at most {OPERANDS_MAX} are allowed")
    return given


def _regex(given: Value, pointer: str, options: Value, options_pointer: str) -> Regex:
    if type(given) is not str:
        raise _invalid(pointer, "$regex takes a pattern as text")
    if len(given) > PATTERN_CHARACTERS_MAX:
        raise _invalid(pointer, f"a pattern has at most {PATTERN_CHARACTERS_MAX} characters")
    if type(options) is not str or not set(options) <= set(OPTIONS) or len(options) > len(OPTIONS):
        raise _invalid(
            options_pointer, "options are letters out of: i (either case), m (lines), s (a dot matches line breaks)"
        )
    try:
        compile_regex(given, options)
    except ValueError as error:
        raise _invalid(
            pointer, f"not a pattern of RE2: {error}; RE2 has no look-around and no backreferences"
        ) from None
    return Regex(given, "".join(sorted({*options})))


def _whole(given: Value) -> int | None:
    """Return a whole number, which may be written as 3.0; None for anything else."""
    if type(given) is int:
        return given
    return int(given) if type(given) is float and given.is_integer() else None


def _all(nodes: list[Node]) -> Node:
    return nodes[0] if len(nodes) == 1 else And(tuple(nodes))


def _unknown(name: str, known: tuple[str, ...], where: str) -> str:
    reason = _SEARCHES_ELSEWHERE.get(name)
    if reason is not None:
        return f"{name} is not supported: {reason}"
    if name in _OPERATORS:
        return f'{name} stands under a field, such as {{"age": {{"{name}": ...}}}}'
    if name in (*_LOGICAL, "$expr"):
        return f"{name} stands at the top of a filter, not under a field"
    return f"unknown operator {where}; known: {', '.join(sorted(known))}"


def _invalid(pointer: str, detail: str) -> InvalidPart:
    return InvalidPart("invalid_filter", pointer, detail)
