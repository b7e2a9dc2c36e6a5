"""From a checked filter to one function of a document, composed of closures: nothing is interpreted per document."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from collectionstore_node.documents.expressions import Compute, Scope, Spent, compile_expression, truthy
from collectionstore_node.documents.filters.tree import (
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
    Test,
    ValueNode,
)
from collectionstore_node.documents.paths import Match, matcher
from collectionstore_node.documents.regexes import compile_regex
from collectionstore_node.documents.values import MISSING, RANKS, Value, equal, sort_key

ValueTest = Callable[[Value], bool]

_INT32: Final = range(-(1 << 31), 1 << 31)
_INT64: Final = range(-(1 << 63), 1 << 63)


def compile_filter(node: Node, spent: Spent | None = None) -> Match:
    """Return whether a document matches `node`. The function keeps no state; `spent` counts steps of expressions.

    It raises nothing but what an expression or a pattern raises that takes too long: `InvalidRequest`.
    """
    match node:
        case Expression(inner, slots):
            return _expression(compile_expression(inner), slots, spent)
        case Field(path, test):
            return matcher(path, _test(test), elements=_asks_elements(test))
        case _:
            return _composed(node, lambda child: compile_filter(child, spent))


def compile_element_filter(node: ValueNode) -> ValueTest:
    """Return whether an element of an array matches `node`, of `parse_element_filter`. Raises as a filter does."""
    holds = _of_value(node)
    return lambda element: holds([element])


def _composed(node: Node, compiled: Callable[[Node], Callable[[Any], bool]]) -> Callable[[Any], bool]:
    match node:
        case And(()):
            return lambda value: True
        case Or(()):
            return lambda value: False
        case And((first, second)):
            one, two = compiled(first), compiled(second)
            return lambda value: one(value) and two(value)
        case And(children):
            every = tuple(map(compiled, children))
            return lambda value: all(test(value) for test in every)
        case Or(children):
            some = tuple(map(compiled, children))
            return lambda value: any(test(value) for test in some)
        case Not(child):
            inner = compiled(child)
            return lambda value: not inner(value)
    raise TypeError(f"not a node of a filter: {type(node).__name__}")


def _expression(compute: Compute, slots: int, spent: Spent | None) -> Match:
    def match(document: dict[str, Any]) -> bool:
        scope = Scope(slots)
        scope.begin(document)
        holds = truthy(compute(scope))
        if spent is not None:
            spent.steps += scope.steps
        return holds

    return match


def _of_value(node: Node) -> ValueTest:
    """Compile a node whose fields name the value itself: an array is not asked about by its elements."""
    return _test(node.test) if isinstance(node, Field) else _composed(node, _of_value)


def _asks_elements(test: Test) -> bool:
    return not isinstance(test, (Exists, Size, ElementIs, ElementMatches))


def _test(test: Test) -> ValueTest:
    match test:
        case Equal(operand):
            return _equal(operand)
        case Compare(comparison, operand):
            return _compare(comparison, operand)
        case In(operands, patterns):
            return _in(operands, patterns)
        case Regex():
            return _regex(test)
        case Exists():
            return lambda value: value is not MISSING
        case HasType(names):
            return lambda value: not names.isdisjoint(_types(value))
        case Size(length):
            return lambda value: type(value) is list and len(value) == length
        case Modulo(divisor, remainder):
            return _modulo(divisor, remainder)
        case Bits(kind, mask):
            return _bits(kind, mask)
        case ElementIs(node):
            holds = _of_value(node)
            return lambda value: type(value) is list and any(map(holds, value))
        case ElementMatches(node):
            return _element(compile_filter(node))
    raise TypeError(f"not a test of a filter: {type(test).__name__}")


def _equal(operand: Value) -> ValueTest:
    kind = type(operand)
    if operand is None:
        return lambda value: value is None or value is MISSING
    if kind is bool:
        return lambda value: value is operand
    if kind is int or kind is float:
        return lambda value: value == operand and type(value) is not bool
    if kind is str:
        return lambda value: value == operand
    return lambda value: type(value) is kind and equal(value, operand)


def _compare(comparison: Comparison, operand: Value) -> ValueTest:
    rank = RANKS[type(operand)]
    inclusive = comparison in (Comparison.GREATER_OR_EQUAL, Comparison.LESS_OR_EQUAL)
    if operand is None:
        return _equal(None) if inclusive else lambda value: False
    if type(operand) in (dict, list):
        bound = sort_key(operand)
        keyed = _ordered(comparison, bound)
        return lambda value: RANKS[type(value)] == rank and keyed(sort_key(value))
    ordered = _ordered(comparison, operand)
    return lambda value: RANKS[type(value)] == rank and value is not MISSING and ordered(value)


def _ordered(comparison: Comparison, bound: Any) -> Callable[[Any], bool]:
    match comparison:
        case Comparison.GREATER:
            return lambda value: bool(value > bound)
        case Comparison.GREATER_OR_EQUAL:
            return lambda value: bool(value >= bound)
        case Comparison.LESS:
            return lambda value: bool(value < bound)
        case Comparison.LESS_OR_EQUAL:
            return lambda value: bool(value <= bound)


def _in(operands: tuple[Value, ...], patterns: tuple[Regex, ...]) -> ValueTest:
    texts = frozenset(one for one in operands if type(one) is str)
    numbers = frozenset(one for one in operands if type(one) in (int, float))
    null = any(one is None for one in operands)
    booleans = frozenset(one for one in operands if type(one) is bool)
    # By their keys: equal values have equal ones, and a thousand arrays need not be compared one by one.
    large = frozenset(sort_key(one) for one in operands if type(one) in (dict, list))
    found = tuple(map(_regex, patterns))

    def test(value: Value) -> bool:
        kind = type(value)
        if kind is str:
            return value in texts or any(match(value) for match in found)
        if kind is int or kind is float:
            return value in numbers
        if kind is dict or kind is list:
            return bool(large) and sort_key(value) in large
        return value in booleans if kind is bool else null

    return test


def _regex(regex: Regex) -> ValueTest:
    search = compile_regex(regex.pattern, regex.options)
    return lambda value: type(value) is str and search(value)


def _types(value: Value) -> tuple[str, ...]:
    kind = type(value)
    if kind is int:
        return ("int", "number") if value in _INT32 else ("long", "number") if value in _INT64 else ("double", "number")
    if kind is float:
        return ("double", "number")
    if value is MISSING:
        return ()
    return (_NAMES[kind],)


_NAMES: Final[dict[type, str]] = {str: "string", dict: "object", list: "array", bool: "bool", type(None): "null"}


def _modulo(divisor: int, remainder: int) -> ValueTest:
    def test(value: Value) -> bool:
        if type(value) is not int and type(value) is not float:
            return False
        whole = int(value)
        if whole not in _INT64:
            return False
        # The sign of the dividend, as in C; Python's has the sign of the divisor.
        rest = abs(whole) % abs(divisor)
        return (-rest if whole < 0 else rest) == remainder

    return test


def _bits(kind: BitTest, mask: int) -> ValueTest:
    def bits_of(value: Value) -> int | None:
        if type(value) is float and value.is_integer():
            value = int(value)
        return value & mask if type(value) is int and value in _INT64 else None

    match kind:
        case BitTest.ALL_SET:
            return lambda value: bits_of(value) == mask
        case BitTest.ANY_SET:
            return lambda value: bool(bits_of(value))
        case BitTest.ALL_CLEAR:
            return lambda value: bits_of(value) == 0
        case BitTest.ANY_CLEAR:
            return lambda value: (bits := bits_of(value)) is not None and bits != mask


def _element(match: Match) -> ValueTest:
    def test(value: Value) -> bool:
        if type(value) is not list:
            return False
        for one in value:
            if type(one) is dict and match(one):
                return True
            # An array within the array is asked as an object whose names are its positions.
            if type(one) is list and match({str(at): inner for at, inner in enumerate(one)}):
                return True
        return False

    return test
