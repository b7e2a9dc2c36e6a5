"""Arithmetic. Integers have 64 bits, and become floats beyond; what JSON has no number for is an error."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from collectionstore_node.documents.expressions.operators.forms import (
    Operator,
    fixed,
    number,
    unary,
    variadic,
    whole,
)
from collectionstore_node.documents.expressions.scope import Scope, Unfit, absent
from collectionstore_node.documents.values import Value

_INTEGERS: Final = range(-(1 << 63), 1 << 64)
_EXACT_BITS: Final = 64


def finished(value: int | float) -> int | float:
    """Return a result as a JSON number: an integer that is too large as a float. Raises `Unfit`."""
    if type(value) is int:
        return value if value in _INTEGERS else float(value)
    if math.isfinite(value):
        return value
    raise Unfit("has a result that is no JSON number: infinite, or not a number")


def _add(scope: Scope, *values: Value) -> Value:
    total: int | float = 0
    for value in values:
        if absent(value):
            return None
        total = finished(total + number(value))
    return total


def _multiply(scope: Scope, *values: Value) -> Value:
    product: int | float = 1
    for value in values:
        if absent(value):
            return None
        product = finished(product * number(value))
    return product


def _binary(compute: Callable[[int | float, int | float], int | float]) -> Callable[[Scope, Value, Value], Value]:
    def run(scope: Scope, left: Value, right: Value) -> Value:
        if absent(left) or absent(right):
            return None
        try:
            return finished(compute(number(left), number(right)))
        except (OverflowError, ValueError):
            raise Unfit("has a result that is no JSON number: infinite, or not a number") from None

    return run


def _unary(compute: Callable[[int | float], int | float]) -> Callable[[Scope, Value], Value]:
    def run(scope: Scope, value: Value) -> Value:
        if absent(value):
            return None
        try:
            return finished(compute(number(value)))
        except (OverflowError, ValueError):
            raise Unfit("has a result that is no JSON number: infinite, or not a number") from None

    return run


def _divide(left: int | float, right: int | float) -> float:
    if right == 0:
        raise Unfit("cannot divide by zero")
    return left / right


def _mod(left: int | float, right: int | float) -> int | float:
    if right == 0:
        raise Unfit("cannot divide by zero")
    if type(left) is int and type(right) is int:
        # The sign of the dividend, as in C; Python's has the sign of the divisor.
        rest = abs(left) % abs(right)
        return -rest if left < 0 else rest
    return math.fmod(left, right)


def _pow(base: int | float, exponent: int | float) -> int | float:
    if base == 0 and exponent < 0:
        raise Unfit("cannot raise zero to a negative power")
    if type(base) is int and type(exponent) is int and exponent >= 0:
        # BEFORE it is computed: an integer may have any number of digits.
        if abs(base) <= 1 or exponent * (abs(base).bit_length() - 1) <= _EXACT_BITS:
            power: int = base**exponent
            return power
        return math.pow(base, exponent)
    return math.pow(base, exponent)


def _log(value: int | float, base: int | float) -> float:
    if value <= 0 or base <= 0 or base == 1:
        raise Unfit("takes a positive number, and a positive base that is not 1")
    return math.log(value, base)


def _logarithm(compute: Callable[[float], float]) -> Callable[[int | float], float]:
    def run(value: int | float) -> float:
        if value <= 0:
            raise Unfit("takes a positive number")
        return compute(value)

    return run


def _sqrt(value: int | float) -> float:
    if value < 0:
        raise Unfit("takes a number of at least 0")
    return math.sqrt(value)


def _float_too(compute: Callable[[float], int]) -> Callable[[int | float], int | float]:
    """Integers are as they are; floats stay floats."""
    return lambda value: value if type(value) is int else float(compute(value))


def _rounding(name: str) -> Callable[..., Value]:
    def run(scope: Scope, value: Value, place: Value = 0) -> Value:
        if absent(value) or absent(place):
            return None
        given, digits = number(value), whole(place, "a place")
        if not -20 <= digits <= 100:
            raise Unfit("takes a place from -20 to 100")
        if name == "$round":
            try:
                return finished(round(given, digits))
            except OverflowError:
                raise Unfit("has a result that is no JSON number") from None
        if type(given) is int:
            if digits >= 0:
                return given
            unit = 10**-digits
            return finished((abs(given) // unit * unit) * (-1 if given < 0 else 1))
        if digits > 22:
            return given  # a float has no digits there
        scaled = given * 10.0**digits
        return finished(math.trunc(scaled) / 10.0**digits if math.isfinite(scaled) else given)

    return run


ARITHMETIC: Final[dict[str, Operator]] = {
    "$abs": unary(_unary(abs), "a number"),
    "$add": variadic(_add, "a list of numbers"),
    "$ceil": unary(_unary(_float_too(math.ceil)), "a number"),
    "$divide": fixed(_binary(_divide), 2, "[dividend, divisor]"),
    "$exp": unary(_unary(math.exp), "a number"),
    "$floor": unary(_unary(_float_too(math.floor)), "a number"),
    "$ln": unary(_unary(_logarithm(math.log)), "a number"),
    "$log": fixed(_binary(_log), 2, "[number, base]"),
    "$log10": unary(_unary(_logarithm(math.log10)), "a number"),
    "$mod": fixed(_binary(_mod), 2, "[dividend, divisor]"),
    "$multiply": variadic(_multiply, "a list of numbers"),
    "$pow": fixed(_binary(_pow), 2, "[base, exponent]"),
    "$round": Operator(_rounding("$round"), "a number, or [number, place]", 1, 2),
    "$sqrt": unary(_unary(_sqrt), "a number"),
    "$subtract": fixed(_binary(lambda left, right: left - right), 2, "[number, number]"),
    "$trunc": Operator(_rounding("$trunc"), "a number, or [number, place]", 1, 2),
}
