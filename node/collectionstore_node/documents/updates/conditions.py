"""Filters within an update: of the document, of the elements of an array, and which element a filter matched.

All of them count what they may cost BEFORE they run: a filter asks each of its tests of every value at most, and a
pattern looks at every byte.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

from collectionstore_node.documents.filters import (
    compile_element_filter,
    compile_filter,
    parse_element_filter,
    parse_filter,
)
from collectionstore_node.documents.filters.tree import (
    And,
    ElementIs,
    ElementMatches,
    Equal,
    Exists,
    Field,
    In,
    Node,
    Not,
    Or,
    Regex,
    Size,
    leaves,
)
from collectionstore_node.documents.paths import ID, REVISION, Match, Path
from collectionstore_node.documents.regexes import compile_regex
from collectionstore_node.documents.updates.budget import Budget
from collectionstore_node.documents.updates.fields import Fields
from collectionstore_node.documents.updates.places import invalid
from collectionstore_node.documents.values import Value, equal
from collectionstore_node.errors import InvalidPart

SEARCH_STEP: Final = 100
"""Instructions of a pattern times bytes of a text in a step: about a microsecond where RE2 is slowest (`regexes`)."""


class Condition:
    """A filter that a document must match for a write to be made."""

    __slots__ = ("_match", "_searches", "_tests", "node", "patterns")

    def __init__(self, node: Node) -> None:
        self.node = node
        self._match = compile_filter(node)
        self.patterns = sum(1 for _ in _patterns(node))
        """How many regular expressions it has."""
        self._tests: Counter[str] = Counter()
        self._searches: Counter[str] = Counter()
        for field in _fields(node):
            name = field.path[0]
            self._tests[name] += leaves(field)
            self._searches[name] += sum(compile_regex(*one).instructions for one in _patterns(field))

    def holds(self, fields: Fields, document_id: str, revision: int, budget: Budget) -> bool:
        """Return whether a document matches. Raises `Failed` if that would cost too much."""
        for name, count in self._tests.items():
            budget.step(count * max(1, fields.weight(name)))
            budget.step(self._searches[name] * fields.size_bytes(name) // SEARCH_STEP)
        document = fields.values(self._tests.keys())
        document[ID], document[REVISION] = document_id, revision
        return self._match(document)

    def seed(self) -> dict[str, Value]:
        """Return what a document must have to match: the fields that must equal a value. For an upsert."""
        found: dict[str, Value] = {}
        for field in _conjuncts(self.node):
            if isinstance(field.test, Equal) and field.path[0][0] != "_":
                _plant(found, field.path, field.test.operand)
        return found


def parse_condition(given: Value, pointer: str = "") -> Condition:
    """Return the condition that a filter describes. Raises `InvalidPart("invalid_filter")`."""
    return Condition(parse_filter(given, pointer))


class Elements:
    """Which elements of an array are meant."""

    __slots__ = ("_searches", "_test", "_tests")

    def __init__(self, node: Node, test: Callable[[Value], bool]) -> None:
        """`test` returns whether an element matches `node`."""
        self._test = test
        self._tests = leaves(node)
        self._searches = sum(compile_regex(*one).instructions for one in _patterns(node))

    def holds(self, element: Value, budget: Budget) -> bool:
        """Return whether an element matches. Raises `Failed` if that would cost too much."""
        if type(element) is dict or type(element) is list:
            budget.weigh(element, self._tests)
            if self._searches:
                budget.step(self._searches * _text_bytes(element) // SEARCH_STEP)
        else:
            budget.step(self._tests)
            if self._searches and type(element) is str:
                budget.step(self._searches * 4 * len(element) // SEARCH_STEP)
        return self._test(element)


def parse_pulled(given: Value, pointer: str) -> Elements:
    """Return which elements `$pull` removes: those that equal a value, or match a filter. Raises `InvalidPart`."""
    if type(given) is dict and given:
        node = parse_element_filter(given, pointer)
        return Elements(node, compile_element_filter(node))
    # As in MongoDB, an array is compared as a whole; an empty object is one that every object matches.
    if type(given) is dict:
        return Elements(And(()), lambda element: type(element) is dict)
    return Elements(And(()), lambda element: equal(element, given))


def parse_array_filter(given: Value, pointer: str) -> tuple[str, Elements]:
    """Return the name that an array filter begins its paths with, and the elements that it matches.

    Raises `InvalidPart`.
    """
    if type(given) is not dict or not given:
        raise invalid(pointer, 'an array filter is an object, such as {"item.price": {"$gt": 5}}')
    node = parse_filter(given, pointer)
    names = {field.path[0] for field in _fields(node)}
    if len(names) != 1:
        raise invalid(pointer, "the paths of an array filter begin with one name, that of $[name]")
    (name,) = names
    match = compile_filter(node)
    return name, Elements(node, lambda element: match({name: element}))


class MatchedElement:
    """Which element of the array at `path` the filter matched: the first one that a condition of the filter names."""

    __slots__ = ("_elements", "path")

    def __init__(self, path: Path, elements: Elements) -> None:
        self.path = path
        self._elements = elements

    def position(self, array: list[Value], budget: Budget) -> int | None:
        """Return its position, None if there is none. Raises `Failed`."""
        for position, element in enumerate(array):
            if self._elements.holds(element, budget):
                return position
        return None


def matched_element(condition: Condition, path: Path) -> MatchedElement | None:
    """Return how to find the element that `$` behind `path` means, None if no condition is about that array."""
    for field in _conjuncts(condition.node):
        if field.path[: len(path)] != path:
            continue
        rest, test = field.path[len(path) :], field.test
        if rest:
            return MatchedElement(path, Elements(field, _of_object(compile_filter(Field(rest, test)))))
        if isinstance(test, ElementIs | ElementMatches):
            within = compile_element_filter(Field((), test))
            return MatchedElement(path, Elements(field, within))
        if not isinstance(test, Exists | Size):
            return MatchedElement(path, Elements(field, _of_value(compile_filter(Field(("_",), test)))))
    return None


def _of_object(match: Match) -> Callable[[Value], bool]:
    return lambda element: type(element) is dict and match(element)


def _of_value(match: Match) -> Callable[[Value], bool]:
    return lambda element: match({"_": element})


def count_patterns(given: Value) -> int:
    """Return how many regular expressions there are at most in a part of an update, before it is parsed."""
    count = 0
    level = [given]
    while level:
        inner: list[Value] = []
        for one in level:
            if type(one) is dict:
                count += "$regex" in one
                inner.extend(one.values())
            elif type(one) is list:
                inner.extend(one)
        level = inner
    return count


def _conjuncts(node: Node) -> Iterator[Field]:
    """Yield the fields that must hold for every match."""
    match node:
        case And(children):
            for one in children:
                yield from _conjuncts(one)
        case Field():
            yield node


def _fields(node: Node) -> Iterator[Field]:
    match node:
        case And(children) | Or(children):
            for one in children:
                yield from _fields(one)
        case Not(one):
            yield from _fields(one)
        case Field():
            yield node
        case _:
            # What it costs is not counted, and which fields it needs is not known.
            raise InvalidPart("invalid_filter", "", "a filter of an update compares fields with values")


def _patterns(node: Node) -> Iterator[tuple[str, str]]:
    for field in _fields(node):
        match field.test:
            case Regex(pattern, options):
                yield pattern, options
            case In(_, patterns):
                yield from ((one.pattern, one.options) for one in patterns)
            case ElementIs(inner) | ElementMatches(inner):
                yield from _patterns(inner)


def _text_bytes(value: Value) -> int:
    kind = type(value)
    if kind is str:
        return 4 * len(value)
    if kind is dict:
        return sum(map(_text_bytes, value.values()))
    return sum(map(_text_bytes, value)) if kind is list else 0


def _plant(found: dict[str, Value], path: Path, value: Value) -> None:
    *parts, last = path
    holder = found
    for part in parts:
        inner = holder.setdefault(part, {})
        if type(inner) is not dict:
            return
        holder = inner
    holder.setdefault(last, value)
