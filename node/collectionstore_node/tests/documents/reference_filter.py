"""A slow, obvious evaluation of filters as given, without a tree: what the real one is compared with."""

from __future__ import annotations

import re
from typing import Any

from collectionstore_node.documents.values import MISSING, RANKS
from collectionstore_node.tests.documents.test_values import compare


def matches(given: dict[str, Any], document: dict[str, Any]) -> bool:
    """Return whether the document matches."""
    return all(_holds(name, value, document) for name, value in given.items())


def _holds(name: str, given: Any, document: dict[str, Any]) -> bool:
    if name == "$and":
        return all(matches(one, document) for one in given)
    if name == "$or":
        return any(matches(one, document) for one in given)
    if name == "$nor":
        return not any(matches(one, document) for one in given)
    candidates = candidates_of(document, name.split("."))
    if isinstance(given, dict) and given and next(iter(given)).startswith("$"):
        return all(_operator(operator, operand, candidates) for operator, operand in given.items())
    return _operator("$eq", given, candidates)


def candidates_of(value: Any, parts: list[str]) -> list[tuple[Any, bool]]:
    """Return the values that a path names, each with whether it is an array to be asked about by its elements."""
    if not parts:
        return [(value, isinstance(value, list))]
    first, *rest = parts
    if isinstance(value, dict):
        return candidates_of(value[first], rest) if first in value else [(MISSING, False)]
    if isinstance(value, list):
        found = [one for element in value if isinstance(element, dict) for one in candidates_of(element, parts)]
        if re.fullmatch("0|[1-9][0-9]*", first) and int(first) < len(value):
            element = value[int(first)]
            if not rest:
                found.append((element, False))
            elif isinstance(element, (dict, list)):
                found += candidates_of(element, rest)
        return found
    return [(MISSING, False)]


def _operator(operator: str, operand: Any, candidates: list[tuple[Any, bool]]) -> bool:
    match operator:
        case "$ne":
            return not _operator("$eq", operand, candidates)
        case "$nin":
            return not _operator("$in", operand, candidates)
        case "$not":
            return not all(_operator(name, value, candidates) for name, value in operand.items())
        case "$in":
            return any(_operator("$eq", one, candidates) for one in operand)
        case "$all":
            return bool(operand) and all(_operator("$eq", one, candidates) for one in operand)
        case "$exists":
            return any(value is not MISSING for value, _ in candidates) is operand
        case "$size":
            return any(isinstance(value, list) and len(value) == operand for value, _ in candidates)
        case "$elemMatch":
            return any(_element(value, operand) for value, _ in candidates)
    asked = [one for value, expand in candidates for one in ([*value, value] if expand else [value])]
    return any(_value(operator, operand, value) for value in asked)


def _element(value: Any, operand: dict[str, Any]) -> bool:
    if not isinstance(value, list):
        return False
    first = next(iter(operand), "")
    if first.startswith("$") and first not in ("$and", "$or", "$nor"):
        return any(all(_operator(name, given, [(one, False)]) for name, given in operand.items()) for one in value)
    elements = [
        {str(at): inner for at, inner in enumerate(one)} if isinstance(one, list) else one
        for one in value
        if isinstance(one, (dict, list))
    ]
    return any(matches(operand, one) for one in elements)


def _value(operator: str, operand: Any, value: Any) -> bool:
    same_type = RANKS[type(value)] == RANKS[type(operand)]
    if value is MISSING:
        value = None
    match operator:
        case "$eq":
            return same_type and compare(value, operand) == 0
        case "$gt":
            return same_type and compare(value, operand) > 0
        case "$gte":
            return same_type and compare(value, operand) >= 0
        case "$lt":
            return same_type and compare(value, operand) < 0
        case "$lte":
            return same_type and compare(value, operand) <= 0
    raise ValueError(operator)
