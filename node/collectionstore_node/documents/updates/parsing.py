"""From an object of operators to clauses: every mistake is refused with its place and the allowed forms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from collectionstore_node.documents.pointers import child
from collectionstore_node.documents.updates import arrays, single
from collectionstore_node.documents.updates.clauses import Act, Clause, Rename
from collectionstore_node.documents.updates.places import Touched, invalid, parse_place
from collectionstore_node.documents.values import Value

CLAUSES_MAX: Final = 256
"""Paths in one update."""
BIT: Final = "$bit"
"""Of a later feature level than the others."""

_NUMBER: Final = "the value there must be a number, or missing"
_WHOLE: Final = "the value there must be an integer of 64 bits, with a sign, or missing"
_ARRAY: Final = "the value there must be an array, or missing"
_ANYTHING: Final = "the path must lead through objects, or by positions through arrays"

Parse = Callable[[Value, str], Act]


_OPERATORS: Final[dict[str, tuple[Parse, bool, str]]] = {
    "$set": (single.set_value, True, _ANYTHING),
    "$setOnInsert": (single.set_value, True, _ANYTHING),
    "$unset": (single.unset, False, _ANYTHING),
    "$inc": (single.increment, True, _NUMBER),
    "$mul": (single.multiply, True, _NUMBER),
    BIT: (single.bits, True, _WHOLE),
    "$min": (single.minimum, True, _ANYTHING),
    "$max": (single.maximum, True, _ANYTHING),
    "$currentDate": (single.current_date, True, _ANYTHING),
    "$push": (arrays.push, True, _ARRAY),
    "$addToSet": (arrays.add_to_set, True, _ARRAY),
    "$pull": (arrays.pull, False, _ARRAY),
    "$pullAll": (arrays.pull_all, False, _ARRAY),
    "$pop": (arrays.pop, False, _ARRAY),
}
"""How each is parsed, whether it makes objects on its way, and what it takes."""
NAMES: Final = (*_OPERATORS, "$rename")

_NOT_THERE: Final = {
    "$pushAll": "use $push with $each",
    "$isolated": "use a transaction",
}


def parse_operators(given: Value, pointer: str = "") -> tuple[Clause | Rename, ...]:
    """Return the clauses of an object of operators. Raises `InvalidPart`."""
    if type(given) is not dict or not given:
        raise invalid(pointer, 'an update is an object of operators, such as {"$set": {"name": "Ada"}}')
    clauses: list[Clause | Rename] = []
    touched = Touched()
    for operator, fields in given.items():
        at = child(pointer, operator)
        if operator not in NAMES:
            raise invalid(at, _unknown(operator))
        if type(fields) is not dict:
            raise invalid(at, f'{operator} takes an object of paths, such as {{"{operator}": {{...}}}}')
        for text, value in fields.items():
            where = child(at, text)
            if len(clauses) == CLAUSES_MAX:
                raise invalid(where, f"an update names at most {CLAUSES_MAX} paths")
            clause = _rename(text, value, where) if operator == "$rename" else _clause(operator, text, value, where)
            clauses.append(clause)
            for place in (clause.source, clause.target) if isinstance(clause, Rename) else (clause.place,):
                if not touched.add(place):
                    raise invalid(where, "another part of the update changes this path, or one within it or around it")
    return tuple(clauses)


def _clause(operator: str, text: str, value: Value, pointer: str) -> Clause:
    parse, create, needs = _OPERATORS[operator]
    place = parse_place(text, pointer)
    return Clause(pointer, place, parse(value, pointer), create, needs, operator == "$setOnInsert")


def _rename(text: str, given: Value, pointer: str) -> Rename:
    if type(given) is not str:
        raise invalid(pointer, "$rename takes the new path as text")
    source, target = (_plain(one, pointer) for one in (text, given))
    return Rename(pointer, source, target)


def _plain(text: str, pointer: str) -> tuple[str, ...]:
    place = parse_place(text, pointer)
    names = tuple(part for part in place if type(part) is str)
    if len(names) != len(place):
        raise invalid(pointer, "$rename takes paths of names, without $, $[] and $[name]")
    return names


def _unknown(operator: str) -> str:
    if operator in _NOT_THERE:
        return f"{operator} is not supported: {_NOT_THERE[operator]}"
    if operator[:1] != "$":
        return "an update has operators only; to replace a document use PUT, to merge fields a merge patch"
    return f"unknown operator; known: {', '.join(sorted(NAMES))}"
