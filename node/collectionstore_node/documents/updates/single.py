"""Operators that change one value: $set $setOnInsert $unset $inc $mul $bit $min $max $currentDate."""

from __future__ import annotations

import operator
from collections.abc import Callable
from math import isfinite
from typing import Final

import orjson

from collectionstore_node.documents.updates.budget import depth_of
from collectionstore_node.documents.updates.clauses import Act, Moment, Operand
from collectionstore_node.documents.updates.dates import rfc3339
from collectionstore_node.documents.updates.failures import Failed, Reason
from collectionstore_node.documents.updates.places import Target, invalid
from collectionstore_node.documents.values import MISSING, Value, sort_key

NUMBER_BYTES: Final = 24
"""The text of a number, at most."""
_INT64: Final = range(-(1 << 63), 1 << 63)

Number = int | float


def operand_of(value: Value) -> Operand:
    """Return a value of an update with its size and depth."""
    return Operand(value, len(orjson.dumps(value)), depth_of(value))


def set_value(given: Value, pointer: str) -> Act:
    """Return the act of `$set` and `$setOnInsert`."""
    operand = operand_of(given)

    def act(target: Target, moment: Moment) -> None:
        target.get()
        target.set(operand.value, size_bytes=operand.size_bytes, depth=operand.depth)

    return act


def unset(given: Value, pointer: str) -> Act:
    """Return the act of `$unset`, whatever value is given."""

    def act(target: Target, moment: Moment) -> None:
        target.get()
        target.remove()

    return act


def increment(given: Value, pointer: str) -> Act:
    """Return the act of `$inc`. Raises `InvalidPart`."""
    return _arithmetic(_number(given, "$inc", pointer), given, lambda old, amount: old + amount)


def multiply(given: Value, pointer: str) -> Act:
    """Return the act of `$mul`; a field that is missing becomes 0, of the operand's type. Raises `InvalidPart`."""
    factor = _number(given, "$mul", pointer)
    return _arithmetic(factor, 0 if type(factor) is int else 0.0, lambda old, by: old * by)


def bits(given: Value, pointer: str) -> Act:
    """Return the act of `$bit`: `and`, `or` and `xor`, in their order, with whole numbers. Raises `InvalidPart`."""
    if type(given) is not dict or not given or not given.keys() <= _BITS.keys():
        raise invalid(pointer, '$bit takes {"and": number}, "or" and "xor" as well')
    for operand in given.values():
        if type(operand) is not int or operand not in _INT64:
            raise invalid(pointer, "$bit takes integers of 64 bits, with a sign")
    steps = [(_BITS[name], operand) for name, operand in given.items()]

    def act(target: Target, moment: Moment) -> None:
        old = target.get()
        new = 0 if old is MISSING else old
        if type(new) is not int:
            raise Failed(Reason.TYPE)
        if new not in _INT64:
            raise Failed(Reason.RANGE)
        for compute, operand in steps:
            new = compute(new, operand)
        target.set(new, size_bytes=NUMBER_BYTES)

    return act


_BITS: Final[dict[str, Callable[[int, int], int]]] = {"and": operator.and_, "or": operator.or_, "xor": operator.xor}


def minimum(given: Value, pointer: str) -> Act:
    """Return the act of `$min`: the smaller one in the order of values stays."""
    return _bound(given, lambda new, old: new < old)


def maximum(given: Value, pointer: str) -> Act:
    """Return the act of `$max`."""
    return _bound(given, lambda new, old: new > old)


def current_date(given: Value, pointer: str) -> Act:
    """Return the act of `$currentDate`: RFC 3339 text, or a number of milliseconds. Raises `InvalidPart`."""
    kind = given.get("$type") if type(given) is dict and len(given) == 1 else "date" if given is True else None
    if kind not in ("date", "timestamp"):
        raise invalid(
            pointer, 'takes true or {"$type": "date"} for text, {"$type": "timestamp"} for milliseconds since 1970'
        )

    def act(target: Target, moment: Moment) -> None:
        target.get()
        target.set(
            moment.time_ms if kind == "timestamp" else rfc3339(moment.time_ms), size_bytes=NUMBER_BYTES + 2, depth=0
        )

    return act


def _number(given: Value, name: str, pointer: str) -> Number:
    if type(given) is not int and type(given) is not float:
        raise invalid(pointer, f"{name} takes a number")
    if type(given) is int and given not in _INT64:
        raise invalid(pointer, f"{name} takes integers of 64 bits, with a sign")
    number: Number = given
    return number


def _arithmetic(operand: Number, missing: Number, compute: Callable[[Number, Number], Number]) -> Act:
    def act(target: Target, moment: Moment) -> None:
        old = target.get()
        new = missing
        if old is not MISSING:
            if type(old) is not int and type(old) is not float:
                raise Failed(Reason.TYPE)
            new = compute(old, operand)
            # As MongoDB: an integer never becomes a float because it is large.
            if new not in _INT64 if type(new) is int else not isfinite(new):
                raise Failed(Reason.RANGE)
        target.set(new, size_bytes=NUMBER_BYTES)

    return act


def _bound(given: Value, replaces: Callable[[bytes, bytes], bool]) -> Act:
    operand = operand_of(given)
    key = sort_key(given)

    def act(target: Target, moment: Moment) -> None:
        old = target.get()
        moment.budget.weigh(None if old is MISSING else old)
        if old is MISSING or replaces(key, sort_key(old)):
            target.set(operand.value, size_bytes=operand.size_bytes, depth=operand.depth)

    return act
