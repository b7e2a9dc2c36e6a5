"""A slow, obvious reading of a part of the operators: names through objects only, one operator and path at a time."""

from __future__ import annotations

import copy
from typing import Any

from collectionstore_node.documents.updates import Reason
from collectionstore_node.documents.values import equal

Document = dict[str, Any]


class Unfit(Exception):
    """The update does not fit; its only argument is the reason."""


def updated(document: Document, update: dict[str, dict[str, Any]]) -> Document | Reason:
    """Return what `update` makes of a document without arrays on its paths, or why it does not."""
    new = copy.deepcopy(document)
    try:
        for operator, fields in update.items():
            for path, operand in fields.items():
                _apply(new, operator, path.split("."), operand)
    except Unfit as reason:
        found: Reason = reason.args[0]
        return found
    return new


def _apply(document: Document, operator: str, path: list[str], operand: Any) -> None:
    *parents, last = path
    holder = document
    for name in parents:
        if operator in ("$unset", "$pull") and not isinstance(holder.get(name), dict):
            return
        if not isinstance(holder.setdefault(name, {}), dict):
            raise Unfit(Reason.TYPE)
        holder = holder[name]
    there = last in holder
    old = holder.get(last)
    if operator == "$set":
        holder[last] = operand
    elif operator == "$unset":
        holder.pop(last, None)
    elif operator == "$inc":
        holder[last] = _sum(old, operand) if there else operand
    elif operator == "$push":
        holder[last] = [*_array(old, there=there), operand]
    elif operator == "$addToSet":
        array = _array(old, there=there)
        holder[last] = array if any(equal(one, operand) for one in array) else [*array, operand]
    elif operator == "$pull" and there:
        holder[last] = [one for one in _array(old, there=True) if not equal(one, operand)]


def _sum(old: Any, operand: Any) -> Any:
    if type(old) not in (int, float):
        raise Unfit(Reason.TYPE)
    total = old + operand
    if isinstance(total, int) and not -(1 << 63) <= total < 1 << 63:
        raise Unfit(Reason.RANGE)
    return total


def _array(old: Any, *, there: bool) -> list[Any]:
    if there and not isinstance(old, list):
        raise Unfit(Reason.TYPE)
    return old if there else []
