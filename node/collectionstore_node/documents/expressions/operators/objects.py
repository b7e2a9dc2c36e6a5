"""Objects: joined, as lists of names and values, and by single fields."""

from __future__ import annotations

from typing import Any, Final

from collectionstore_node.documents.expressions.operators.forms import (
    Operator,
    array,
    named,
    spend_on,
    unary,
    variadic,
)
from collectionstore_node.documents.expressions.scope import Scope, Unfit, absent, type_name
from collectionstore_node.documents.values import MISSING, Value


def _object(value: Value) -> dict[str, Any]:
    if type(value) is dict:
        return value
    raise Unfit(f"takes objects, and this is {type_name(value)}")


def _merge(scope: Scope, *values: Value) -> Value:
    # One argument may be an array of objects, as an accumulator's values are.
    given = values[0] if len(values) == 1 and type(values[0]) is list else values
    merged: dict[str, Any] = {}
    for value in given:
        if not absent(value):
            scope.spend(1 + len(_object(value)))
            merged.update(value)
    return merged


def _to_array(scope: Scope, value: Value) -> Value:
    if absent(value):
        return None
    scope.spend(len(_object(value)))
    return [{"k": name, "v": one} for name, one in value.items()]


def _of_array(scope: Scope, values: Value) -> Value:
    if absent(values):
        return None
    found: dict[str, Any] = {}
    for pair in spend_on(scope, array(values)):
        if type(pair) is list and len(pair) == 2:
            name, value = pair
        elif type(pair) is dict and pair.keys() == {"k", "v"}:
            name, value = pair["k"], pair["v"]
        else:
            raise Unfit('takes elements as [name, value], or as {"k": name, "v": value}')
        if type(name) is not str:
            raise Unfit(f"takes names as texts, and this is {type_name(name)}")
        found[name] = value
    return found


def _get(scope: Scope, name: Value, value: Value) -> Value:
    if type(name) is not str:
        raise Unfit(f"takes `field` as a text, and this is {type_name(name)}")
    if type(value) is dict:
        return value.get(name, MISSING)
    return None if value is None else MISSING


def _set(scope: Scope, name: Value, value: Value, new: Value) -> Value:
    if type(name) is not str:
        raise Unfit(f"takes `field` as a text, and this is {type_name(name)}")
    if absent(value):
        return None
    scope.spend(len(_object(value)))
    changed = dict(value)
    if new is MISSING:
        changed.pop(name, None)
    else:
        changed[name] = new
    return changed


OBJECTS: Final[dict[str, Operator]] = {
    "$arrayToObject": unary(_of_array, "an array of [name, value]"),
    "$getField": named(_get, 'a name, or {"field": name, "input": object}', "field", "input", required=2),
    "$mergeObjects": variadic(_merge, "a list of objects"),
    "$objectToArray": unary(_to_array, "an object"),
    "$setField": named(_set, '{"field": name, "input": object, "value": value}', "field", "input", "value", required=3),
    "$unsetField": named(
        lambda scope, name, value: _set(scope, name, value, MISSING),
        '{"field": name, "input": object}',
        "field",
        "input",
        required=2,
    ),
}
