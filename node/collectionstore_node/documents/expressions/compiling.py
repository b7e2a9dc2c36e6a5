"""From a checked expression to one function of a scope, composed of closures: nothing is interpreted per document."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from collectionstore_node.documents.expressions.operators import NOT_GIVEN, OPERATORS
from collectionstore_node.documents.expressions.scope import Scope, Unfit, absent, truthy, type_name
from collectionstore_node.documents.expressions.tree import (
    Array,
    Call,
    Choice,
    Every,
    Field,
    Filter,
    FirstValue,
    Let,
    Literal,
    Map,
    Matches,
    Node,
    Object,
    Reduce,
    Root,
    Some,
    SortArray,
    Variable,
    nodes_of,
)
from collectionstore_node.documents.paths import Path
from collectionstore_node.documents.regexes import compile_regex
from collectionstore_node.documents.values import MISSING, Value, inverted
from collectionstore_node.errors import InvalidPart

Compute: TypeAlias = Callable[[Scope], Value]
"""Returns the value in a scope, `MISSING` for none. Raises `InvalidPart("expression_failed")` and `InvalidRequest`."""

_SEARCHED_PER_STEP = 200
"""Instructions of a pattern times characters of a text."""


def compile_expression(node: Node) -> Compute:
    """Return the function that computes `node`. It keeps no state but in the scope that it is given."""
    match node:
        case Literal(value):
            return lambda scope: value
        case Root():
            return lambda scope: scope.root
        case Field((name,)):
            return lambda scope: scope.root.get(name, MISSING)
        case Field(path):
            return lambda scope: value_at(scope, scope.root, path, 0)
        case Variable(slot, ()):
            return lambda scope: scope.values[slot]
        case Variable(slot, path):
            return lambda scope: value_at(scope, scope.values[slot], path, 0)
        case Object(fields):
            return _object(tuple((name, compile_expression(inner)) for name, inner in fields))
        case Array(items):
            return _array(tuple(map(compile_expression, items)))
        case Call():
            return _call(node)
        case Matches(inner, pattern, options, pointer):
            return _matches(compile_expression(inner), pattern, options, pointer)
        case SortArray(inner, order, pointer):
            return _sort(compile_expression(inner), order, pointer)
    return _conditional(node)


def _conditional(node: Node) -> Compute:
    match node:
        case Every(items):
            every = tuple(map(compile_expression, items))
            return lambda scope: all(truthy(one(scope)) for one in every)
        case Some(items):
            some = tuple(map(compile_expression, items))
            return lambda scope: any(truthy(one(scope)) for one in some)
        case FirstValue(items):
            return _first_value(tuple(map(compile_expression, items)))
        case Choice(branches, otherwise, pointer):
            return _choice(
                tuple((compile_expression(test), compile_expression(then)) for test, then in branches),
                None if otherwise is None else compile_expression(otherwise),
                pointer,
            )
        case Let(variables, body):
            return _let(tuple((slot, compile_expression(inner)) for slot, inner in variables), compile_expression(body))
        case Map():
            return _map(node)
        case Filter():
            return _filter(node)
        case Reduce():
            return _reduce(node)
    raise TypeError(f"not a node of an expression: {type(node).__name__}")


def value_at(scope: Scope, value: Value, path: Path, at: int) -> Value:
    """Return what a path names: behind an array, an array of what it names in each element that is an object."""
    while type(value) is dict:
        value = value.get(path[at], MISSING)
        at += 1
        if at == len(path):
            return value
    if type(value) is not list:
        return MISSING
    scope.spend(len(value))
    found = [value_at(scope, one, path, at) for one in value if type(one) is dict]
    return [one for one in found if one is not MISSING]


def _failed(pointer: str, detail: str) -> InvalidPart:
    return InvalidPart("expression_failed", pointer, detail)


def _object(fields: tuple[tuple[str, Compute], ...]) -> Compute:
    def compute(scope: Scope) -> Value:
        found = ((name, inner(scope)) for name, inner in fields)
        return {name: value for name, value in found if value is not MISSING}

    return compute


def _array(items: tuple[Compute, ...]) -> Compute:
    def compute(scope: Scope) -> Value:
        return [None if (value := item(scope)) is MISSING else value for item in items]

    return compute


def _call(node: Call) -> Compute:
    operator = OPERATORS[node.name]
    run, name, pointer = operator.run, node.name, node.pointer
    arguments = tuple(_not_given if one is None else compile_expression(one) for one in node.arguments)
    if len(arguments) == 1:
        (only,) = arguments

        def compute_one(scope: Scope) -> Value:
            try:
                return run(scope, only(scope))
            except Unfit as error:
                raise _failed(pointer, f"{name} {error}") from None

        return compute_one

    def compute(scope: Scope) -> Value:
        try:
            return run(scope, *[argument(scope) for argument in arguments])
        except Unfit as error:
            raise _failed(pointer, f"{name} {error}") from None

    return compute


def _not_given(scope: Scope) -> Value:
    return NOT_GIVEN


def _matches(inner: Compute, pattern: str, options: str, pointer: str) -> Compute:
    search = compile_regex(pattern, options)

    def compute(scope: Scope) -> Value:
        value = inner(scope)
        if absent(value):
            return False
        if type(value) is not str:
            raise _failed(pointer, f"$regexMatch takes a text, and this is {type_name(value)}")
        # BEFORE the search, which nothing interrupts.
        scope.spend(search.instructions * len(value) // _SEARCHED_PER_STEP)
        return search(value)

    return compute


def _sort(inner: Compute, order: tuple[tuple[Path, bool], ...], pointer: str) -> Compute:
    def compute(scope: Scope) -> Value:
        values = inner(scope)
        if absent(values):
            return None
        elements = _elements(scope, values, "$sortArray", pointer)
        scope.sorts(len(elements))

        def key(value: Value) -> bytes:
            joined = b""
            for path, descending in order:
                found = value_at(scope, value, path, 0) if path else value
                one = scope.key(None if found is MISSING else found)
                joined += inverted(one) if descending else one
            return joined

        return sorted(elements, key=key)

    return compute


def _elements(scope: Scope, values: Value, name: str, pointer: str, weight: int = 1) -> list[Any]:
    if type(values) is not list:
        raise _failed(pointer, f"{name} takes an array as input, and this is {type_name(values)}")
    # BEFORE the loop: what is computed for each element.
    scope.spend(len(values) * weight)
    return values


def _first_value(items: tuple[Compute, ...]) -> Compute:
    def compute(scope: Scope) -> Value:
        value: Value = MISSING
        for item in items:
            value = item(scope)
            if not absent(value):
                break
        return value

    return compute


def _choice(branches: tuple[tuple[Compute, Compute], ...], otherwise: Compute | None, pointer: str) -> Compute:
    def compute(scope: Scope) -> Value:
        for test, then in branches:
            if truthy(test(scope)):
                return then(scope)
        if otherwise is None:
            raise _failed(pointer, "no branch of $switch holds, and it has no default")
        return otherwise(scope)

    return compute


def _let(variables: tuple[tuple[int, Compute], ...], body: Compute) -> Compute:
    def compute(scope: Scope) -> Value:
        # All BEFORE any is set: they do not see each other.
        for slot, value in [(slot, inner(scope)) for slot, inner in variables]:
            scope.values[slot] = value
        return body(scope)

    return compute


def _map(node: Map) -> Compute:
    inner, body = compile_expression(node.input), compile_expression(node.body)
    slot, pointer, weight = node.slot, node.pointer, nodes_of(node.body)

    def compute(scope: Scope) -> Value:
        values = inner(scope)
        if absent(values):
            return None
        found, variables = [], scope.values
        for value in _elements(scope, values, "$map", pointer, weight):
            variables[slot] = value
            one = body(scope)
            found.append(None if one is MISSING else one)
        return found

    return compute


def _filter(node: Filter) -> Compute:
    inner, condition = compile_expression(node.input), compile_expression(node.condition)
    limit = None if node.limit is None else compile_expression(node.limit)
    slot, pointer, weight = node.slot, node.pointer, nodes_of(node.condition)

    def compute(scope: Scope) -> Value:
        values = inner(scope)
        if absent(values):
            return None
        elements = _elements(scope, values, "$filter", pointer, weight)
        most = len(elements)
        if limit is not None and not absent(given := limit(scope)):
            if type(given) is not int or given < 1:
                raise _failed(pointer, "$filter takes `limit` as a whole number of at least 1")
            most = given
        found: list[Value] = []
        for value in elements:
            if len(found) == most:
                break
            scope.values[slot] = value
            if truthy(condition(scope)):
                found.append(value)
        return found

    return compute


def _reduce(node: Reduce) -> Compute:
    inner, initial, body = map(compile_expression, (node.input, node.initial, node.body))
    value_slot, this_slot, pointer, weight = node.value, node.this, node.pointer, nodes_of(node.body)

    def compute(scope: Scope) -> Value:
        values = inner(scope)
        if absent(values):
            return None
        value, variables = initial(scope), scope.values
        for this in _elements(scope, values, "$reduce", pointer, weight):
            # Both, for each element: an inner $reduce has slots of its own, and leaves these as they are.
            variables[value_slot], variables[this_slot] = value, this
            value = body(scope)
        return value

    return compute
