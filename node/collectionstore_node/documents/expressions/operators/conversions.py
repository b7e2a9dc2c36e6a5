"""Types and conversions, as far as JSON has the types."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from collectionstore_node.documents.expressions.operators.arithmetic import finished
from collectionstore_node.documents.expressions.operators.forms import NOT_GIVEN, Operator, named, unary
from collectionstore_node.documents.expressions.scope import Scope, Unfit, absent, truthy, type_name
from collectionstore_node.documents.values import Value

_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,20}")
_NUMBER: Final = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,5})?")
_CHARACTERS_MAX: Final = 400
_BITS: Final = {"int": 32, "long": 64}
_PLAIN_MAX: Final = 1e15
_NUMBERS: Final = {1: "double", 2: "string", 8: "bool", 16: "int", 18: "long"}
TARGETS: Final = ("double", "string", "bool", "int", "long")


def shown(value: str | int | float) -> str:
    """Return a text or number as a text: 2.0 as `2`."""
    if type(value) is float and value.is_integer() and abs(value) < _PLAIN_MAX:
        return str(int(value))
    return str(value)


def _to_string(value: Value) -> str:
    if type(value) is bool:
        return "true" if value else "false"
    if type(value) in (str, int, float):
        return shown(value)
    raise Unfit(f"cannot make a text of {type_name(value)}")


def _to_integer(value: Value, name: str) -> int:
    kind = type(value)
    if kind is str:
        if len(value) > _CHARACTERS_MAX or not _INTEGER.fullmatch(value):
            raise Unfit("cannot make a whole number of this text")
        found = int(value)
    elif kind in (int, float, bool):
        found = int(value)
    else:
        raise Unfit(f"cannot make a number of {type_name(value)}")
    bits = _BITS[name]
    if not -(1 << bits - 1) <= found < 1 << bits - 1:
        raise Unfit(f"has a result of more than {bits} bits")
    return found


def _to_double(value: Value) -> float:
    kind = type(value)
    if kind is str:
        if len(value) > _CHARACTERS_MAX or not _NUMBER.fullmatch(value):
            raise Unfit("cannot make a number of this text")
        return float(finished(float(value)))
    if kind in (int, float, bool):
        return float(value)
    raise Unfit(f"cannot make a number of {type_name(value)}")


_CONVERSIONS: Final[dict[str, Callable[[Value], Value]]] = {
    "double": _to_double,
    "string": _to_string,
    "bool": truthy,
    "int": lambda value: _to_integer(value, "int"),
    "long": lambda value: _to_integer(value, "long"),
}


def _conversion(name: str) -> Callable[[Scope, Value], Value]:
    convert = _CONVERSIONS[name]
    return lambda scope, value: None if absent(value) else convert(value)


def _convert(scope: Scope, value: Value, to: Value, on_error: Value, on_null: Value) -> Value:
    name = _NUMBERS.get(to) if type(to) is int else to
    if absent(to):
        return None
    if type(name) is not str or name not in _CONVERSIONS:
        raise Unfit(f"takes `to` as one of: {', '.join(TARGETS)}")
    if absent(value):
        return None if on_null is NOT_GIVEN else on_null
    try:
        return _CONVERSIONS[name](value)
    except Unfit:
        if on_error is NOT_GIVEN:
            raise
        return on_error


CONVERSIONS: Final[dict[str, Operator]] = {
    "$convert": named(
        _convert,
        '{"input": value, "to": type, "onError": value, "onNull": value}',
        "input",
        "to",
        "onError",
        "onNull",
        required=2,
    ),
    "$isNumber": unary(lambda scope, value: type(value) in (int, float), "a value"),
    "$toBool": unary(_conversion("bool"), "a value"),
    "$toDouble": unary(_conversion("double"), "a value"),
    "$toInt": unary(_conversion("int"), "a value"),
    "$toLong": unary(_conversion("long"), "a value"),
    "$toString": unary(_conversion("string"), "a value"),
    "$type": unary(lambda scope, value: type_name(value), "a value"),
}
