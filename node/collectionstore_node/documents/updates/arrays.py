"""Operators that change an array: $push $addToSet $pull $pullAll $pop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from collectionstore_node.documents.paths import parse_path
from collectionstore_node.documents.pointers import child
from collectionstore_node.documents.updates.clauses import Act, Moment, Operand
from collectionstore_node.documents.updates.conditions import parse_pulled
from collectionstore_node.documents.updates.failures import Failed, Reason
from collectionstore_node.documents.updates.places import CODE, Target, invalid, position_of
from collectionstore_node.documents.updates.single import operand_of
from collectionstore_node.documents.values import MISSING, Value, inverted, sort_key

SORT_FIELDS_MAX: Final = 16

_MODIFIERS: Final = ("$each", "$position", "$slice", "$sort")
_INT32: Final = range(-(1 << 31), 1 << 31)

Key = Callable[[Value], bytes]


def push(given: Value, pointer: str) -> Act:
    """Return the act of `$push`: insert at a position, then sort, then cut. Raises `InvalidPart`."""
    modifiers = _modifiers(given, pointer)
    if modifiers is None:
        each, position, cut, order = _operands([given]), None, None, None
    else:
        each = _each(modifiers, "$push", pointer)
        position = _whole(modifiers, "$position", pointer)
        cut = _whole(modifiers, "$slice", pointer)
        order = _order(modifiers["$sort"], child(pointer, "$sort")) if "$sort" in modifiers else None

    def act(target: Target, moment: Moment) -> None:
        array = _array(target.get(), moment, each)
        at = len(array) if position is None else position
        array[at:at] = [one.value for one in each]
        if order is not None:
            # Sorting compares keys; making them visits every value.
            moment.budget.weigh(array)
            array.sort(key=order)
        if cut is not None:
            array = array[:cut] if cut >= 0 else array[cut:]
        _put(target, array, each)

    return act


def add_to_set(given: Value, pointer: str) -> Act:
    """Return the act of `$addToSet`: what equals no element is added behind them. Raises `InvalidPart`."""
    modifiers = given if type(given) is dict and "$each" in given else None
    if modifiers is None:
        each = _operands([given])
    else:
        _only(modifiers, ("$each",), "$addToSet", pointer)
        each = _each(modifiers, "$addToSet", pointer)
    keys = [sort_key(one.value) for one in each]

    def act(target: Target, moment: Moment) -> None:
        array = _array(target.get(), moment, each)
        moment.budget.weigh(array)
        # By their keys: equal values have equal ones.
        known = set(map(sort_key, array))
        for one, key in zip(each, keys, strict=True):
            if key not in known:
                known.add(key)
                array.append(one.value)
        _put(target, array, each)

    return act


def pull(given: Value, pointer: str) -> Act:
    """Return the act of `$pull`: remove elements that equal a value, or match a filter. Raises `InvalidPart`."""
    pulled = parse_pulled(given, pointer)

    def act(target: Target, moment: Moment) -> None:
        array = target.get()
        if array is not MISSING:
            _change(array)[:] = [one for one in _change(array) if not pulled.holds(one, moment.budget)]

    return act


def pull_all(given: Value, pointer: str) -> Act:
    """Return the act of `$pullAll`: remove elements that equal one of a list. Raises `InvalidPart`."""
    if type(given) is not list:
        raise invalid(pointer, "$pullAll takes a list of values")
    removed = frozenset(map(sort_key, given))

    def act(target: Target, moment: Moment) -> None:
        array = target.get()
        if array is not MISSING:
            moment.budget.weigh(array)
            _change(array)[:] = [one for one in _change(array) if sort_key(one) not in removed]

    return act


def pop(given: Value, pointer: str) -> Act:
    """Return the act of `$pop`: remove the last element by 1, the first one by -1. Raises `InvalidPart`."""
    if type(given) not in (int, float) or given not in (1, -1):
        raise invalid(pointer, "$pop takes 1 for the last element, or -1 for the first one")

    def act(target: Target, moment: Moment) -> None:
        array = target.get()
        if array is not MISSING and _change(array):
            array.pop(-1 if given == 1 else 0)

    return act


def _array(value: Value, moment: Moment, each: list[Operand]) -> list[Value]:
    """Return the array to change, a new one for a missing field. Raises `Failed`."""
    moment.budget.step(len(each))
    return [] if value is MISSING else _change(value)


def _change(value: Value) -> list[Value]:
    if type(value) is not list:
        raise Failed(Reason.TYPE)
    return value


def _put(target: Target, array: list[Value], each: list[Operand]) -> None:
    size = sum(one.size_bytes + 1 for one in each)
    target.set(array, size_bytes=size, depth=1 + max((one.depth for one in each), default=0))


def _operands(values: list[Value]) -> list[Operand]:
    return list(map(operand_of, values))


def _modifiers(given: Value, pointer: str) -> dict[str, Value] | None:
    if type(given) is not dict or not any(name in _MODIFIERS for name in given):
        return None
    _only(given, _MODIFIERS, "$push", pointer)
    if "$each" not in given:
        raise invalid(pointer, "$position, $slice and $sort go with $each, which may be an empty list")
    return given


def _only(given: dict[str, Value], known: tuple[str, ...], operator: str, pointer: str) -> None:
    extra = next((name for name in given if name not in known), None)
    if extra is not None:
        raise invalid(child(pointer, extra), f"{operator} with $each takes {', '.join(known)} and nothing else")


def _each(modifiers: dict[str, Value], operator: str, pointer: str) -> list[Operand]:
    values = modifiers["$each"]
    if type(values) is not list:
        raise invalid(child(pointer, "$each"), f"$each of {operator} takes a list of values")
    return _operands(values)


def _whole(modifiers: dict[str, Value], name: str, pointer: str) -> int | None:
    if name not in modifiers:
        return None
    given = modifiers[name]
    if type(given) is float and given.is_integer():
        given = int(given)
    if type(given) is not int or given not in _INT32:
        raise invalid(
            child(pointer, name), f"{name} takes a whole number of 32 bits; a negative one counts from the end"
        )
    number: int = given
    return number


def _order(given: Value, pointer: str) -> Key:
    """Return the key by which `$sort` orders elements. Raises `InvalidPart`."""
    if type(given) in (int, float) and given in (1, -1):
        return _directed(sort_key, given)
    if type(given) is not dict or not given or len(given) > SORT_FIELDS_MAX:
        raise invalid(
            pointer, f'$sort takes 1 or -1, or up to {SORT_FIELDS_MAX} fields of the elements, such as {{"score": -1}}'
        )
    keys: list[Key] = []
    for name, direction in given.items():
        at = child(pointer, name)
        path = parse_path(name, CODE, at)
        if type(direction) not in (int, float) or direction not in (1, -1):
            raise invalid(at, "the direction is 1 (ascending) or -1 (descending)")
        keys.append(_directed(_key_at(path), direction))
    return lambda value: b"".join(key(value) for key in keys)


def _key_at(path: tuple[str, ...]) -> Key:
    return lambda value: sort_key(_within(value, path))


def _directed(key: Key, direction: Any) -> Key:
    return key if direction == 1 else lambda value: inverted(key(value))


def _within(value: Value, path: tuple[str, ...]) -> Value:
    for part in path:
        if type(value) is dict:
            value = value.get(part, MISSING)
        elif type(value) is list and (position := position_of(part)) is not None and position < len(value):
            value = value[position]
        else:
            return MISSING
    return value
