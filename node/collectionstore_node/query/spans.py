"""Which IDs a filter leaves possible: the part of a collection that must be read.

A filter on `_id` that holds for every match narrows the scan: `{"_id": "a"}` reads one document, and
`{"_id": {"$gte": "2026-", "$lt": "2027-"}}` those of a year.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec

from collectionstore_node.documents.filters.tree import And, Compare, Comparison, Equal, Field, In, Node, Or, Regex
from collectionstore_node.documents.paths import ID
from collectionstore_node.documents.values import Value

_LITERAL: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_:/ ")
_REPEATS: Final = frozenset("*+?{")


class Span(msgspec.Struct, frozen=True):
    """The IDs with `lowest <= id`, and `id < end` where `end` is not None."""

    lowest: str = ""
    end: str | None = None

    def __and__(self, other: Span) -> Span:
        ends = [one for one in (self.end, other.end) if one is not None]
        return Span(max(self.lowest, other.lowest), min(ends, default=None))

    def __contains__(self, name: str) -> bool:
        return self.lowest <= name and (self.end is None or name < self.end)


class Ids(msgspec.Struct, frozen=True):
    """The IDs in `names`, sorted and without repetitions."""

    names: tuple[str, ...]


Place: TypeAlias = Span | Ids

EVERYTHING: Final = Span()
NONE: Final = Ids(())


def ids_of(node: Node) -> Place:
    """Return where all matches of `node` are; its matches may be fewer."""
    match node:
        case And(children):
            place: Place = EVERYTHING
            for child in children:
                place = _both(place, ids_of(child))
            return place
        case Or(()):
            return NONE
        case Or(children):
            places = list(map(ids_of, children))
            if all(isinstance(place, Ids) for place in places):
                return _ids(name for place in places if isinstance(place, Ids) for name in place.names)
            return EVERYTHING
        case Field((name,), Equal(operand)) if name == ID:
            return _ids([operand])
        case Field((name,), In(operands, ())) if name == ID:
            return _ids(operands)
        case Field((name,), Compare(comparison, operand)) if name == ID:
            return _compared(comparison, operand)
        case Field((name,), Regex(pattern, "")) if name == ID:
            return _prefixed(pattern)
    return EVERYTHING


def _both(one: Place, other: Place) -> Place:
    match one, other:
        case Span(), Span():
            return one & other
        case Ids(names), Span():
            return Ids(tuple(name for name in names if name in other))
        case Span(), Ids(names):
            return Ids(tuple(name for name in names if name in one))
        case Ids(names), Ids(others):
            return _ids({*names} & {*others})
    raise TypeError("a place is a span or IDs")


def _ids(operands: object) -> Ids:
    # Others than texts equal no ID.
    return Ids(tuple(sorted({one for one in operands if type(one) is str})))  # type: ignore[attr-defined]


def _compared(comparison: Comparison, operand: Value) -> Place:
    if type(operand) is not str:
        return NONE  # IDs are texts, and a comparison holds within a type
    match comparison:
        case Comparison.GREATER:
            return Span(operand + "\0")
        case Comparison.GREATER_OR_EQUAL:
            return Span(operand)
        case Comparison.LESS:
            return Span(end=operand)
        case Comparison.LESS_OR_EQUAL:
            return Span(end=operand + "\0")


def _prefixed(pattern: str) -> Span:
    """Return the span of the literal text that `^pattern` begins with."""
    prefix = literal_prefix(pattern)
    return Span(prefix, prefix[:-1] + chr(ord(prefix[-1]) + 1)) if prefix else EVERYTHING


def literal_prefix(pattern: str) -> str:
    """Return the text that everything begins with in which `pattern` is found, without options; empty if unknown."""
    if pattern[:1] != "^" or "|" in pattern:
        return ""
    prefix = ""
    for character in pattern[1:]:
        if character in _REPEATS:
            # What is repeated may be absent.
            return prefix[:-1]
        if character not in _LITERAL:
            break
        prefix += character
    return prefix
